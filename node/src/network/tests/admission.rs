//! Goal: who may connect does, who may not does not, and lost peers come back.
//! Method: nodes with members and a list, of another chain, with small limits, on a port in use.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use libp2p::multiaddr::Protocol;

use super::support::{CHAIN, Node, Stranger, key, keys, loopback, soon};
use crate::network::{
    Admission, Members, Multiaddr, NetworkConfig, NetworkLimits, NetworkMetrics, StartError, key_of_peer,
    peer_of_key, start,
};

/// A node that lets in the chain's members and the listed keys.
async fn closed(members: Members, listed: BTreeSet<PublicKey>) -> Node {
    let config = NetworkConfig { listen: vec![loopback()], members, listed, ..NetworkConfig::default() };
    Node::start_config(1, CHAIN, config).await
}

async fn peers(node: &Node) -> Vec<PublicKey> {
    node.handle.connected_peers().await.unwrap().iter().map(|peer| peer.key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_list_admits_its_keys_and_the_authorities() {
    let mut a = closed(Members::default(), BTreeSet::from([key(2)])).await;
    let b = Node::start(2, &[&a.address]).await;
    a.wait_connected(b.key).await;
    let c = Node::start(3, &[&a.address]).await;
    a.wait_metric("network_failed_inbound_total", 2).await;
    assert_eq!(peers(&a).await, [b.key]);

    a.handle.set_authorities(vec![a.key, c.key]).await.unwrap();
    a.wait_connected(c.key).await;
    a.handle.set_authorities(vec![a.key]).await.unwrap();
    a.wait_disconnected(c.key).await;
    assert_eq!(peers(&a).await, [b.key]);

    // Another list, without a restart.
    a.handle.set_listed(BTreeSet::from([c.key])).await.unwrap();
    a.wait_disconnected(b.key).await;
    a.wait_connected(c.key).await;
    assert_eq!(peers(&a).await, [c.key]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_with_the_chain() {
    let admitted = Arc::new(Mutex::new(BTreeSet::from([key(2)])));
    let view = Arc::clone(&admitted);
    let members = Members::known_by(move |key| view.lock().unwrap().contains(key));
    let mut a = closed(members, BTreeSet::new()).await;
    let b = Node::start(2, &[&a.address]).await;
    a.wait_connected(b.key).await;
    let c = Node::start(3, &[&a.address]).await;
    a.wait_metric("network_refusals_total{reason=\"not_admitted\"}", 2).await;
    c.wait_metric("network_refused_by_peers_total", 1).await;
    assert_eq!(b.metric("network_refused_by_peers_total"), 0);
    assert_eq!(peers(&a).await, [b.key]);
    admitted.lock().unwrap().insert(c.key);
    a.wait_connected(c.key).await;
    admitted.lock().unwrap().remove(&b.key);
    a.wait_disconnected(b.key).await;
    assert_eq!(peers(&a).await, [c.key]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_on_a_port_is_told_so_and_a_restarted_one_gets_it_back() {
    let mut a = Node::start(1, &[]).await;
    let b = Node::start(2, &[&a.address]).await;
    a.wait_connected(b.key).await;
    let port = a.address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let port = port.unwrap();
    for ip in ["127.0.0.1", "0.0.0.0"] {
        let listen = vec![format!("/ip4/{ip}/tcp/{port}").parse().unwrap()];
        let config = NetworkConfig { listen, ..NetworkConfig::default() };
        let error =
            start(config, CHAIN, &keys(3), NetworkMetrics::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} is in use")) && error.contains("--listen"), "{error}");
    }
    // With connections that had used the port a moment before.
    let listen: Multiaddr = a.address.iter().take(2).collect();
    a.handle.shutdown().await;
    let mut a = Node::start_with(1, CHAIN, listen, &[], Admission::Open, NetworkLimits::default()).await;
    a.wait_connected(b.key).await;
    // Two addresses of one node may share a port.
    let both = ["127.0.0.2", "127.0.0.3"].map(|ip| format!("/ip4/{ip}/tcp/{port}").parse().unwrap());
    let config = NetworkConfig { listen: both.to_vec(), ..NetworkConfig::default() };
    Node::start_config(4, CHAIN, config).await;
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
    let attempt = |config| start(config, CHAIN, &keys(1), NetworkMetrics::default()).map(|_| ()).unwrap_err();
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
