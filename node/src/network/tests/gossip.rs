//! Goal: gossip travels as far as verdicts let it, in batches, and those who pass on rubbish are
//! refused.
//! Method: A, B and C in a line, so that what C has went through B's verdict.

use std::time::Instant;

use super::support::{CHAIN, Node, Stranger, key, loopback, soon};
use crate::network::gossip::max_item_len;
use crate::network::{Admission, GossipMessage, NetworkEvent, NetworkLimits, SendError, Topic, Verdict};

async fn receive(node: &mut Node) -> GossipMessage {
    node.wait_for("gossip", |event| match event {
        NetworkEvent::Gossip(message) => Some(message),
        _ => None,
    })
    .await
}

/// Publishes until it arrives: the mesh takes a moment to form, and what is published before is
/// not kept for those who come later. Every attempt carries another number.
async fn settle(from: &Node, to: &mut Node) {
    let mut attempt = 0_u32;
    loop {
        attempt += 1;
        from.handle.publish_finalization(format!("settle {attempt}").into_bytes()).unwrap();
        let arrived = tokio::time::timeout(std::time::Duration::from_millis(300), receive(to)).await;
        if let Ok(message) = arrived {
            to.handle.judge(message.id, Verdict::Accept).unwrap();
            return;
        }
        assert!(attempt < 100, "gossip never arrives");
    }
}

/// The next message about transactions.
async fn transactions(node: &mut Node) -> GossipMessage {
    loop {
        let message = receive(node).await;
        if message.topic == Topic::Transactions {
            return message;
        }
        node.handle.judge(message.id, Verdict::Accept).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_accepted_messages_are_forwarded() {
    let a = Node::start(1, &[]).await;
    let mut b = Node::start(2, &[&a.address]).await;
    let mut c = Node::start(3, &[&b.address]).await;
    settle(&a, &mut b).await;
    settle(&b, &mut c).await;

    for (text, verdict) in [("bad", Verdict::Reject), ("stale", Verdict::Ignore), ("good", Verdict::Accept)] {
        a.handle.publish_transaction(text.as_bytes().to_vec()).unwrap();
        let message = transactions(&mut b).await;
        assert_eq!(message.items, [text.as_bytes()]);
        assert_eq!(message.from, a.key);
        b.handle.judge(message.id, verdict).unwrap();
    }
    let message = transactions(&mut c).await;
    assert_eq!((message.items, message.from), (vec![b"good".to_vec()], b.key));

    a.handle.publish_finalization(b"final".to_vec()).unwrap();
    let message = receive(&mut b).await;
    assert_eq!((message.topic, message.items), (Topic::Finalizations, vec![b"final".to_vec()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_share_messages() {
    let limits = NetworkLimits {
        batch_max_items: 10,
        batch_delay_ms: 1_000,
        max_gossip_bytes: 1_000,
        ..NetworkLimits::default()
    };
    let a = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits.clone()).await;
    let mut b = Node::start_with(2, CHAIN, loopback(), &[&a.address], Admission::Open, limits).await;
    settle(&a, &mut b).await;
    // 25 small ones: two full messages, and one whose time is up.
    for number in 0..25_u8 {
        a.handle.publish_transaction(vec![number]).unwrap();
    }
    let mut lens = Vec::new();
    let mut items = Vec::new();
    while items.len() < 25 {
        let message = transactions(&mut b).await;
        lens.push(message.items.len());
        items.extend(message.items);
    }
    assert_eq!(lens, [10, 10, 5]);
    assert_eq!(items, (0..25).map(|number| vec![number]).collect::<Vec<_>>());

    // By size: 988 bytes fill a message alone.
    a.handle.publish_transaction(vec![1; 988]).unwrap();
    a.handle.publish_transaction(vec![2; 988]).unwrap();
    assert_eq!(transactions(&mut b).await.items, [vec![1; 988]]);
    assert_eq!(transactions(&mut b).await.items, [vec![2; 988]]);
    assert_eq!(a.handle.publish_transaction(vec![3; 989]), Err(SendError::TooLarge { len: 989, max: 988 }));
}

/// Today's largest messages, one right behind the other: gossipsub's decoder finds the end of one and the
/// beginning of the next in one read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_goes_on_after_the_largest_messages() {
    let a = Node::start(1, &[]).await;
    let mut b = Node::start(2, &[&a.address]).await;
    settle(&a, &mut b).await;
    let largest = max_item_len(&NetworkLimits::default());
    assert!(largest > 40 * 1024, "a transaction of 40 KiB fits");
    for round in 0..10_u8 {
        for number in 0..8 {
            let mut item = vec![number; largest];
            item[0] = round;
            a.handle.publish_transaction(item).unwrap();
        }
        for number in 0..8 {
            let message = soon("a large message", transactions(&mut b)).await;
            assert_eq!((message.items[0][0], message.items[0][1]), (round, number));
            b.handle.judge(message.id, Verdict::Accept).unwrap();
        }
    }
    a.handle.publish_transaction(b"small".to_vec()).unwrap();
    assert_eq!(transactions(&mut b).await.items, [b"small"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_that_nobody_takes_shows_until_somebody_does() {
    let mut a = Node::start(1, &[]).await;
    // Alone there is nobody to tell, which is no failure of gossip.
    a.handle.publish_finalization(b"alone".to_vec()).unwrap();
    let _stranger = Stranger::connect(3, &a).await;
    a.wait_connected(key(3)).await;
    assert_eq!(a.handle.status().gossip_failing_since, None);
    let before = Instant::now();
    a.handle.publish_finalization(b"to one who takes no gossip".to_vec()).unwrap();
    a.wait_metric("network_gossip_failing", 1).await;
    let status = a.handle.status();
    assert_eq!(status.connected_peers, 1);
    // The status is told once a second only, so that what was said alone could have come to it by now.
    assert!(status.gossip_failing_since.is_some_and(|since| since >= before), "{status:?}");

    let mut b = Node::start(2, &[&a.address]).await;
    settle(&a, &mut b).await;
    soon("the end of the failure", async {
        while a.handle.status().gossip_failing_since.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(a.metric("network_gossip_failing"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_tells_links_from_those_wanted() {
    let a = Node::start(1, &[]).await;
    let b = Node::start(2, &[&a.address]).await;
    for node in [&a, &b] {
        // Nobody has the third key.
        node.handle.set_authorities(vec![key(1), key(2), key(3)]).await.unwrap();
    }
    soon("the link", async {
        while (a.handle.status().authority_links, a.handle.status().authority_links_wanted) != (1, 2) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_messages_are_rejected_is_refused_for_a_while() {
    let limits = NetworkLimits { ban_ms: 1_000, ..NetworkLimits::default() };
    let mut a = Node::start(1, &[]).await;
    let mut b = Node::start_with(2, CHAIN, loopback(), &[&a.address], Admission::Open, limits).await;
    settle(&a, &mut b).await;
    for number in 0..10_u8 {
        a.handle.publish_finalization(vec![number]).unwrap();
    }
    loop {
        let event = soon("the ban", b.events.recv()).await.unwrap();
        match event {
            NetworkEvent::Gossip(message) => b.handle.judge(message.id, Verdict::Reject).unwrap(),
            NetworkEvent::PeerDisconnected { peer } if peer == a.key => break,
            _ => {}
        }
    }
    assert_eq!(b.metric("network_bans_total{reason=\"gossip_invalid\"}"), 1);
    // A bootstrap peer of B: it is dialed again when its time is up.
    b.wait_connected(a.key).await;
    a.wait_connected(b.key).await;
}
