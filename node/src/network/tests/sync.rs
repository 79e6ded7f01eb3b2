//! Goal: requests are answered by whoever can, and a busy, silent or absent peer is told apart.
//! Method: two nodes; the second answers as the first byte of the request says.

use super::support::{CHAIN, Node, key, loopback, soon};
use crate::network::{Admission, NetworkEvent, NetworkLimits, RequestError, SyncResponder};

fn limits() -> NetworkLimits {
    NetworkLimits {
        max_request_bytes: 100,
        max_response_bytes: 1_000_000,
        request_timeout_ms: 2_000,
        max_inbound_requests_per_peer: 2,
        ..NetworkLimits::default()
    }
}

async fn pair() -> (Node, Node) {
    let mut a = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits()).await;
    let mut b = Node::start_with(2, CHAIN, loopback(), &[&a.address], Admission::Open, limits()).await;
    a.wait_connected(b.key).await;
    b.wait_connected(a.key).await;
    (a, b)
}

async fn receive(node: &mut Node) -> (Vec<u8>, SyncResponder) {
    node.wait_for("a request", |event| match event {
        NetworkEvent::SyncRequest { from, bytes, responder } => {
            assert_eq!(from, key(1));
            Some((bytes, responder))
        }
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_have_responses() {
    let (a, mut b) = pair().await;
    for len in [0, 1, 20_000, 1_000_000] {
        let request = tokio::spawn({
            let handle = a.handle.clone();
            async move { handle.request(key(2), vec![9; 100]).await }
        });
        let (bytes, responder) = receive(&mut b).await;
        assert_eq!(bytes, vec![9; 100]);
        responder.respond(vec![5; len]);
        assert_eq!(soon("a response", request).await.unwrap(), Ok(vec![5; len]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_serve_is_told_apart() {
    let (a, mut b) = pair().await;
    let ask = || {
        let handle = a.handle.clone();
        tokio::spawn(async move { handle.request(key(2), vec![1]).await })
    };
    let too_large = a.handle.request(b.key, vec![0; 101]).await;
    assert_eq!(too_large, Err(RequestError::TooLarge { len: 101, max: 100 }));
    assert_eq!(a.handle.request(key(3), vec![1]).await, Err(RequestError::NotConnected));

    let request = ask();
    drop(receive(&mut b).await.1);
    assert_eq!(soon("busy", request).await.unwrap(), Err(RequestError::Busy));

    let request = ask();
    receive(&mut b).await.1.respond(vec![0; 1_000_001]);
    assert_eq!(soon("busy", request).await.unwrap(), Err(RequestError::Busy));

    // Two requests are under way: the third is refused at once.
    let (first, second) = (ask(), ask());
    let responders = [receive(&mut b).await.1, receive(&mut b).await.1];
    assert_eq!(soon("busy", ask()).await.unwrap(), Err(RequestError::Busy));
    assert!(!first.is_finished() && !second.is_finished());
    for responder in responders {
        responder.respond(vec![8]);
    }
    assert_eq!(soon("a response", first).await.unwrap(), Ok(vec![8]));
    assert_eq!(soon("a response", second).await.unwrap(), Ok(vec![8]));

    // B never answers, and never lets go of the responder.
    let request = ask();
    let (_, _responder) = receive(&mut b).await;
    let outcome = soon("an end", request).await.unwrap();
    assert!(
        matches!(outcome, Err(RequestError::Busy | RequestError::Timeout | RequestError::Failed(_))),
        "{outcome:?}"
    );

    // B ends in the middle.
    let request = ask();
    let (_, _responder) = receive(&mut b).await;
    b.handle.shutdown().await;
    let outcome = soon("a failure", request).await.unwrap();
    assert!(matches!(outcome, Err(RequestError::NotConnected | RequestError::Failed(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_above_the_rate_are_refused_and_far_above_it_end_the_connection() {
    let rate = crate::network::RateLimit { per_second: 1, burst: 5, excess: 4 };
    let strict = NetworkLimits { request_rate: rate, ..limits() };
    let mut a = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits()).await;
    let mut b = Node::start_with(2, CHAIN, loopback(), &[&a.address], Admission::Open, strict).await;
    a.wait_connected(b.key).await;
    let serving = tokio::spawn(async move {
        while let Some(event) = b.events.recv().await {
            match event {
                NetworkEvent::SyncRequest { responder, .. } => responder.respond(vec![1]),
                NetworkEvent::PeerDisconnected { .. } => break,
                _ => {}
            }
        }
        b
    });
    let mut outcomes = Vec::new();
    for _ in 0..100 {
        outcomes.push(soon("an outcome", a.handle.request(key(2), vec![1])).await);
        if serving.is_finished() {
            break;
        }
    }
    let b = soon("the end of the connection", serving).await.unwrap();
    assert!(outcomes.iter().filter(|outcome| outcome.is_ok()).count() >= 5, "{outcomes:?}");
    assert!(outcomes.contains(&Err(RequestError::Busy)), "{outcomes:?}");
    assert_eq!(b.metric("network_bans_total{reason=\"sync_flood\"}"), 1);
}
