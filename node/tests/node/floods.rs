//! Goal: whoever has little or no money keeps nobody's transactions out of blocks (`docs/mempool.md`).
//! Method: real validators, to each of which the attack comes as from a client or by gossip; how long honest
//! transactions take is counted in blocks.

use std::sync::Arc;
use std::time::Duration;

use evchain_node::mempool::{Accepted, Outcome, PoolError, SubmitError};
use evchain_node::node::NodeHandle;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{Hash, KeyPair, Preimage};
use evchain_protocol::primitives::{Amount, Height, Nonce, TxRef};
use evchain_protocol::transaction::claim::{Claim, ClaimHashes, IndexedPreimage};
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, RejectReason, SignedTransaction};

use crate::common::{Cluster, key, rich, signed};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// The attacks made more than a thousand empty blocks in a row. This many pass while messages travel.
const FEW_BLOCKS: u64 = 50;

async fn cluster() -> Cluster {
    Cluster::start_with(4, |params| params.fee_flat = Amount::new(1)).await
}

/// A claim of 1,000 installments: 37 kB.
fn claim() -> Action {
    let secret = |index| IndexedPreimage { index, preimage: Preimage::from_bytes([1; 32]) };
    let preimages = List::new((0..1_000).map(secret).collect()).expect("not too many");
    let payment = TxRef::new(Height::new(1), 1).expect("a name");
    Action::Claim(Claim::Hashes(ClaimHashes { payment, preimages }))
}

fn commit() -> Action {
    Action::Commit(Commit { commitment: Hash::ZERO })
}

fn pay(to: &KeyPair, amount: u64) -> Action {
    Action::Transfer(Transfer { to: to.public_key(), amount: Amount::new(amount) })
}

async fn submit(
    cluster: &Cluster,
    node: usize,
    sender: &KeyPair,
    nonce: u64,
    action: Action,
) -> Result<Hash, SubmitError> {
    cluster.handle(node).mempool.submit(&signed(cluster, sender, nonce, action)).await
}

/// As a peer passes it on.
async fn gossip(node: &NodeHandle, bytes: &[u8]) -> Result<Accepted, SubmitError> {
    let transaction = SignedTransaction::from_bytes(bytes).expect("a transaction");
    let verified = transaction.verify(node.chain.reader().chain()).expect("a valid signature");
    node.mempool.accept_gossip(Arc::new(verified)).await
}

/// Pays each of these keys so much, and waits until all have it.
async fn fund(cluster: &Cluster, first_nonce: u64, keys: &[KeyPair], amount: u64) {
    let mut last = None;
    for (nonce, key) in (first_nonce..).zip(keys) {
        if let Some(id) = last.take_if(|_| nonce % 60 == 0) {
            let outcome = cluster.handle(0).mempool.outcome(id).await;
            assert!(matches!(outcome, Outcome::Final(_)), "{outcome:?}");
        }
        last = Some(submit(cluster, 0, &rich(), nonce, pay(key, amount)).await.expect("accepted"));
    }
    let last = keys.last().map(KeyPair::public_key).expect("a key");
    cluster
        .wait_until_all(|node| node.chain.reader().state().account(&last).is_ok_and(|found| found.is_some()))
        .await;
}

/// An honest client's payments are final within few blocks.
async fn assert_goes_on(cluster: &Cluster, first_nonce: u64) {
    let node = cluster.handle(1);
    for nonce in first_nonce..first_nonce + 5 {
        let before = node.chain.reader().tip().height;
        let id = submit(cluster, 1, &rich(), nonce, pay(&key(900), 1)).await.expect("accepted");
        let outcome = node.mempool.outcome(id).await;
        let Outcome::Final(place) = outcome else { panic!("payment {nonce}: {outcome:?}") };
        let blocks = place.height().get() - before.get();
        assert!(blocks <= FEW_BLOCKS, "payment {nonce} was final after {blocks} blocks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gapped_claims_of_a_poor_account_and_of_none_stop_nothing() {
    let cluster = cluster().await;
    let poor = key(901);
    // EUR 0.0001.
    fund(&cluster, 0, std::slice::from_ref(&poor), 1).await;
    for node in 0..4 {
        for nonce in 1..64 {
            let refused = gossip(&cluster.handle(node), &signed(&cluster, &poor, nonce, claim())).await;
            assert!(matches!(refused, Err(SubmitError::Rejected(_) | SubmitError::Pool(_))), "{refused:?}");
            let refused = submit(&cluster, node, &key(5_000 + nonce), nonce, commit()).await;
            assert!(
                matches!(refused, Err(SubmitError::Rejected(RejectReason::NoAccount { .. }))),
                "{refused:?}"
            );
        }
        // What the pool cannot judge yet waits behind its gap, as long as it could be paid for: one.
        let taken = gossip(&cluster.handle(node), &signed(&cluster, &poor, 1, commit())).await;
        assert!(matches!(taken, Ok(Accepted::Waiting)), "{taken:?}");
        let refused = gossip(&cluster.handle(node), &signed(&cluster, &poor, 2, commit())).await;
        assert!(matches!(refused, Err(SubmitError::Pool(PoolError::NotCovered { .. }))), "{refused:?}");
        let status = cluster.handle(node).mempool.status();
        assert_eq!((status.ready, status.gaps), (0, 1));
    }
    assert_goes_on(&cluster, 1).await;
    cluster.assert_one_history();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_of_seventy_accounts_stop_nothing_and_are_passed_on_when_they_close() {
    let cluster = cluster().await;
    let accounts: Vec<KeyPair> = (0..70).map(|number| key(2_000 + number)).collect();
    fund(&cluster, 0, &accounts, 200).await;
    for account in &accounts {
        for nonce in 1..64 {
            submit(&cluster, 0, account, nonce, pay(&key(900), 1)).await.expect("there is room for gaps");
        }
    }
    let status = cluster.handle(0).mempool.status();
    assert_eq!((status.ready, status.gaps), (0, 4_096), "4,410 came, and the oldest left");
    assert_goes_on(&cluster, 70).await;
    for node in 1..4 {
        assert_eq!(cluster.handle(node).mempool.status().gaps, 0, "a gap is not passed on");
    }
    // An honest gap closes, and all that waited behind it is final wherever it has to go.
    let last = accounts.last().expect("an account");
    assert_eq!(cluster.handle(0).mempool.next_nonce(last.public_key()).await, Some(Nonce::ZERO));
    submit(&cluster, 0, last, 0, pay(&key(900), 1)).await.expect("accepted");
    let is_done = |node: &NodeHandle| {
        let account = node.chain.reader().state().account(&last.public_key()).expect("it can be read");
        account.is_some_and(|account| account.nonce == Nonce::new(64))
    };
    cluster.wait_until_all(is_done).await;
    cluster.assert_one_history();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_on_the_final_state_leaves_at_once_with_its_successors() {
    let cluster = cluster().await;
    let account = key(901);
    fund(&cluster, 0, std::slice::from_ref(&account), 100).await;
    let node = cluster.handle(0);
    // The second is no rule's friend, which shows when its turn has come; those behind it could be paid for.
    let second = submit(&cluster, 0, &account, 1, commit()).await.expect("not judged yet");
    let mut behind = Vec::new();
    for nonce in 2..20 {
        behind.push(submit(&cluster, 0, &account, nonce, pay(&rich(), 1)).await.expect("accepted"));
    }
    let ends = futures::future::join(node.mempool.outcome(second), node.mempool.outcome(behind[0]));
    let mut ends = std::pin::pin!(ends);
    // Asked before the first one comes, and with it their turn.
    assert!(futures::poll!(ends.as_mut()).is_pending(), "they wait");
    let first = submit(&cluster, 0, &account, 0, pay(&rich(), 1)).await.expect("accepted");
    let (second, third) = tokio::time::timeout(PATIENCE, ends).await.expect("they leave");
    let first = node.mempool.outcome(first).await;
    assert!(matches!(first, Outcome::Final(_)), "{first:?}");
    assert!(matches!(second, Outcome::Dropped(RejectReason::Commitment(_))), "{second:?}");
    assert_eq!(third, Outcome::Forgotten);
    cluster.wait_until_all(|node| node.mempool.status().transactions == 0).await;
    // The account is not blocked by a nonce that nobody fills.
    assert_eq!(node.mempool.next_nonce(account.public_key()).await, Some(Nonce::new(1)));
    let id = submit(&cluster, 0, &account, 1, pay(&rich(), 1)).await.expect("accepted");
    let outcome = node.mempool.outcome(id).await;
    assert!(matches!(outcome, Outcome::Final(_)), "{outcome:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_moves_on_takes_along_what_it_covered() {
    let cluster = cluster().await;
    let account = key(901);
    fund(&cluster, 0, std::slice::from_ref(&account), 1_000).await;
    // Whoever sends all its money on to its next account has nothing else waiting that it could not pay for.
    submit(&cluster, 0, &account, 0, pay(&rich(), 990)).await.expect("accepted");
    for nonce in 1..64 {
        let _ = submit(&cluster, 0, &account, nonce, commit()).await;
        let status = cluster.handle(0).mempool.status();
        assert!(status.transactions <= 10, "9 are covered by what is left: {status:?}");
    }
    assert_goes_on(&cluster, 1).await;
    cluster.wait_until_all(|node| node.mempool.status().ready == 0).await;

    // The money goes by way of a node that knows of nothing else: what waits for it elsewhere leaves at once.
    let other = key(902);
    fund(&cluster, 6, std::slice::from_ref(&other), 1_000).await;
    let mut last = Hash::ZERO;
    for nonce in 1..64 {
        last = submit(&cluster, 0, &other, nonce, pay(&rich(), 1)).await.expect("covered so far");
    }
    let node = cluster.handle(0);
    let mut finals = node.chain.reader().subscribe();
    let moved = submit(&cluster, 1, &other, 0, pay(&rich(), 990)).await.expect("accepted");
    let heard = async {
        while !finals.recv().await.expect("it runs").transactions.iter().any(|found| found.id == moved) {}
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("it is final");
    assert_eq!(node.mempool.standing(last).await, Outcome::Forgotten, "{:?}", node.mempool.status());
    cluster.stop().await;
}
