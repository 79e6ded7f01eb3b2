//! Goal: authorities exchange frames in order, across restarts, and from authorities only.
//! Method: two or three nodes; frames carry their number.

use std::sync::Arc;
use std::time::Duration;

use super::support::{CHAIN, Node, key, soon};
use crate::network::{Admission, NetworkEvent, NetworkLimits, SendError};

fn frame(number: u32) -> Arc<[u8]> {
    Arc::from(number.to_be_bytes())
}

async fn receive(node: &mut Node) -> (evchain_protocol::crypto::PublicKey, Vec<u8>) {
    node.wait_for("a consensus frame", |event| match event {
        NetworkEvent::ConsensusMessage { from, bytes, .. } => Some((from, bytes)),
        _ => None,
    })
    .await
}

/// Sends the frame until it arrives, as consensus does: frames may be lost around reconnects.
async fn send_until_received(from: &Node, to: &mut Node, number: u32) {
    let target = to.key;
    let sending = async {
        loop {
            from.handle.send_to_authority(&target, frame(number)).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let receiving = async { while receive(to).await != (from.key, number.to_be_bytes().to_vec()) {} };
    tokio::select! {
        () = sending => unreachable!(),
        () = receiving => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_arrive_in_order_both_ways_and_after_a_restart() {
    let mut a = Node::start(1, &[]).await;
    let mut b = Node::start(2, &[&a.address]).await;
    let set = vec![a.key, b.key];
    a.handle.set_authorities(set.clone()).await.unwrap();
    b.handle.set_authorities(set.clone()).await.unwrap();
    send_until_received(&a, &mut b, 0).await;
    send_until_received(&b, &mut a, 0).await;

    for number in 1..=500 {
        a.handle.broadcast_to_authorities(&frame(number)).unwrap();
        b.handle.send_to_authority(&a.key, frame(number)).unwrap();
    }
    for (node, from) in [(&mut b, key(1)), (&mut a, key(2))] {
        let mut expected = 1_u32;
        while expected <= 500 {
            let (sender, bytes) = receive(node).await;
            let number = u32::from_be_bytes(bytes.try_into().unwrap());
            if number == 0 {
                continue; // a repetition of the first exchange
            }
            assert_eq!((sender, number), (from, expected));
            expected += 1;
        }
    }

    let address = a.address.clone();
    a.handle.shutdown().await;
    b.wait_disconnected(a.key).await;
    let listen = address.iter().take(2).collect();
    let limits = NetworkLimits::default();
    let mut a = Node::start_with(1, CHAIN, listen, &[], Admission::Open, limits).await;
    a.handle.set_authorities(set).await.unwrap();
    send_until_received(&b, &mut a, 1_000).await;
    send_until_received(&a, &mut b, 1_001).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_others_than_the_current_authorities_are_refused() {
    let mut a = Node::start(1, &[]).await;
    let b = Node::start(2, &[&a.address]).await;
    let c = Node::start(3, &[&a.address]).await;
    a.handle.set_authorities(vec![a.key, b.key]).await.unwrap();
    b.handle.set_authorities(vec![a.key, b.key]).await.unwrap();
    // C thinks itself an authority.
    c.handle.set_authorities(vec![a.key, b.key, c.key]).await.unwrap();
    c.handle.send_to_authority(&a.key, frame(666)).unwrap();
    a.wait_metric("network_drops_total{reason=\"consensus_not_authority\"}", 1).await;
    send_until_received(&b, &mut a, 1).await;
    assert_eq!(a.handle.send_to_authority(&c.key, frame(1)), Err(SendError::NotAnAuthority));

    // Now C is one, and B is not.
    a.handle.set_authorities(vec![a.key, c.key]).await.unwrap();
    send_until_received(&c, &mut a, 2).await;
    b.handle.send_to_authority(&a.key, frame(666)).unwrap();
    let refused = a.metric("network_drops_total{reason=\"consensus_not_authority\"}");
    a.wait_metric("network_drops_total{reason=\"consensus_not_authority\"}", refused + 1).await;
    for number in 3..10 {
        send_until_received(&c, &mut a, number).await;
    }
    assert_eq!(a.handle.send_to_authority(&b.key, frame(1)), Err(SendError::NotAnAuthority));

    // An observer keeps no links.
    b.handle.set_authorities(vec![a.key, c.key]).await.unwrap();
    assert_eq!(b.handle.send_to_authority(&a.key, frame(1)), Err(SendError::NotAnAuthority));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_authority_holds_up_nobody_and_gets_the_newest_frames() {
    const FRAMES: u32 = 2_000;
    let limits = NetworkLimits {
        max_consensus_frame_bytes: 64 * 1024,
        consensus_send_queue: 16,
        consensus_receive_queue: 4,
        consensus_receive_queue_bytes: 256 * 1024,
        ..NetworkLimits::default()
    };
    let listen = super::support::loopback;
    let mut a = Node::start_with(1, CHAIN, listen(), &[], Admission::Open, limits.clone()).await;
    let mut b = Node::start_with(2, CHAIN, listen(), &[&a.address], Admission::Open, limits).await;
    for node in [&a, &b] {
        node.handle.set_authorities(vec![key(1), key(2)]).await.unwrap();
    }
    a.wait_metric("network_authority_links", 1).await;
    let big = |number: u32| -> Arc<[u8]> { number.to_be_bytes().repeat(16 * 1024).into() };
    assert!(matches!(
        a.handle.send_to_authority(&b.key, vec![0; 64 * 1024 + 1].into()),
        Err(SendError::TooLarge { .. })
    ));
    // B takes no event, while A sends more than all queues and windows hold.
    for number in 1..=FRAMES {
        while a.handle.send_to_authority(&b.key, big(number)) == Err(SendError::QueueFull) {
            tokio::task::yield_now().await;
        }
    }
    a.wait_metric("network_drops_total{reason=\"consensus_send_queue\"}", 16).await;
    let (mut last, mut received) = (0, 0);
    soon("the newest frame", async {
        while last < FRAMES {
            let (_, bytes) = receive(&mut b).await;
            let number = u32::from_be_bytes(bytes[..4].try_into().unwrap());
            assert!(number > last, "{number} after {last}");
            last = number;
            received += 1;
        }
    })
    .await;
    // What waited is bounded: 16 frames in the queue and in the link's inbox each, and what the
    // windows and the system's buffers hold.
    assert!(received < FRAMES / 4, "{received} frames waited somewhere");
    send_until_received(&b, &mut a, 1).await;
}
