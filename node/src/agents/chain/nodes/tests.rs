//! Goal: an agent believes no node that misses blocks, stays with one node for one question, leaves a
//! node that does not help, and says so after a while; a transaction waits behind no other of its key.
//! Method: stub nodes at chosen heights, whose refusals are written down beforehand.

use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::KeyPair;
use evchain_protocol::primitives::{Amount, Height, Nonce};
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, SignedTransaction};

use super::{Nodes, Signer};
use crate::agents::AgentError;
use crate::agents::chain::stub::{StubNode, client, warnings};
use crate::agents::event::Warning;
use crate::agents::report::Phase;
use crate::rpc::{CallError, NodeApiClient, Page, RpcClient};

const PATIENCE: Duration = Duration::from_secs(20);

fn quiet() -> crate::agents::Observer {
    Arc::new(|_| {})
}

fn key() -> KeyPair {
    KeyPair::from_secret(&[7; 32])
}

/// The outcome of a question that has an answer.
async fn soon<T>(question: impl Future<Output = Result<T, AgentError>>) -> T {
    tokio::time::timeout(PATIENCE, question).await.expect("in time").expect("an answer")
}

/// The height of the node that answers.
async fn height(nodes: &Nodes) -> Option<u64> {
    let ask = |rpc: RpcClient| async move { rpc.status().await.map(|status| status.height.get()) };
    soon(nodes.ask("ask for a height", ask)).await
}

/// The heights of the nodes that answer a list's three pages; between them others may move on.
async fn heights(nodes: &Nodes, between: impl Fn()) -> Vec<u64> {
    let between = &between;
    let page = |rpc: RpcClient, after: Option<u64>| async move {
        let (status, page) = (rpc.status().await?, after.unwrap_or(0));
        between();
        Ok(Page { items: vec![status.height.get()], next: (page < 2).then_some(page + 1) })
    };
    soon(nodes.all("ask for a list", page)).await
}

#[tokio::test]
async fn a_node_that_misses_blocks_is_not_believed() {
    let (stuck, good) = (StubNode::start(5).await, StubNode::start(9).await);
    good.set(|script| script.account = Some((3, 3)));
    for order in [[&stuck, &good], [&good, &stuck]] {
        let nodes = Nodes::new(client(&order).await, quiet());
        nodes.saw(Height::new(9));
        assert_eq!(height(&nodes).await, Some(9));
        assert_eq!(heights(&nodes, || {}).await, [9; 3]);
        // The stuck one knows no account: "not there" is not what it says.
        let found = soon(nodes.account(key().public_key())).await;
        assert_eq!(found.map(|account| account.nonce), Some(Nonce::new(3)));
    }
}

#[tokio::test]
async fn a_node_that_lost_its_blocks_is_not_believed_any_more() {
    let only = StubNode::start(9).await;
    only.set(|script| script.account = Some((3, 3)));
    let nodes = Nodes::new(client(&[&only]).await, quiet());
    nodes.saw(Height::new(9));
    assert!(soon(nodes.account(key().public_key())).await.is_some());
    // It comes back with an older disk, without the account.
    only.set(|script| (script.height, script.account) = (2, None));
    let question = nodes.account(key().public_key());
    let early = tokio::time::timeout(Duration::from_secs(1), question).await;
    assert!(early.is_err(), "not there: {early:?}");
    only.set(|script| script.height = 9);
    assert!(soon(nodes.account(key().public_key())).await.is_none(), "it has all blocks again");
}

#[tokio::test]
async fn what_is_in_haste_takes_what_is_found_though_all_are_behind() {
    let (one, other) = (StubNode::start(5).await, StubNode::start(6).await);
    for stub in [&one, &other] {
        stub.set(|script| script.account = Some((3, 3)));
    }
    let nodes = Nodes::new(client(&[&one, &other]).await, quiet());
    nodes.saw(Height::new(9));
    let ask = |rpc: RpcClient| async move { rpc.account(key().public_key()).await };
    let found = soon(nodes.ask_in_haste("ask for an account", ask)).await;
    assert_eq!(found.map(|info| info.account.nonce), Some(Nonce::new(3)));
    // What is not found is believed of neither.
    for stub in [&one, &other] {
        stub.set(|script| script.account = None);
    }
    let question = nodes.ask_in_haste("ask for an account", ask);
    assert!(tokio::time::timeout(Duration::from_secs(1), question).await.is_err());
}

#[tokio::test]
async fn one_node_answers_all_pages_though_others_move_on() {
    let (lower, higher) = (StubNode::start(5).await, StubNode::start(9).await);
    let rpc = client(&[&lower, &higher]).await;
    let nodes = Nodes::new(rpc.clone(), quiet());
    nodes.saw(Height::new(4));
    assert_eq!(heights(&nodes, || rpc.skip()).await, [5; 3]);
    assert_eq!(rpc.index(), 1, "three pages and an odd number of moves");
}

#[tokio::test]
async fn the_status_of_another_node_vouches_for_nobody() {
    let (stuck, good) = (StubNode::start(5).await, StubNode::start(9).await);
    good.set(|script| script.account = Some((3, 3)));
    let rpc = client(&[&good, &stuck]).await;
    let nodes = Nodes::new(rpc.clone(), quiet());
    nodes.saw(Height::new(9));
    assert_eq!(height(&nodes).await, Some(9));
    // Another task moves to the stuck one, after the good one has said how far it is.
    rpc.skip();
    let found = soon(nodes.account(key().public_key())).await;
    assert!(found.is_some(), "the stuck node was believed");
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_warned_of_once() {
    let (one, other) = (StubNode::start(5).await, StubNode::start(6).await);
    let (observer, told) = warnings();
    let mut nodes = Nodes::new(client(&[&one, &other]).await, observer);
    nodes.slow = Duration::from_millis(300);
    nodes.saw(Height::new(9));
    let catch_up = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        other.set(|script| script.height = 9);
    };
    let (answer, ()) = tokio::join!(height(&nodes), catch_up);
    assert_eq!(answer, Some(9));
    let told = told.lock().expect("no panic");
    let [Warning::Unreachable { action, reason }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((action.as_str(), reason.matches("misses blocks").count()), ("ask for a height", 2));
}

#[tokio::test]
async fn of_several_that_leave_a_node_one_moves_on() {
    let stubs = [StubNode::start(1).await, StubNode::start(1).await, StubNode::start(1).await];
    let rpc = client(&[&stubs[0], &stubs[1], &stubs[2]]).await;
    let views = [rpc.pinned(), rpc.pinned(), rpc.pinned()];
    views.iter().for_each(RpcClient::skip);
    assert_eq!(rpc.index(), 1);
    assert_eq!(views.map(|view| view.index()), [0; 3], "a view stays where it is");
}

fn transfer() -> Action {
    Action::Transfer(Transfer { to: key().public_key(), amount: Amount::new(1) })
}

async fn send(nodes: Nodes) {
    let (signer, action) = (Signer::new(nodes, key()), transfer());
    soon(signer.send(Phase::Settlement, &action)).await;
}

#[tokio::test]
async fn a_transaction_goes_to_the_next_node_when_one_does_not_finish_it() {
    let timed_out = CallError::TimedOut { transaction: evchain_protocol::crypto::Hash::ZERO, waited_ms: 10 };
    for refusal in [timed_out, CallError::Busy("full".to_owned()), CallError::Failed("disk".to_owned())] {
        let (stuck, good) = (StubNode::start(5).await, StubNode::start(9).await);
        for stub in [&stuck, &good] {
            stub.set(|script| script.account = Some((3, 3)));
        }
        stuck.set(|script| script.refusals = vec![refusal.clone(); 100]);
        let rpc = client(&[&stuck, &good]).await;
        send(Nodes::new(rpc.clone(), quiet())).await;
        assert_eq!((stuck.sent().len(), good.sent().len(), rpc.index()), (1, 1, 1), "{refusal}");
    }
}

#[tokio::test]
async fn a_predecessor_that_waits_leaves_no_gap() {
    let stub = StubNode::start(5).await;
    // A transaction with nonce 3 waits; it becomes final while the new one is refused.
    stub.set(|script| {
        script.account = Some((3, 4));
        script.refusals = vec![
            CallError::Busy("nonce 3 is taken".to_owned()),
            CallError::Rejected { reason: "nonce_too_low".to_owned(), message: String::new() },
        ];
        script.nonce_after_rejection = Some(4);
    });
    send(Nodes::new(client(&[&stub]).await, quiet())).await;
    let nonce = |signed: &SignedTransaction| signed.transaction.nonce.get();
    assert_eq!(stub.sent().iter().map(nonce).collect::<Vec<_>>(), [3, 3, 4]);
}
