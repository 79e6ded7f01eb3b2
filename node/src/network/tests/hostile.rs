//! Goal: whatever comes to the port, the node lives and serves others.
//! Method: raw TCP and plain libp2p peers that send rubbish; after each, an honest peer gets
//! through.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{CHAIN, Node, Stranger, key, loopback, socket, socket_from, soon};
use crate::network::{Admission, Multiaddr, NetworkEvent, NetworkLimits, PeerInfo, RateLimit, peer_of_key};

/// An honest peer connects and is answered.
async fn assert_serves(node: &mut Node) {
    let mut honest = Node::start(99, &[&node.address]).await;
    honest.wait_connected(node.key).await;
    let handle = honest.handle.clone();
    let to = node.key;
    let request = tokio::spawn(async move { handle.request(to, b"ping".to_vec()).await });
    node.wait_for("the honest request", |event| match event {
        NetworkEvent::SyncRequest { from, responder, .. } if from == key(99) => {
            responder.respond(b"pong".to_vec());
            Some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(soon("the response", request).await.unwrap(), Ok(b"pong".to_vec()));
    honest.handle.shutdown().await;
    node.wait_disconnected(key(99)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_on_the_port_is_closed() {
    let mut node = Node::start(1, &[]).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    for rubbish in [request, vec![0xff; 100_000], vec![0; 100_000], b"\n".to_vec()] {
        let mut stream = TcpStream::connect(socket(&node.address)).await.unwrap();
        // The node may close before all of it is written.
        let _ = stream.write_all(&rubbish).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        // The end or a reset: what counts is that the node lets go.
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    }
    node.wait_metric("network_failed_inbound_total", 4).await;
    assert_serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_stay_half_open_are_closed() {
    let limits =
        NetworkLimits { handshake_timeout_ms: 500, max_pending_connections: 8, ..NetworkLimits::default() };
    let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let mut open = Vec::new();
    for _ in 0..30 {
        open.push(TcpStream::connect(socket(&node.address)).await.unwrap());
    }
    // 8 by the handshake's time, the others by the limit on pending connections.
    for stream in &mut open {
        let mut rest = Vec::new();
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    }
    node.wait_metric("network_failed_inbound_total", 30).await;
    assert_serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_sockets_of_several_hosts_keep_no_authority_away() {
    let limits = NetworkLimits {
        handshake_timeout_ms: 60_000,
        max_pending_connections: 8,
        max_pending_connections_per_host: 3,
        ..NetworkLimits::default()
    };
    // Where the authority is known to be, nobody answers: it has to come in by itself.
    let peer = peer_of_key(&key(5)).unwrap();
    let bootstrap: Multiaddr = format!("/ip4/127.0.0.9/tcp/1/p2p/{peer}").parse().unwrap();
    let mut node = Node::start_with(1, CHAIN, loopback(), &[&bootstrap], Admission::Open, limits).await;
    let mut open = Vec::new();
    for ip in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"] {
        for _ in 0..4 {
            open.push(socket_from(ip, &node).await);
        }
    }
    // Three of each of the first two hosts, two of the third: then all are taken.
    node.wait_metric("network_refusals_total{reason=\"handshakes_of_host\"}", 2).await;
    node.wait_metric("network_refusals_total{reason=\"handshakes\"}", 6).await;
    let _authority = Stranger::connect_from("127.0.0.9", 5, &node).await;
    node.wait_connected(key(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_keys_of_one_host_leave_places_to_other_hosts() {
    let limits =
        NetworkLimits { max_connections: 6, max_connections_per_host: 5, ..NetworkLimits::default() };
    let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let mut strangers = Vec::new();
    for seed in 10..18 {
        strangers.push(Stranger::connect_from("127.0.0.2", seed, &node).await);
    }
    node.wait_metric("network_refusals_total{reason=\"places_of_host\"}", 3).await;
    // One place is left, and then those of the crowded host, down to as many as the others have.
    for seed in 20..26 {
        strangers.push(Stranger::connect_from("127.0.0.3", seed, &node).await);
        if seed < 23 {
            node.wait_connected(key(seed)).await;
        }
    }
    node.wait_metric("network_refusals_total{reason=\"gave_way\"}", 2).await;
    node.wait_metric("network_refusals_total{reason=\"places\"}", 3).await;
    let from = |ip: &str, peers: &[PeerInfo]| {
        peers.iter().filter(|peer| peer.address.to_string().contains(ip)).count()
    };
    let peers = node.handle.connected_peers().await.unwrap();
    assert_eq!((from("127.0.0.2/", &peers), from("127.0.0.3/", &peers)), (3, 3), "{peers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_loses_its_connection() {
    let limits =
        NetworkLimits { stall_timeout_ms: 300, request_timeout_ms: 600_000, ..NetworkLimits::default() };
    let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let mut stranger = Stranger::connect(2, &node).await;
    let mut stream = stranger.open("sync").await;
    stream.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
    stream.flush().await.unwrap();
    node.wait_for("the request", |event| match event {
        NetworkEvent::SyncRequest { responder, .. } => {
            responder.respond(vec![0; 4_000_000]);
            Some(())
        }
        _ => None,
    })
    .await;
    // The stream stays open at the stranger's end, unread.
    node.wait_disconnected(key(2)).await;
    assert_serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_connects_too_often_is_refused() {
    let arrival_rate = RateLimit { per_second: 1, burst: 3, excess: 1 };
    let limits = NetworkLimits { arrival_rate, handshake_timeout_ms: 60_000, ..NetworkLimits::default() };
    let node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(socket(&node.address)).await.unwrap();
        waiting.spawn(async move { stream.read_to_end(&mut Vec::new()).await });
    }
    // Connecting 50 times takes less than 30 s, so at least 17 are too many; the handshakes of
    // the others have a minute.
    for _ in 0..17 {
        let _ = soon("the end", waiting.join_next()).await;
    }
    node.wait_metric("network_failed_inbound_total", 17).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_sends_an_oversize_frame_is_disconnected() {
    let mut node = Node::start(1, &[]).await;
    node.handle.set_authorities(vec![node.key, key(2)]).await.unwrap();
    let mut authority = Stranger::connect(2, &node).await;
    let mut stream = authority.open("consensus").await;
    stream.write_all(&[0, 0, 0, 3, 1, 2, 3]).await.unwrap();
    stream.flush().await.unwrap();
    let bytes = node
        .wait_for("the good frame", |event| match event {
            NetworkEvent::ConsensusMessage { bytes, .. } => Some(bytes),
            _ => None,
        })
        .await;
    assert_eq!(bytes, [1, 2, 3]);
    stream.write_all(&[0xff; 5_000]).await.unwrap();
    stream.flush().await.unwrap();
    node.wait_disconnected(key(2)).await;
    assert_eq!(node.metric("network_bans_total{reason=\"consensus_oversize\"}"), 1);
    assert_serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_floods_is_disconnected() {
    let consensus_rate = RateLimit { per_second: 10, burst: 100, excess: 2 };
    let limits = NetworkLimits { consensus_rate, ..NetworkLimits::default() };
    let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    node.handle.set_authorities(vec![node.key, key(2)]).await.unwrap();
    let mut authority = Stranger::connect(2, &node).await;
    let mut stream = authority.open("consensus").await;
    let flood = [0, 0, 0, 1, 7].repeat(5_000);
    // The node may close before all of it is written.
    let _ = stream.write_all(&flood).await;
    let _ = stream.flush().await;
    let mut frames = 0;
    node.wait_for("the ban", |event| match event {
        NetworkEvent::ConsensusMessage { .. } => {
            frames += 1;
            None
        }
        NetworkEvent::PeerDisconnected { .. } => Some(()),
        _ => None,
    })
    .await;
    assert!(frames >= 100, "{frames}");
    assert!(node.metric("network_drops_total{reason=\"consensus_rate\"}") > 0);
    assert_eq!(node.metric("network_bans_total{reason=\"consensus_flood\"}"), 1);
    assert_serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_in_every_protocol_ends_the_stream_only() {
    let mut node = Node::start(1, &[]).await;
    for rubbish in [&[0xff_u8; 4_096][..], &[0; 3], &[0, 0, 0, 9, 1]] {
        let mut stranger = Stranger::connect(2, &node).await;
        for protocol in ["sync", "consensus", "session"] {
            let mut stream = stranger.open(protocol).await;
            // The node may close before all of it is written.
            let _ = stream.write_all(rubbish).await;
            let _ = stream.close().await;
            if protocol != "session" {
                let mut rest = Vec::new();
                let _ = soon("the end", stream.read_to_end(&mut rest)).await;
            }
        }
    }
    assert_serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_trickles_ends_the_stream() {
    let limits = NetworkLimits { session_timeout_ms: 300, ..NetworkLimits::default() };
    let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let mut stranger = Stranger::connect(2, &node).await;
    let mut stream = stranger.open("session").await;
    let mut session = node
        .wait_for("a session", |event| match event {
            NetworkEvent::Session(session) => Some(session),
            _ => None,
        })
        .await;
    stream.write_all(&[0, 0, 0, 200, 1]).await.unwrap();
    stream.flush().await.unwrap();
    let outcome = session.receive(Duration::from_secs(30)).await;
    assert!(
        matches!(&outcome, Err(crate::network::SessionError::Failed(why)) if why.contains("not finished")),
        "{outcome:?}"
    );
    assert_serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_opens_streams_without_end_is_disconnected() {
    let stream_rate = RateLimit { per_second: 1, burst: 5, excess: 2 };
    for (protocol, reason) in [("session", "session_streams"), ("consensus", "consensus_streams")] {
        let limits = NetworkLimits { stream_rate, ..NetworkLimits::default() };
        let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
        let mut stranger = Stranger::connect(2, &node).await;
        let opening = tokio::spawn(async move { while stranger.try_open(protocol).await.is_ok() {} });
        node.wait_disconnected(key(2)).await;
        soon("the last stream", opening).await.unwrap();
        assert_eq!(node.metric(&format!("network_bans_total{{reason=\"{reason}\"}}")), 1);
        assert_serves(&mut node).await;
    }
}
