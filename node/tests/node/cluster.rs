//! Goal: validators in one process agree on what clients submit, keep it past a stop, and a node
//! that was away or only observes catches up.
//! Method: real nodes with real stores and sockets on loopback, on ports that the system gave.

use std::time::Duration;

use evchain_node::mempool::{Outcome, SubmitError};
use evchain_node::network::NetworkHandle;
use evchain_protocol::primitives::{Amount, Nonce};
use evchain_protocol::state::account::Roles;
use evchain_protocol::transaction::participant::Admit;
use evchain_protocol::transaction::{Action, RejectReason};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_let_in_once_an_authority_has_admitted_its_key() {
    let mut cluster = Cluster::start(4).await;
    let stranger = common::key(600);
    // Whoever was given a coin is no member: anybody could make as many such keys as it likes.
    let paid = cluster.handle(1).mempool.submit(&transfer(&cluster, 0, stranger.public_key(), 5)).await;
    let outcome = cluster.handle(1).mempool.outcome(paid.expect("accepted")).await;
    assert!(matches!(outcome, Outcome::Final(_)), "{outcome:?}");
    let networks: Vec<_> = (0..4).map(|index| cluster.handle(index).network).collect();
    let newcomer = cluster.add_stranger(stranger.clone()).await;
    let is_let_in = async |networks: &[NetworkHandle]| {
        for network in networks {
            let peers = network.connected_peers().await.expect("the network runs");
            if peers.iter().any(|peer| peer.key == stranger.public_key()) {
                return true;
            }
        }
        false
    };
    // It has dialed for a while, and knows no block.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!is_let_in(&networks).await);
    assert_eq!(cluster.handle(newcomer).chain.reader().tip().height.get(), 0);

    let admit = Action::Admit(Admit {
        participant: stranger.public_key(),
        roles: Roles::AUDITOR.with(Roles::CONSUMER),
        withdraw_to: None,
    });
    let admit = common::signed(&cluster, &common::key(0), 0, admit);
    let admitted = cluster.handle(1).mempool.submit(&admit).await.expect("accepted");
    let outcome = cluster.handle(1).mempool.outcome(admitted).await;
    assert!(matches!(outcome, Outcome::Final(_)), "{outcome:?}");
    cluster.wait_until_all(|node| node.chain.reader().tip().height.get() > 0).await;
    assert!(is_let_in(&networks).await);
    drop(networks);
    cluster.stop().await;
}
