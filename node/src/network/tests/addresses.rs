//! Goal: authorities find each other although each knows one peer only, and nobody but an authority
//! moves anybody to dial an address.
//! Method: nodes in a star, whose middle goes away; records that break one rule each.

use std::collections::BTreeSet;

use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::primitives::Timestamp;

use super::support::{CHAIN, Node, key, keys, soon};
use crate::network::announcement::{Announcements, Refused, announce};
use crate::network::{Multiaddr, NetworkEvent, PeerId};

const NOW: Timestamp = Timestamp::new(1_000_000_000);

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn some_address() -> Vec<Multiaddr> {
    vec![address("/ip4/10.0.0.1/tcp/9000")]
}

/// What an authority of this test signed now.
fn record(keys: &KeyPair, addresses: &[Multiaddr]) -> Vec<u8> {
    announce(keys, CHAIN, NOW, addresses)
}

#[test]
fn an_authoritys_own_record_is_taken_once_and_others_say_why_not() {
    let authorities = BTreeSet::from([key(1), key(2)]);
    let mut held = Announcements::new(CHAIN);
    let mut take = |bytes: &[u8]| held.take(bytes, NOW, &authorities);
    let good = record(&keys(1), &some_address());
    assert_eq!(take(&good), Ok((key(1), some_address())));
    assert_eq!(take(&good), Err(Refused::Stale));
    let at = |ms: u64| announce(&keys(1), CHAIN, Timestamp::new(NOW.get() + ms), &some_address());
    assert_eq!(take(&at(499)), Err(Refused::Stale), "twice in half a second");
    assert_eq!(take(&at(500)), Ok((key(1), some_address())));
    assert_eq!(take(&at(600_001)), Err(Refused::FromTheFuture));
    assert_eq!(take(&record(&keys(3), &some_address())), Err(Refused::NotAuthority));

    // Another chain's, another's name on it, a changed byte, one too many.
    let other_chain = ChainId(Hash::from_bytes([8; 32]));
    assert_eq!(take(&announce(&keys(2), other_chain, NOW, &some_address())), Err(Refused::BadSignature));
    let mut forged = record(&keys(3), &some_address());
    forged[..32].copy_from_slice(key(2).as_bytes());
    assert_eq!(take(&forged), Err(Refused::BadSignature));
    let mut changed = record(&keys(2), &some_address());
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(take(&changed), Err(Refused::BadSignature));
    changed.push(0);
    assert_eq!(take(&changed), Err(Refused::Malformed));
    assert_eq!(take(&[0; 2_000]), Err(Refused::Malformed));
    assert_eq!(take(&[]), Err(Refused::Malformed));

    let peer = PeerId::random();
    for text in [
        "/ip4/0.0.0.0/tcp/9000".to_owned(),
        "/ip4/224.0.0.1/tcp/9000".to_owned(),
        "/ip4/10.0.0.1/tcp/0".to_owned(),
        "/ip4/10.0.0.1/udp/9000".to_owned(),
        "/dns4/example.org/tcp/9000".to_owned(),
        format!("/ip4/10.0.0.1/tcp/9000/p2p/{peer}/p2p-circuit"),
    ] {
        let refused = take(&record(&keys(2), &[address(&text)]));
        assert_eq!(refused, Err(Refused::UnusableAddress), "{text}");
    }
    // None of that has kept its own record out.
    assert!(take(&record(&keys(2), &some_address())).is_ok());
}

#[test]
fn whoever_leaves_is_forgotten() {
    let mut held = Announcements::new(CHAIN);
    let good = record(&keys(1), &some_address());
    let authorities = BTreeSet::from([key(1)]);
    assert!(held.take(&good, NOW, &authorities).is_ok());
    held.keep_only(&BTreeSet::new());
    assert!(held.take(&good, NOW, &authorities).is_ok(), "its next turn begins with nothing");
}

/// Four nodes, of which all but the first know the first only.
async fn star() -> Vec<Node> {
    let mut nodes = vec![Node::start(1, &[]).await];
    for seed in 2..=4 {
        let middle = nodes[0].address.clone();
        nodes.push(Node::start(seed, &[&middle]).await);
    }
    nodes
}

async fn wait_for_peers(node: &Node, count: usize) {
    soon("peers", async {
        while node.handle.connected_peers().await.unwrap().len() < count {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_that_know_one_peer_find_all_others() {
    let nodes = star().await;
    let authorities: Vec<_> = nodes.iter().map(|node| node.key).collect();
    for node in &nodes {
        node.handle.set_authorities(authorities.clone()).await.unwrap();
    }
    for node in &nodes {
        wait_for_peers(node, 3).await;
        node.wait_metric("network_authority_links", 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_comes_later_is_found_and_its_record_is_handed_out() {
    let mut nodes = star().await;
    let all: Vec<_> = nodes.iter().map(|node| node.key).collect();
    // The last one is no authority at first.
    for node in &nodes {
        node.handle.set_authorities(all[..3].to_vec()).await.unwrap();
    }
    nodes[2].wait_metric("network_authority_links", 2).await;
    for node in &nodes {
        node.handle.set_authorities(all.clone()).await.unwrap();
    }
    let record = nodes[1]
        .wait_for("the newcomer's record", |event| match event {
            NetworkEvent::AddressAnnounced { authority, record } if authority == all[3] => Some(record),
            _ => None,
        })
        .await;
    nodes[1].wait_metric("network_authority_links", 3).await;

    // A node that knows nobody finds the newcomer by the record alone.
    let alone = Node::start(5, &[]).await;
    alone.handle.set_authorities(vec![alone.key, all[3]]).await.unwrap();
    alone.handle.learn_address(record).unwrap();
    wait_for_peers(&alone, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_outlives_the_only_peer_that_it_was_told_of() {
    let mut nodes = star().await;
    let authorities: Vec<_> = nodes[..3].iter().map(|node| node.key).collect();
    for node in &nodes {
        node.handle.set_authorities(authorities.clone()).await.unwrap();
    }
    wait_for_peers(&nodes[3], 3).await;
    let middle = nodes.remove(0);
    middle.handle.shutdown().await;
    nodes[2].wait_disconnected(middle.key).await;
    let peers = nodes[2].handle.connected_peers().await.unwrap();
    assert_eq!(peers.len(), 2, "{peers:?}");
}
