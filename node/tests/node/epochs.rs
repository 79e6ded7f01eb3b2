//! Goal: real validators change their set at the end of an epoch, and a node that joins, leaves, stops
//! or loses its database on the way goes on as it should.
//! Method: real nodes with real stores and sockets on loopback; epochs of a few blocks; changes are
//! proposed and approved by transactions.

use evchain_node::mempool::Outcome;
use evchain_node::node::NodeHandle;
use evchain_protocol::crypto::KeyPair;
use evchain_protocol::governance::Change;
use evchain_protocol::primitives::{Epoch, Span, TxRef};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::propose::Propose;

use crate::common::{Cluster, key, signed, transfer};

/// The key of the node that `Cluster::add_observer` adds.
fn joiner() -> KeyPair {
    key(500)
}

async fn short_epochs() -> Cluster {
    Cluster::start_with(4, |params| {
        params.epoch_length = 12;
        params.idle_interval = Span::new(100);
    })
    .await
}

async fn final_place(node: &NodeHandle, bytes: &[u8]) -> TxRef {
    let id = node.mempool.submit(bytes).await.expect("accepted");
    match node.mempool.outcome(id).await {
        Outcome::Final(place) => place,
        other => panic!("not final but {other:?}"),
    }
}

/// The first of these authorities proposes a change, the others approve it. Each knows its next nonce.
async fn decide(cluster: &Cluster, change: Change, by: &mut [(KeyPair, u64)]) {
    let node = cluster.handle(1);
    let (proposer, approvers) = by.split_first_mut().expect("somebody proposes");
    let propose = signed(cluster, &proposer.0, proposer.1, Action::Propose(Propose { change }));
    let proposal = final_place(&node, &propose).await;
    proposer.1 += 1;
    for (key, nonce) in approvers {
        let approve = signed(cluster, key, *nonce, Action::Approve(Approve { proposal }));
        final_place(&node, &approve).await;
        *nonce += 1;
    }
}

fn epoch(node: &NodeHandle) -> Epoch {
    node.consensus.status().epoch
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_join_and_leave() {
    let mut cluster = short_epochs().await;
    let joined = cluster.add_observer().await;
    let mut keys = vec![(key(0), 0), (key(1), 0), (key(2), 0)];
    decide(&cluster, Change::AddAuthority(joiner().public_key()), &mut keys).await;
    cluster
        .wait_until_all(|node| {
            let status = node.consensus.status();
            status.votes && status.authorities == 5
        })
        .await;

    keys.push((joiner(), 0));
    decide(&cluster, Change::RemoveAuthority(key(3).public_key()), &mut keys).await;
    let own = key(3).public_key();
    cluster
        .wait_until_all(|node| {
            let is_removed = node.network.local_key() == own;
            node.consensus.status().authorities == 4 && node.consensus.status().votes != is_removed
        })
        .await;
    // Three of the new four decide: without the first, the joiner's vote counts.
    cluster.stop_one(0).await;
    let payee = key(900).public_key();
    final_place(&cluster.handle(joined), &transfer(&cluster, 0, payee, 5)).await;
    let removed = cluster.handle(3);
    final_place(&removed, &transfer(&cluster, 1, payee, 5)).await;
    assert!(!removed.consensus.status().votes, "it follows and serves its clients");

    // The first comes back after epochs that it has missed, and is needed at once.
    let away_until = epoch(&removed).saturating_add(Epoch::new(2));
    cluster.wait_until_all(|node| epoch(node) >= away_until).await;
    cluster.restart(0).await;
    cluster.wait_until_all(|node| epoch(node) >= away_until).await;
    cluster.stop_one(1).await;
    final_place(&cluster.handle(0), &transfer(&cluster, 2, payee, 5)).await;
    cluster.assert_one_history();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_survive_a_stop_of_all() {
    let mut cluster = short_epochs().await;
    cluster.wait_until_all(|node| epoch(node) >= Epoch::new(2)).await;
    for index in 0..4 {
        cluster.stop_one(index).await;
    }
    for index in 0..4 {
        cluster.restart(index).await;
    }
    assert!(epoch(&cluster.handle(0)) >= Epoch::new(2), "the epoch is the database's");
    let next = epoch(&cluster.handle(0)).saturating_add(Epoch::new(2));
    cluster.wait_until_all(|node| epoch(node) >= next && node.consensus.status().votes).await;
    cluster.assert_one_history();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_validator_votes_again_from_the_next_epoch_on() {
    let mut cluster = short_epochs().await;
    cluster.wait_until_all(|node| epoch(node) >= Epoch::new(1)).await;
    cluster.stop_one(3).await;
    cluster.wipe(3);
    cluster.restart(3).await;
    assert!(!cluster.handle(3).consensus.status().votes, "it may have voted before");
    cluster.wait_until_all(|node| node.consensus.status().votes).await;
    assert!(epoch(&cluster.handle(3)) >= Epoch::new(2));
    cluster.stop_one(0).await;
    final_place(&cluster.handle(3), &transfer(&cluster, 0, key(900).public_key(), 5)).await;
    cluster.assert_one_history();
    cluster.stop().await;
}
