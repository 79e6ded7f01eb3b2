//! Goal: consumer and producer talk directly, with or without a node, and know each other's key.
//! Method: session endpoints and nodes that open sessions to each other.

use std::time::Duration;

use libp2p::Multiaddr;

use super::support::{CHAIN, Node, Stranger, key, keys, loopback, soon};
use crate::network::{NetworkEvent, NetworkLimits, Service, SessionEndpoint, SessionError, SessionStream};

const LONG: Duration = Duration::from_secs(30);

fn limits() -> NetworkLimits {
    NetworkLimits {
        max_session_message_bytes: 1_000,
        max_inbound_sessions_per_peer: 2,
        ..NetworkLimits::default()
    }
}

struct Agent {
    endpoint: SessionEndpoint,
    sessions: tokio::sync::mpsc::Receiver<SessionStream>,
}

fn agent(seed: u8, listen: Option<Multiaddr>, limits: NetworkLimits) -> Agent {
    let (endpoint, sessions) =
        SessionEndpoint::start(Service::Charging, listen, CHAIN, &keys(seed), limits).unwrap();
    Agent { endpoint, sessions }
}

async fn addresses(agent: &Agent) -> Vec<Multiaddr> {
    soon("an address", agent.endpoint.listen_addresses()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_talk_and_part() {
    let mut producer = agent(1, Some(loopback()), limits());
    let consumer = agent(2, None, limits());
    assert_eq!(addresses(&consumer).await, Vec::<Multiaddr>::new());
    let at = addresses(&producer).await;
    let mut ours = consumer.endpoint.open_session(key(1), at).await.unwrap();
    let mut theirs = soon("a session", producer.sessions.recv()).await.unwrap();
    assert_eq!((ours.remote(), theirs.remote()), (key(1), key(2)));

    for len in [0, 1, 1_000] {
        ours.send(&vec![1; len]).await.unwrap();
        assert_eq!(theirs.receive(LONG).await, Ok(vec![1; len]));
        theirs.send(&vec![2; len]).await.unwrap();
        assert_eq!(ours.receive(LONG).await, Ok(vec![2; len]));
    }
    // Silence and a message that is too large end nothing.
    assert_eq!(ours.receive(Duration::from_millis(20)).await, Err(SessionError::Timeout));
    let too_large = ours.send(&[0; 1_001]).await;
    assert_eq!(too_large, Err(SessionError::TooLarge { len: 1_001, max: 1_000 }));
    ours.send(b"last").await.unwrap();
    let closing = tokio::spawn(ours.close());
    assert_eq!(theirs.receive(LONG).await, Ok(b"last".to_vec()));
    assert_eq!(theirs.receive(LONG).await, Err(SessionError::Closed));
    drop(theirs);
    soon("the close", closing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_take_part_in_sessions_too() {
    let mut a = Node::start(1, &[]).await;
    let b = Node::start(2, &[]).await;
    let consumer = agent(3, None, limits());
    let mut of_agent = consumer.endpoint.open_session(a.key, vec![a.address.clone()]).await.unwrap();
    let mut of_node = b.handle.open_session(a.key, vec![a.address.clone()]).await.unwrap();
    of_agent.send(b"agent").await.unwrap();
    of_node.send(b"node").await.unwrap();
    for _ in 0..2 {
        let mut session = a
            .wait_for("a session", |event| match event {
                NetworkEvent::Session(session) => Some(session),
                _ => None,
            })
            .await;
        let expected = if session.remote() == b.key { "node" } else { "agent" };
        assert_eq!(session.receive(LONG).await, Ok(expected.as_bytes().to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_above_the_limit_are_refused() {
    let mut producer = agent(1, Some(loopback()), limits());
    let consumer = agent(2, None, limits());
    let at = addresses(&producer).await;
    let first = consumer.endpoint.open_session(key(1), at.clone()).await.unwrap();
    let _second = consumer.endpoint.open_session(key(1), at.clone()).await.unwrap();
    let third = consumer.endpoint.open_session(key(1), at.clone()).await;
    assert_eq!(third.map(|_| ()), Err(SessionError::Refused));
    // Another peer is not affected.
    let other = agent(3, None, limits());
    other.endpoint.open_session(key(1), at.clone()).await.unwrap();
    // An ended session makes room.
    let mut theirs = soon("a session", producer.sessions.recv()).await.unwrap();
    drop(first);
    assert_eq!(theirs.receive(LONG).await, Err(SessionError::Closed));
    drop(theirs);
    consumer.endpoint.open_session(key(1), at).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchtower_takes_no_charging_sessions() {
    let start = |seed, listen| {
        SessionEndpoint::start(Service::Watching, listen, CHAIN, &keys(seed), limits()).unwrap()
    };
    let (tower, mut streams) = start(1, Some(loopback()));
    let at = soon("an address", tower.listen_addresses()).await.unwrap();
    let consumer = agent(2, None, limits());
    let charging = consumer.endpoint.open_session(key(1), at.clone()).await;
    assert_eq!(charging.map(|_| ()), Err(SessionError::Unsupported));
    let (producer, _) = start(3, None);
    let _stream = producer.open_session(key(1), at).await.unwrap();
    assert_eq!(soon("a stream", streams.recv()).await.unwrap().remote(), key(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_be_reached_is_told() {
    let producer = agent(1, Some(loopback()), limits());
    let consumer = agent(2, None, limits());
    let at = addresses(&producer).await;
    // Somebody else is at the address.
    let bare: Multiaddr = at[0].iter().take(2).collect();
    let outcome = soon("an outcome", consumer.endpoint.open_session(key(9), vec![bare])).await;
    assert!(matches!(outcome, Err(SessionError::Unreachable(_))), "{outcome:?}");
    // Nobody is.
    drop(producer);
    let outcome = soon("an outcome", consumer.endpoint.open_session(key(1), Vec::new())).await;
    assert!(matches!(outcome, Err(SessionError::Unreachable(_))), "{outcome:?}");
    // No point of the curve.
    let nobody = evchain_protocol::crypto::PublicKey::from_bytes([2; 32]);
    let outcome = consumer.endpoint.open_session(nobody, at).await;
    assert_eq!(outcome.map(|_| ()), Err(SessionError::UnusableKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_oversize_frames_ends() {
    use futures::{AsyncReadExt, AsyncWriteExt};

    let mut node = Node::start(1, &[]).await;
    let mut stranger = Stranger::connect(2, &node).await;
    let mut stream = stranger.open("session").await;
    let mut session = node
        .wait_for("a session", |event| match event {
            NetworkEvent::Session(session) => Some(session),
            _ => None,
        })
        .await;
    stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let max = NetworkLimits::default().max_session_message_bytes;
    assert_eq!(session.receive(LONG).await, Err(SessionError::TooLarge { len: u32::MAX as usize, max }));
    assert_eq!(session.receive(LONG).await, Err(SessionError::Closed));
    drop(session);
    let mut rest = Vec::new();
    // One byte: the session was accepted; then the end, or a reset.
    let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    assert_eq!(rest, [1]);
}
