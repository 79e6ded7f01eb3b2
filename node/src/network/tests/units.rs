//! Goal: the parts that decide without sockets: rates, redialing, frames.
//! Method: instants are made up; frames are read from memory cut at several points.

use std::time::{Duration, Instant};

use futures::io::Cursor;
use libp2p::Multiaddr;

use super::support::key;
use crate::network::frame::{FrameError, FrameReader, write_frame};
use crate::network::limits::{Admit, Rate};
use crate::network::peers::{PeerBook, is_same_host};
use crate::network::{NetworkLimits, RateLimit, peer_of_key};

#[test]
fn a_rate_allows_bursts_drops_the_rest_and_gives_up_far_above() {
    let start = Instant::now();
    let mut rate = Rate::new(RateLimit { per_second: 10, burst: 3, excess: 2 }, start);
    let outcomes: Vec<Admit> = (0..7).map(|_| rate.admit(start)).collect();
    assert_eq!(outcomes[..3], [Admit::Yes; 3]);
    assert_eq!(outcomes[3..6], [Admit::Drop; 3]);
    assert_eq!(outcomes[6], Admit::Disconnect);
    // A tenth of a second later there is room for one.
    let later = start + Duration::from_millis(101);
    assert_eq!([rate.admit(later), rate.admit(later)], [Admit::Yes, Admit::Drop]);
    // However long the pause, the burst stays the same.
    let much_later = start + Duration::from_hours(1);
    assert_eq!((0..7).filter(|_| rate.admit(much_later) == Admit::Yes).count(), 3);
}

#[test]
fn bootstrap_peers_are_dialed_forever_with_growing_pauses_and_others_forgotten() {
    let limits = NetworkLimits { retry_initial_ms: 100, retry_max_ms: 1_000, ..NetworkLimits::default() };
    let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    let (permanent, temporary) = (peer_of_key(&key(1)).unwrap(), peer_of_key(&key(2)).unwrap());
    let mut now = Instant::now();
    let mut book = PeerBook::new([(permanent, address.clone())], &limits, now);
    book.learn(temporary, address.clone());
    book.lost(&temporary, now);
    let (mut pauses, mut temporary_dials) = (Vec::new(), 0);
    for _ in 0..100 {
        let at = book.next_dial().unwrap();
        pauses.push(at.saturating_duration_since(now).as_millis());
        now = now.max(at);
        for (peer, addresses) in book.take_due(now) {
            assert_eq!(addresses, std::slice::from_ref(&address));
            temporary_dials += usize::from(peer == temporary);
            book.lost(&peer, now);
        }
    }
    assert_eq!(temporary_dials, 8);
    assert_eq!(pauses.last(), Some(&1_000));
    assert!(pauses.iter().all(|pause| *pause <= 1_000));
    // Once connected, nothing is due, and the pauses start over.
    book.connected(&permanent);
    assert_eq!(book.next_dial(), None);
    book.lost(&permanent, now);
    assert_eq!(book.next_dial(), Some(now + Duration::from_millis(100)));
}

#[test]
fn the_book_is_bounded() {
    let limits = NetworkLimits { max_known_peers: 3, ..NetworkLimits::default() };
    let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    let now = Instant::now();
    let mut book = PeerBook::new([], &limits, now);
    let peers: Vec<_> = (1..=10).map(|seed| peer_of_key(&key(seed)).unwrap()).collect();
    for peer in &peers {
        book.learn(*peer, address.clone());
    }
    for peer in &peers {
        book.lost(peer, now);
    }
    assert_eq!(book.take_due(now + Duration::from_mins(1)).len(), 3);
}

#[test]
fn only_addresses_of_the_same_host_are_believed() {
    let same = |claimed: &str, seen: &str| is_same_host(&claimed.parse().unwrap(), &seen.parse().unwrap());
    assert!(same("/ip4/10.0.0.1/tcp/9000", "/ip4/10.0.0.1/tcp/43210"));
    assert!(same("/ip6/::1/tcp/9000", "/ip6/::1/tcp/43210"));
    assert!(!same("/ip4/10.0.0.2/tcp/9000", "/ip4/10.0.0.1/tcp/43210"));
    assert!(!same("/ip4/10.0.0.1/tcp/0", "/ip4/10.0.0.1/tcp/43210"));
    assert!(!same("/ip4/10.0.0.1/udp/9000", "/ip4/10.0.0.1/tcp/43210"));
    assert!(!same("/dns4/victim.example/tcp/9000", "/dns4/victim.example/tcp/1"));
    assert!(!same("/p2p-circuit", "/ip4/10.0.0.1/tcp/43210"));
}

#[tokio::test]
async fn frames_are_read_as_written_and_bounded() {
    let patience = Duration::from_secs(30);
    let frames = [vec![], vec![1], vec![2; 40_000], vec![3; 100_000]];
    let mut wire = Vec::new();
    for frame in &frames {
        let mut one = Vec::new();
        write_frame(&mut one, frame).await.unwrap();
        assert_eq!(one.len(), 4 + frame.len());
        wire.extend(one);
    }
    let mut reader = FrameReader::new(Cursor::new(&wire), 100_000, patience);
    for frame in &frames {
        assert_eq!(reader.next().await.unwrap().as_ref(), Some(frame));
    }
    assert!(reader.next().await.unwrap().is_none());

    let mut reader = FrameReader::new(Cursor::new(&wire), 99_999, patience);
    for frame in &frames[..3] {
        assert_eq!(reader.next().await.unwrap().as_ref(), Some(frame));
    }
    assert!(matches!(reader.next().await, Err(FrameError::TooLarge { len: 100_000, max: 99_999 })));

    for cut in [1, 3, 6, 12, wire.len() - 1] {
        let mut reader = FrameReader::new(Cursor::new(&wire[..cut]), 100_000, patience);
        let end = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Err(FrameError::CutOff)), "{cut}: {end:?}");
    }
}
