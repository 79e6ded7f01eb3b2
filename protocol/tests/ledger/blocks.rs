//! Goal: rules K, and how states and changes lie on each other. Method: blocks with one thing wrong;
//! more due items than a block may settle; forks that share a parent.

use evchain_protocol::block::Header;
use evchain_protocol::crypto::Hash;
use evchain_protocol::event::Event;
use evchain_protocol::execute::{
    BlockContext, BlockError, InvalidBlock, Ledger, MAX_DUE_PER_BLOCK, Parent, execute_block,
};
use evchain_protocol::light::StateEntryProof;
use evchain_protocol::merkle::MerkleTree;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Height, Nonce, Timestamp};
use evchain_protocol::state::key::{DueItem, StateKey};
use evchain_protocol::state::overlay::Overlay;
use evchain_protocol::state::read::{ReadError, StateRead};
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimLock};
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, RejectReason, VerifiedTransaction};

use crate::chain::*;

fn pay(units: u64) -> Action {
    Action::Transfer(Transfer { to: bob().public_key(), amount: money(units) })
}

/// The sender's transactions with the next `count` nonces.
fn payments(chain: &Chain, count: u64) -> Vec<VerifiedTransaction> {
    let first = chain.nonce(&alice().public_key()).get();
    let sign = |nonce| chain.sign_with(&alice(), Nonce::new(nonce), pay(1)).unwrap();
    (first..first + count).map(sign).collect()
}

fn execute(chain: &Chain, header: &Header, transactions: &[VerifiedTransaction]) -> Result<(), BlockError> {
    let view = chain.tree.unchanged();
    let parent = Parent { header: &chain.tip, state: &chain.state, tree: &view };
    execute_block(&parent, header, transactions).map(|_| ())
}

#[test]
fn k2_headers_with_one_thing_wrong() {
    let chain = Chain::new();
    let transactions = payments(&chain, 2);
    let built = chain.try_block(at(5), transactions.clone()).unwrap();
    let good = header_of(&chain.tip, at(5), &built);
    assert_eq!(execute(&chain, &good, &transactions), Ok(()));

    let wrong = |change: &dyn Fn(&mut Header)| {
        let mut header = good.clone();
        change(&mut header);
        match execute(&chain, &header, &transactions).unwrap_err() {
            BlockError::Invalid(invalid) => invalid,
            BlockError::Failed(error) => panic!("{error}"),
        }
    };
    let zero = Hash::ZERO;
    assert!(matches!(wrong(&|h| h.chain.0 = zero), InvalidBlock::OtherChain { .. }));
    assert!(matches!(wrong(&|h| h.height = Height::new(2)), InvalidBlock::Height { .. }));
    assert!(matches!(wrong(&|h| h.parent_hash = zero), InvalidBlock::Parent { .. }));
    assert!(matches!(wrong(&|h| h.time_ms = at(0)), InvalidBlock::Time { .. }));
    for (name, change) in [
        ("tx_root", &(|h: &mut Header| h.tx_root = zero) as &dyn Fn(&mut Header)),
        ("event_root", &|h| h.event_root = zero),
        ("state_root", &|h| h.state_root = zero),
        ("authority_root", &|h| h.authority_root = zero),
        ("next_authority_root", &|h| h.next_authority_root = zero),
    ] {
        assert!(matches!(wrong(change), InvalidBlock::Root { name: n, .. } if n == name), "{name}");
    }
    // A time that settles something else, or nothing else: only the roots decide.
    let mut later = good.clone();
    later.time_ms = at(6);
    assert_eq!(execute(&chain, &later, &transactions), Ok(()));
}

#[test]
fn g6_a_block_with_a_rejected_transaction_is_invalid() {
    let chain = Chain::new();
    let mut transactions = payments(&chain, 2);
    transactions.swap(0, 1);
    let built = chain.try_block(at(5), Vec::new()).unwrap();
    let mut header = header_of(&chain.tip, at(5), &built);
    header.tx_root = MerkleTree::new(transactions.iter().map(|tx| *tx.id().as_bytes())).root();
    let (expected, given) = (Nonce::ZERO, Nonce::new(1));
    let reason = RejectReason::NonceTooHigh { expected, given };
    assert_eq!(
        execute(&chain, &header, &transactions),
        Err(InvalidBlock::Transaction { index: 0, reason }.into())
    );
}

#[test]
fn k3_a_leader_fills_a_block_and_a_follower_refuses_more() {
    let chain = Chain::with(Params { max_block_transactions: 3, ..params() });
    let transactions = payments(&chain, 5);
    let built = chain.try_block(at(5), transactions.clone()).unwrap();
    assert_eq!((built.transactions.len(), built.left_over.len(), built.rejected.len()), (3, 2, 0));
    let header = header_of(&chain.tip, at(5), &built);
    assert_eq!(
        execute(&chain, &header, &transactions[..4]),
        Err(InvalidBlock::TooManyTransactions { given: 4, max: 3 }.into())
    );

    let bytes = transactions[0].encoded_len();
    let max = 40 * 1024;
    let chain = Chain::with(Params { max_block_bytes: max, ..params() });
    let fit = usize::try_from(max).unwrap() / bytes;
    let transactions = payments(&chain, fit as u64 + 2);
    let built = chain.try_block(at(5), transactions.clone()).unwrap();
    assert_eq!((built.transactions.len(), built.left_over.len()), (fit, 2));
    let header = header_of(&chain.tip, at(5), &built);
    assert_eq!(execute(&chain, &header, &built.transactions), Ok(()));
    let given = (fit + 1) * bytes;
    assert_eq!(
        execute(&chain, &header, &transactions[..=fit]),
        Err(InvalidBlock::TooManyBytes { given, max }.into())
    );
}

#[test]
fn a_leader_skips_what_breaks_a_rule() {
    let mut chain = Chain::new();
    let good = payments(&chain, 1);
    let too_much = chain.sign(&carol(), pay(MONEY));
    let built = chain.block(at(5), vec![too_much, good[0].clone(), good[0].clone()]);
    assert_eq!(built.transactions, good);
    let reasons: Vec<_> = built.rejected.iter().map(|(_, reason)| reason.clone()).collect();
    let not_covered = RejectReason::NotCovered { balance: money(MONEY - 2), amount: money(MONEY) };
    let used_up = RejectReason::NonceTooLow { expected: Nonce::new(1), given: Nonce::ZERO };
    assert_eq!(reasons, [not_covered, used_up]);
}

/// K1: more is due than one block settles. The rest comes first in the next, in order of time, and
/// what is past its deadline cannot be claimed meanwhile.
#[test]
fn k1_the_queue_is_bounded_and_in_order() {
    let mut chain = Chain::new();
    let more = 3;
    let total = MAX_DUE_PER_BLOCK as u64 + more;
    let first = chain.nonce(&alice().public_key()).get();
    let locks = (0..total)
        .map(|nonce| {
            let action = Action::CreateLock(CreateLock {
                payee: bob().public_key(),
                amount: money(1),
                hash: preimage(1).lock(),
                deadline: at(1000 + total - nonce),
            });
            chain.sign_with(&alice(), Nonce::new(first + nonce), action).unwrap()
        })
        .collect();
    assert_eq!(chain.block(at(1), locks).transactions.len() as u64, total);

    let late = at(1_000_000);
    let refunded = |events: Vec<Event>| -> Vec<u32> {
        let index = |event: &Event| match event {
            Event::LockRefunded { lock, .. } => lock.index(),
            other => panic!("unexpected {other:?}"),
        };
        events.iter().map(index).collect()
    };
    let first_block = refunded(chain.pass(late));
    assert_eq!(first_block.len(), MAX_DUE_PER_BLOCK);
    assert!(first_block.is_sorted_by(|a, b| a > b), "the last lock has the first deadline");
    let still_there = evchain_protocol::primitives::TxRef::new(Height::new(1), 0).unwrap();
    let claim = ClaimLock { lock: still_there, preimage: preimage(1) };
    let reason = chain.rejected(at(1_000_001), &bob(), Action::Claim(Claim::Lock(claim)));
    assert!(reason.to_string().starts_with("it could be claimed until"), "{reason}");
    assert_eq!(refunded(chain.pass(at(1_000_001))), [2, 1, 0]);
    assert_eq!(chain.pass(at(1_000_002)), []);
}

/// I7 with K1: a link cannot claim an overdue installment that the queue has not reached yet.
#[test]
fn i7_a_claim_leaves_overdue_installments_to_the_payer() {
    let (mut chain, request) = with_commitment();
    let hash_chain = evchain_protocol::hash_chain::HashChain::new(preimage(7), count(3));
    let locks = InstallmentLocks::Chain(ChainAnchor { anchor: hash_chain.anchor(), count: count(3) });
    let deposit = evchain_protocol::payment::DepositRule::Forfeit;
    let producer = bob().public_key();
    let lock = LockInstallments { request, producer, deposit, locks };
    let payment = chain.act(at(4 * MINUTE), &alice(), Action::LockInstallments(lock));
    // As many locks as a block settles, all due before the payment's.
    let first = chain.nonce(&carol().public_key()).get();
    let fill = (0..MAX_DUE_PER_BLOCK as u64)
        .map(|nonce| {
            let hash = preimage(1).lock();
            let lock = CreateLock { payee: producer, amount: money(1), hash, deadline: at(5 * MINUTE) };
            chain.sign_with(&carol(), Nonce::new(first + nonce), Action::CreateLock(lock)).unwrap()
        })
        .collect();
    chain.block(at(4 * MINUTE + 1), fill);

    // The deadlines of 0 and 1 are at minutes 60 and 110; that of 2 is at 130.
    let before = (chain.balance(&alice()), chain.balance(&bob()));
    chain.pass(at(115 * MINUTE));
    assert!(chain.state.payment(payment).unwrap().is_some_and(|p| !p.is_settled(0)));
    let link = hash_chain.link(2).unwrap();
    let claim = ClaimChain { payment, index: 2, link };
    chain.act(at(116 * MINUTE), &bob(), Action::Claim(Claim::Chain(claim)));
    // 334 forfeited, 335 claimed; 334 back.
    assert_eq!(chain.balance(&bob()), before.1 - 2 + 334 + 335);
    assert_eq!(chain.balance(&alice()), before.0 + 334);
    assert_eq!(chain.state.payment(payment).unwrap(), None);
}

#[test]
fn forks_share_a_parent_and_changes_stack() {
    let chain = Chain::new();
    let built = |units| chain.try_block(at(5), vec![chain.sign(&alice(), pay(units))]).unwrap();
    let (one, other) = (built(10), built(20));
    let balance = |state: &dyn StateRead| state.account(&bob().public_key()).unwrap().unwrap().balance;
    let (first, second) = (one.executed.changes.on(&chain.state), other.executed.changes.on(&chain.state));
    assert_eq!(balance(&first), money(MONEY + 10));
    assert_eq!(balance(&second), money(MONEY + 20));
    assert_ne!(one.executed.state_root, other.executed.state_root);

    // A block on a block that is not committed.
    let view = chain.tree.unchanged();
    let header = header_of(&chain.tip, at(5), &one);
    let on_first = view.then(&one.executed.tree).unwrap();
    let parent = Parent { header: &header, state: &first, tree: &on_first };
    let transaction = chain.sign_with(&alice(), Nonce::new(1), pay(5)).unwrap();
    let next = evchain_protocol::execute::build_block(&parent, at(6), [transaction]).unwrap();
    assert_eq!(balance(&next.executed.changes.on(&first)), money(MONEY + 15));
    assert_eq!(balance(&chain.state), money(MONEY));
}

#[test]
fn overlays_hide_and_add_entries_in_order() {
    let mut chain = Chain::new();
    let due =
        |time| StateKey::Due(Timestamp::new(time), DueItem::Lock(evchain_protocol::primitives::TxRef::MIN));
    let mut below = Overlay::new(&chain.state);
    for time in [10, 20, 30] {
        below.put(due(time), StateValue::Due);
    }
    let changes = below.into_changes();
    chain.state.apply(changes);
    let mut overlay = Overlay::new(&chain.state);
    overlay.remove(due(10));
    overlay.put(due(15), StateValue::Due);
    overlay.checkpoint();
    overlay.remove(due(15));
    overlay.put(due(16), StateValue::Due);
    overlay.put(due(16), StateValue::Due);
    overlay.rollback();
    let times = |limit| -> Vec<u64> {
        let due = overlay.due(Timestamp::new(25), limit).unwrap();
        due.into_iter().map(|(time, _)| time.get()).collect()
    };
    assert_eq!(times(1), [15]);
    assert_eq!(times(9), [15, 20]);
    assert_eq!(overlay.range(due(20)..=due(10), 9).unwrap(), []);
}

#[test]
fn entries_are_proven_against_the_header() {
    let mut chain = Chain::new();
    chain.act(at(1), &alice(), pay(5));
    let prove = |key: StateKey| {
        let value = chain.state.get(&key).unwrap();
        let proof = StateEntryProof::new(&chain.tree.unchanged(), &key, value.as_ref()).unwrap();
        proof.verify(&chain.tip, &key).unwrap()
    };
    let bobs = StateValue::Account(chain.account(&bob()));
    assert_eq!(prove(StateKey::Account(bob().public_key())), Some(bobs));
    assert_eq!(prove(StateKey::Account(dave().public_key())), None);
}

/// A state that fails is our failure, never a rejection.
#[test]
fn a_failing_store_rejects_nothing() {
    struct Broken;
    impl StateRead for Broken {
        fn get(&self, _: &StateKey) -> Result<Option<StateValue>, ReadError> {
            Err(ReadError::Store("disk".into()))
        }
        fn range(
            &self,
            _: std::ops::RangeInclusive<StateKey>,
            _: usize,
        ) -> Result<Vec<(StateKey, StateValue)>, ReadError> {
            Err(ReadError::Store("disk".into()))
        }
    }
    let chain = Chain::new();
    let context = BlockContext::new(chain.id, Height::new(1), at(5), &chain.state).unwrap();
    let mut ledger = Ledger::new(&context, &Broken);
    let failed = ReadError::Store("disk".into());
    assert_eq!(ledger.execute(&chain.sign(&alice(), pay(5)), 0), Err(failed.clone().into()));
    assert_eq!(ledger.settle_due(), Err(failed));
}
