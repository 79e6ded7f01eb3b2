//! Goal: validators in one process agree on what clients submit, keep it past a stop, and a node
//! that was away or only observes catches up.
//! Method: real nodes with real stores and sockets on loopback, on ports that the system gave.

use std::time::Duration;

use evchain_node::mempool::{Outcome, SubmitError};
use evchain_protocol::primitives::{Amount, Nonce};
use evchain_protocol::transaction::RejectReason;

use crate::common::{self, Cluster, transfer};

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_agree_on_transfers() {
    let cluster = Cluster::start(4).await;
    let payee = common::key(900).public_key();
    for (nonce, node) in (0..5).zip([0, 1, 2, 3].into_iter().cycle()) {
        let bytes = transfer(&cluster, nonce, payee, 10);
        let node = cluster.handle(node);
        let id = node.mempool.submit(&bytes).await.expect("a valid transfer is accepted");
        let Outcome::Final(place) = node.mempool.outcome(id).await else {
            panic!("transfer {nonce} is not final")
        };
        assert!(place.height().get() > 0);
    }
    cluster
        .wait_until_all(|node| {
            node.chain
                .reader()
                .state()
                .account(&payee)
                .unwrap()
                .is_some_and(|account| account.balance == Amount::new(50))
        })
        .await;
    cluster.assert_one_history();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused_with_its_reason() {
    let cluster = Cluster::start(1).await;
    let payee = common::key(900).public_key();
    let overdrawn = transfer(&cluster, 0, payee, u64::MAX);
    let refused = cluster.handle(0).mempool.submit(&overdrawn).await;
    assert!(matches!(refused, Err(SubmitError::Rejected(RejectReason::NotCovered { .. }))), "{refused:?}");

    let garbage = cluster.handle(0).mempool.submit(&[7; 100]).await;
    assert!(matches!(garbage, Err(SubmitError::Malformed(_) | SubmitError::Unverified(_))), "{garbage:?}");

    let bytes = transfer(&cluster, 0, payee, 1);
    let id = cluster.handle(0).mempool.submit(&bytes).await.expect("accepted");
    assert!(matches!(cluster.handle(0).mempool.outcome(id).await, Outcome::Final(_)));
    let again = cluster.handle(0).mempool.submit(&bytes).await;
    assert!(matches!(again, Err(SubmitError::AlreadyFinal(_))), "{again:?}");
    assert_eq!(cluster.handle(0).mempool.next_nonce(common::rich().public_key()).await, Some(Nonce::new(1)));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_validator_catches_up_and_nothing_final_is_lost() {
    let mut cluster = Cluster::start(4).await;
    let payee = common::key(900).public_key();
    cluster.stop_one(3).await;
    for nonce in 0..10 {
        let node = cluster.handle(0);
        let id = node.mempool.submit(&transfer(&cluster, nonce, payee, 1)).await.expect("accepted");
        assert!(matches!(node.mempool.outcome(id).await, Outcome::Final(_)), "three of four go on");
    }
    let height = cluster.handle(0).chain.reader().tip().height;
    cluster.restart(3).await;
    cluster.wait_until_all(|node| node.chain.reader().tip().height >= height).await;
    cluster.assert_one_history();

    for index in 0..4 {
        cluster.stop_one(index).await;
    }
    for index in 0..4 {
        cluster.restart(index).await;
    }
    let node = cluster.handle(2);
    assert!(node.chain.reader().tip().height >= height, "final blocks survive a stop of all");
    let id = node.mempool.submit(&transfer(&cluster, 10, payee, 1)).await.expect("accepted");
    assert!(matches!(node.mempool.outcome(id).await, Outcome::Final(_)), "the chain goes on");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_follows_and_its_clients_are_served() {
    let mut cluster = Cluster::start(4).await;
    let observer = cluster.add_observer().await;
    let payee = common::key(900).public_key();
    let node = cluster.handle(observer);
    let id = node.mempool.submit(&transfer(&cluster, 0, payee, 5)).await.expect("accepted");
    let outcome = tokio::time::timeout(Duration::from_secs(30), node.mempool.outcome(id)).await;
    assert!(matches!(outcome, Ok(Outcome::Final(_))), "{outcome:?}");
    cluster.assert_one_history();
    cluster.stop().await;
}
