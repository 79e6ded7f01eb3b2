//! Goal: a peer that does not read holds up nothing but what is said to it, and loses nothing of that.
//! Method: two endpoints, of which one reads late or never, and a window that is full.

use std::time::Duration;

use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::primitives::Energy;
use evchain_protocol::session::{Delivered, Message};
use futures::FutureExt;
use tokio::time::timeout;

use super::{Line, MAX_WAITING};
use crate::network::{NetworkLimits, Service, SessionEndpoint, SessionStream};

/// More than any window holds.
const MANY: u32 = 1_000_000;
const LONG: Duration = Duration::from_secs(30);

/// Both ends of a connection, and what must live as long.
async fn connection() -> (Line, SessionStream, [SessionEndpoint; 2]) {
    let (chain, limits) = (ChainId(Hash::ZERO), NetworkLimits::default());
    let [ours, theirs] = [1, 2].map(|seed| KeyPair::from_secret(&[seed; 32]));
    let listen = Some("/ip4/127.0.0.1/tcp/0".parse().expect("an address"));
    let (consumer, _) =
        SessionEndpoint::start(Service::Charging, None, chain, &ours, limits.clone()).expect("an endpoint");
    let (producer, mut sessions) =
        SessionEndpoint::start(Service::Charging, listen, chain, &theirs, limits).expect("an endpoint");
    let at = producer.listen_addresses().await.expect("an address");
    let stream = consumer.open_session(theirs.public_key(), at).await.expect("a session");
    let peer = timeout(LONG, sessions.recv()).await.expect("soon").expect("a session");
    (Line::over(stream), peer, [consumer, producer])
}

fn message(index: u32) -> Message {
    Message::Delivered(Delivered { index, energy: Energy::new(1), cosignature: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_reader_arrives_in_order() {
    let (mut line, mut peer, _endpoints) = connection().await;
    let mut said = 0;
    while line.waiting.len() < MAX_WAITING / 2 && said < MANY {
        line.say(&message(said));
        said += 1;
        // A driver gives up waiting whenever something else happens, in the middle of a message too.
        if !line.waiting.is_empty() {
            assert!(timeout(Duration::from_millis(2), line.next()).await.is_err(), "the peer said nothing");
        }
    }
    assert!(!line.waiting.is_empty(), "the window is never full, so this says nothing");

    let reader = tokio::spawn(async move {
        for index in 0..said {
            let bytes = peer.receive(LONG).await.expect("a message");
            assert_eq!(Message::decode(&bytes), Ok(message(index)));
        }
        peer.send(&message(MANY).encode()).await.expect("sent");
        peer
    });
    assert_eq!(timeout(LONG, line.next()).await.expect("soon"), Ok(message(MANY)));
    let mut peer = timeout(LONG, reader).await.expect("soon").expect("all in order");
    line.say(&message(MANY));
    let closing = tokio::spawn(line.close());
    assert!(peer.receive(LONG).await.is_ok(), "what was said before the end arrives");
    drop(peer);
    closing.await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_is_let_go() {
    let (mut line, _peer, _endpoints) = connection().await;
    let mut said = 0;
    while (line.stream.is_some() || line.sending.is_some()) && said < MANY {
        line.say(&message(said));
        said += 1;
        assert!(line.waiting.len() <= MAX_WAITING);
    }
    let ended = line.next().now_or_never();
    assert!(matches!(ended, Some(Err(_))), "it is waited for: {ended:?}");
    line.say(&message(said));
    let ended = line.next().now_or_never();
    assert!(matches!(ended, Some(Err(_))), "it is waited for: {ended:?}");
}
