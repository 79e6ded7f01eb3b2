//! Goal: who may connect does, who may not does not, and lost peers come back.
//! Method: nodes with an allow list, of another chain, with small limits.

use std::collections::BTreeSet;

use evchain_protocol::crypto::{ChainId, Hash};

use super::support::{CHAIN, Node, Stranger, key, loopback, soon};
use crate::network::{
    Admission, Multiaddr, NetworkConfig, NetworkLimits, NetworkMetrics, StartError, key_of_peer, peer_of_key,
    start,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_list_admits_its_keys_and_the_authorities() {
    let admission = Admission::AllowList(BTreeSet::from([key(2)]));
    let mut a = Node::start_with(1, CHAIN, loopback(), &[], admission, NetworkLimits::default()).await;
    let b = Node::start(2, &[&a.address]).await;
    a.wait_connected(b.key).await;
    let c = Node::start(3, &[&a.address]).await;
    a.wait_metric("network_failed_inbound_total", 2).await;
    let peers = a.handle.connected_peers().await.unwrap();
    assert_eq!(peers.iter().map(|peer| peer.key).collect::<Vec<_>>(), [b.key]);

    a.handle.set_authorities(vec![a.key, c.key]).await.unwrap();
    a.wait_connected(c.key).await;
    a.handle.set_authorities(vec![a.key]).await.unwrap();
    a.wait_disconnected(c.key).await;
    let peers = a.handle.connected_peers().await.unwrap();
    assert_eq!(peers.iter().map(|peer| peer.key).collect::<Vec<_>>(), [b.key]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_chain_is_disconnected() {
    let mut a = Node::start(1, &[]).await;
    let other = ChainId(Hash::from_bytes([8; 32]));
    let limits = NetworkLimits::default();
    let b = Node::start_with(2, other, loopback(), &[&a.address], Admission::Open, limits).await;
    a.wait_connected(b.key).await;
    a.wait_disconnected(b.key).await;
    let bans = |node: &Node| node.metric("network_bans_total{reason=\"other_chain\"}");
    assert_eq!(bans(&a).max(bans(&b)), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_redialed_and_known_by_their_software() {
    let mut a = Node::start(1, &[]).await;
    let mut b = Node::start(2, &[&a.address]).await;
    b.wait_connected(a.key).await;
    soon("the agent's name", async {
        while b.handle.connected_peers().await.unwrap().iter().all(|peer| peer.agent.is_none()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let peers = b.handle.connected_peers().await.unwrap();
    assert!(peers[0].agent.as_ref().is_some_and(|agent| agent.starts_with("evchain/")), "{peers:?}");

    let listen: Multiaddr = a.address.iter().take(2).collect();
    a.handle.shutdown().await;
    b.wait_disconnected(a.key).await;
    // At least one dial fails before A is back.
    b.wait_metric("network_failed_dials_total", 1).await;
    a = Node::start_with(1, CHAIN, listen, &[], Admission::Open, NetworkLimits::default()).await;
    b.wait_connected(a.key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_above_the_limits_are_refused() {
    let limits =
        NetworkLimits { max_connections: 2, max_connections_per_peer: 1, ..NetworkLimits::default() };
    let mut a = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let _first = Stranger::connect(2, &a).await;
    a.wait_connected(key(2)).await;
    let _again = Stranger::connect(2, &a).await;
    a.wait_metric("network_failed_inbound_total", 1).await;
    let _second = Stranger::connect(3, &a).await;
    a.wait_connected(key(3)).await;
    let _third = Stranger::connect(4, &a).await;
    a.wait_metric("network_failed_inbound_total", 2).await;
    assert_eq!(a.handle.connected_peers().await.unwrap().len(), 2);
    // An authority is admitted all the same.
    a.handle.set_authorities(vec![a.key, key(5)]).await.unwrap();
    let _authority = Stranger::connect(5, &a).await;
    a.wait_connected(key(5)).await;
}

#[tokio::test]
async fn mistakes_in_the_configuration_are_named() {
    let attempt = |config| {
        start(config, CHAIN, &super::support::keys(1), NetworkMetrics::default()).map(|_| ()).unwrap_err()
    };
    let bootstrap = vec![loopback()];
    let error = attempt(NetworkConfig { bootstrap, ..NetworkConfig::default() });
    assert!(matches!(error, StartError::BootstrapWithoutPeer(_)), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port()).parse().unwrap()];
    let error = attempt(NetworkConfig { listen, ..NetworkConfig::default() });
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

#[test]
fn keys_and_peer_ids_convert() {
    for seed in 1..20 {
        assert_eq!(key_of_peer(&peer_of_key(&key(seed)).unwrap()), Ok(key(seed)));
    }
    // The hash of a key does not give the key back.
    let hashed: crate::network::PeerId = "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC".parse().unwrap();
    assert!(key_of_peer(&hashed).is_err());
}
