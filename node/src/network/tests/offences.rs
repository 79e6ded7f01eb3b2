//! Goal: a peer that breaks the rules again and again is refused for longer and longer, within a bound, and one
//! that keeps them long enough starts over.
//! Method: instants are made up; then a real node.

use std::time::{Duration, Instant};

use super::support::{CHAIN, Node, key, loopback};
use crate::network::offences::Offences;
use crate::network::{Admission, NetworkLimits, peer_of_key};

#[test]
fn each_offence_doubles_the_time_up_to_a_bound_until_a_long_time_without() {
    let limits = NetworkLimits { ban_ms: 30_000, ban_max_ms: 600_000, ..NetworkLimits::default() };
    let mut offences = Offences::new(&limits);
    let (peer, other) = (peer_of_key(&key(1)).unwrap(), peer_of_key(&key(2)).unwrap());
    let mut now = Instant::now();
    let mut times = Vec::new();
    for _ in 0..40 {
        let until = offences.add(peer, now);
        times.push(until.duration_since(now).as_secs());
        // What it sent before is no further offence.
        assert_eq!(offences.add(peer, now + Duration::from_secs(1)), until);
        now = until + Duration::from_secs(1);
    }
    assert_eq!(times[..7], [30, 60, 120, 240, 480, 600, 600]);
    assert!(times[7..].iter().all(|time| *time == 600));
    assert_eq!(offences.add(other, now).duration_since(now).as_secs(), 30);

    now += Duration::from_mins(10);
    assert_eq!(offences.add(peer, now).duration_since(now).as_secs(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_the_node_found_out_is_disconnected_once_and_counted_by_reason() {
    let limits = NetworkLimits { ban_ms: 500, ..NetworkLimits::default() };
    let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let mut peer = Node::start(2, &[&node.address]).await;
    node.wait_connected(peer.key).await;
    peer.wait_connected(node.key).await;
    for _ in 0..3 {
        node.handle.ban(peer.key, "bad_vote").unwrap();
    }
    peer.wait_disconnected(node.key).await;
    node.wait_disconnected(peer.key).await;
    assert_eq!(node.metric("network_faults_total{reason=\"bad_vote\"}"), 3);
    assert_eq!(node.metric("network_bans_total{reason=\"bad_vote\"}"), 1);
    // It is let in again after a while.
    node.wait_connected(peer.key).await;
}
