//! Goal: rules L and I. Method: one transaction for each way to break a rule; the outcome of each
//! installment by claim, by cancellation and by deadline, at the moments around each deadline.

use evchain_protocol::crypto::{KeyPair, Preimage};
use evchain_protocol::event::Event;
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::payment::{BadInstallmentCount, DepositRule};
use evchain_protocol::primitives::{Timestamp, TxRef};
use evchain_protocol::state::auction::PaymentKinds;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::cancel::{Cancel, CancelReason};
use evchain_protocol::transaction::claim::{
    Claim, ClaimChain, ClaimHashes, ClaimLock, ClaimReason, IndexedPreimage,
};
use evchain_protocol::transaction::installments::{
    ChainAnchor, InstallmentLocks, InstallmentsReason, LockInstallments,
};
use evchain_protocol::transaction::lock::{CreateLock, LockReason};
use evchain_protocol::transaction::{Action, PayableReason, RejectReason};

use crate::chain::*;

const SEED: u8 = 77;
const PRICE: u64 = 1003;

pub(crate) fn lock_with(change: impl FnOnce(&mut CreateLock)) -> Action {
    let mut lock = CreateLock {
        payee: bob().public_key(),
        amount: money(500),
        hash: preimage(1).lock(),
        deadline: at(10 * MINUTE),
    };
    change(&mut lock);
    Action::CreateLock(lock)
}

pub(crate) fn claim_lock(lock: TxRef, preimage: Preimage) -> Action {
    Action::Claim(Claim::Lock(ClaimLock { lock, preimage }))
}

/// N preimages: 1, 2, ...
pub(crate) fn hashes(installments: u8) -> InstallmentLocks {
    let hashes = (1..=installments).map(|number| preimage(number).lock()).collect::<Vec<_>>();
    InstallmentLocks::Hashes(hashes.try_into().unwrap())
}

fn hash_chain(installments: u32) -> HashChain {
    HashChain::new(preimage(SEED), count(installments))
}

pub(crate) fn chain_locks(installments: u32) -> InstallmentLocks {
    InstallmentLocks::Chain(ChainAnchor {
        anchor: hash_chain(installments).anchor(),
        count: count(installments),
    })
}

fn pay(request: TxRef, locks: InstallmentLocks, deposit: DepositRule) -> Action {
    Action::LockInstallments(LockInstallments { request, producer: bob().public_key(), deposit, locks })
}

pub(crate) fn claim_hashes(payment: TxRef, indexes: &[u32]) -> Action {
    let preimages = indexes
        .iter()
        .map(|index| IndexedPreimage { index: *index, preimage: preimage(u8::try_from(*index).unwrap() + 1) })
        .collect::<Vec<_>>();
    Action::Claim(Claim::Hashes(ClaimHashes { payment, preimages: preimages.try_into().unwrap() }))
}

pub(crate) fn claim_chain(payment: TxRef, installments: u32, index: u32) -> Action {
    let link = hash_chain(installments).link(index).unwrap();
    Action::Claim(Claim::Chain(ClaimChain { payment, index, link }))
}

/// A chain with a payment of 1003 for the window of minutes 60 to 120, locked at 0:04.
pub(crate) fn with_payment(locks: InstallmentLocks, deposit: DepositRule) -> (Chain, TxRef) {
    let (mut chain, request) = with_commitment();
    let payment = chain.act(at(4 * MINUTE), &alice(), pay(request, locks, deposit));
    (chain, payment)
}

#[test]
fn l1_to_l3_lock() {
    let mut chain = Chain::new();
    let now = at(MINUTE);
    let reject = |chain: &Chain, action| chain.rejected(now, &alice(), action);
    let (sender, payee) = (alice().public_key(), bob().public_key());

    assert_eq!(reject(&chain, lock_with(|l| l.payee = sender)), LockReason::ToSelf { sender }.into());
    assert_eq!(reject(&chain, lock_with(|l| l.amount = money(0))), LockReason::ZeroAmount.into());
    assert_eq!(
        chain.rejected(now, &bob(), lock_with(|l| l.payee = sender)),
        LockReason::NotConsumer { sender: payee }.into()
    );
    let nobody = dave().public_key();
    assert_eq!(reject(&chain, lock_with(|l| l.payee = nobody)), LockReason::NoPayee { payee: nobody }.into());
    assert_eq!(
        reject(&chain, lock_with(|l| l.deadline = now)),
        LockReason::DeadlinePassed { deadline: now, now }.into()
    );
    let latest = now.after(params().max_lead).unwrap();
    let deadline = Timestamp::new(latest.get() + 1);
    assert_eq!(
        reject(&chain, lock_with(|l| l.deadline = deadline)),
        LockReason::TooFarAhead { deadline, latest }.into()
    );
    let (balance, amount) = (money(MONEY - 2), money(MONEY - 1));
    assert_eq!(
        reject(&chain, lock_with(|l| l.amount = amount)),
        RejectReason::NotCovered { balance, amount }
    );
    chain.act(at(1), &authority(), chain.revocation(payee));
    assert_eq!(reject(&chain, lock_with(|_| {})), LockReason::PayeeRevoked { payee }.into());
}

#[test]
fn l4_l5_a_lock_pays_for_the_preimage_until_its_deadline() {
    let mut chain = Chain::new();
    let lock = chain.act(at(MINUTE), &alice(), lock_with(|_| {}));
    assert_eq!(chain.balance(&alice()), MONEY - 502);
    let now = at(2 * MINUTE);
    assert_eq!(
        chain.rejected(now, &bob(), claim_lock(TxRef::MAX, preimage(1))),
        ClaimReason::NoLock { lock: TxRef::MAX }.into()
    );
    let (payee, sender) = (bob().public_key(), carol().public_key());
    assert_eq!(
        chain.rejected(now, &carol(), claim_lock(lock, preimage(1))),
        ClaimReason::NotPayee { payee, sender }.into()
    );
    assert_eq!(chain.rejected(now, &bob(), claim_lock(lock, preimage(2))), ClaimReason::WrongPreimage.into());
    let deadline = at(10 * MINUTE);
    assert_eq!(
        chain.rejected(deadline, &bob(), claim_lock(lock, preimage(1))),
        ClaimReason::TooLate { deadline, now: deadline }.into()
    );

    let mut claimed = chain.clone();
    // G4: the revoked still settle what is open.
    claimed.act(now, &authority(), claimed.revocation(payee));
    claimed.act(at(10 * MINUTE - 1), &bob(), claim_lock(lock, preimage(1)));
    assert_eq!(claimed.balance(&bob()), MONEY + 500 - 2);
    assert_eq!(claimed.pass(deadline), []);

    assert_eq!(chain.pass(at(10 * MINUTE - 1)), []);
    let refunded = Event::LockRefunded { lock, payer: alice().public_key(), amount: money(500) };
    assert_eq!(chain.pass(deadline), [refunded]);
    assert_eq!(chain.balance(&alice()), MONEY - 2);
}

#[test]
fn i1_to_i4_lock_installments() {
    let (mut chain, request) = with_bid();
    let now = at(4 * MINUTE);
    let forfeit = DepositRule::Forfeit;
    let lock = |request| pay(request, chain_locks(10), forfeit);
    let reject = |chain: &Chain, action| chain.rejected(now, &alice(), action);
    let consumer = alice().public_key();

    assert_eq!(reject(&chain, lock(TxRef::MAX)), PayableReason::NoRequest { request: TxRef::MAX }.into());
    assert_eq!(
        chain.rejected(now, &carol(), lock(request)),
        PayableReason::NotOwner { request, consumer }.into()
    );
    assert_eq!(reject(&chain, lock(request)), PayableReason::NotCommitted { request }.into());
    (chain, _) = with_commitment();
    let start = a_request().window.start;
    assert_eq!(
        chain.rejected(start, &alice(), lock(request)),
        PayableReason::TooLate { start, now: start }.into()
    );
    let producer = carol().public_key();
    let to_carol = LockInstallments { request, producer, deposit: forfeit, locks: chain_locks(10) };
    assert_eq!(
        reject(&chain, Action::LockInstallments(to_carol)),
        PayableReason::NoBid { request, producer }.into()
    );
    assert_eq!(
        reject(&chain, pay(request, chain_locks(11), forfeit)),
        PayableReason::TooManyInstallments { count: count(11), max: count(10) }.into()
    );
    assert_eq!(
        reject(&chain, pay(request, hashes(0), forfeit)),
        InstallmentsReason::Count(BadInstallmentCount(0)).into()
    );
    assert_eq!(
        reject(&chain, pay(request, chain_locks(10), DepositRule::Refund(now))),
        InstallmentsReason::RefundPassed { until: now, now }.into()
    );
    assert_eq!(
        reject(&chain, pay(request, chain_locks(10), DepositRule::Refund(start))),
        InstallmentsReason::RefundAfterStart { until: start, start }.into()
    );
    let mut paid = chain.clone();
    let payment = paid.act(now, &alice(), lock(request));
    assert_eq!(paid.balance(&alice()), MONEY - 3 * 2 - PRICE);
    assert_eq!(
        paid.rejected(at(5 * MINUTE), &alice(), lock(request)),
        PayableReason::AlreadyPaid { request, payment }.into()
    );
    let mut revoked = chain.clone();
    let producer = bob().public_key();
    revoked.act(at(3 * MINUTE + 1), &authority(), revoked.revocation(producer));
    assert_eq!(reject(&revoked, lock(request)), PayableReason::ProducerRevoked { producer }.into());
    // Alice keeps less than the price.
    let spend = Action::Transfer(evchain_protocol::transaction::transfer::Transfer {
        to: producer,
        amount: money(MONEY - 3 * 2 - 500),
    });
    chain.act(at(3 * MINUTE + 1), &alice(), spend);
    let amount = money(PRICE);
    assert_eq!(reject(&chain, lock(request)), RejectReason::NotCovered { balance: money(498), amount });
}

#[test]
fn i2_the_bid_says_which_kinds_it_takes() {
    let (mut chain, request) = with_request();
    let mut bid = a_bid();
    bid.kinds = PaymentKinds::HASHES;
    chain.act(at(2 * MINUTE), &bob(), Action::PlaceBid(PlaceBid::new(request, bid).unwrap()));
    let commitment = evchain_protocol::crypto::Hash::ZERO;
    let commit = evchain_protocol::transaction::commitment::Commit { commitment };
    chain.act(at(3 * MINUTE), &alice(), Action::Commit(commit));
    assert_eq!(
        chain.rejected(at(4 * MINUTE), &alice(), pay(request, chain_locks(10), DepositRule::Forfeit)),
        PayableReason::KindNotOffered { kind: PaymentKinds::CHAIN, offered: PaymentKinds::HASHES }.into()
    );
    chain.act(at(4 * MINUTE), &alice(), pay(request, hashes(10), DepositRule::Forfeit));
}

/// Where the money of an unclaimed payment of N = 3 goes, and when. 1003 = 334 + 334 + 335.
#[test]
fn i5_i9_unclaimed_installments_settle_one_by_one() {
    let refund = DepositRule::Refund(at(45 * MINUTE));
    for locks in [hashes(3), chain_locks(3)] {
        for deposit in [DepositRule::Forfeit, refund] {
            let (mut chain, payment) = with_payment(locks.clone(), deposit);
            let (before_a, before_b) = (chain.balance(&alice()), chain.balance(&bob()));
            let first = if deposit == refund { 45 } else { 60 };
            // Slices of 20 minutes, and the margin of 10.
            for (minute, to_alice, to_bob) in match deposit {
                DepositRule::Forfeit => [(first, 0, 334), (110, 334, 334), (130, 334 + 335, 334)],
                DepositRule::Refund(_) => [(first, 334, 0), (110, 668, 0), (130, PRICE, 0)],
            } {
                let (a, b) = (chain.balance(&alice()), chain.balance(&bob()));
                chain.pass(at(minute * MINUTE - 1));
                assert_eq!((chain.balance(&alice()), chain.balance(&bob())), (a, b), "before {minute}");
                chain.pass(at(minute * MINUTE));
                assert_eq!(chain.balance(&alice()) - before_a, to_alice, "at {minute}");
                assert_eq!(chain.balance(&bob()) - before_b, to_bob, "at {minute}");
            }
            assert_eq!(chain.state.payment(payment).unwrap(), None);
            assert_eq!(chain.events.last().unwrap().event, Event::PaymentEnded { payment });
            assert_eq!(chain.state.due(Timestamp::MAX, 1).unwrap(), []);
        }
    }
}

/// A block that comes late settles several installments at once, in the same way.
#[test]
fn i5_a_late_block_settles_all_that_is_overdue() {
    let (mut chain, payment) = with_payment(chain_locks(3), DepositRule::Forfeit);
    let before = chain.balance(&bob());
    let events = chain.pass(at(500 * MINUTE));
    assert_eq!(chain.balance(&bob()), before + 334);
    assert_eq!(events.last(), Some(&Event::PaymentEnded { payment }));
    assert_eq!(chain.balance(&alice()), MONEY - 3 * 2 - 334);
}

#[test]
fn i6_claim_of_independent_hashes() {
    let (mut chain, payment) = with_payment(hashes(3), DepositRule::Forfeit);
    let now = at(70 * MINUTE);
    let reject = |chain: &Chain, who: &KeyPair, action| chain.rejected(now, who, action);

    assert_eq!(reject(&chain, &bob(), claim_hashes(payment, &[])), ClaimReason::NoInstallments.into());
    for (indexes, index) in [(&[1, 1], 1), (&[2, 1], 1)] {
        assert_eq!(
            reject(&chain, &bob(), claim_hashes(payment, indexes)),
            ClaimReason::OutOfOrder { index }.into()
        );
    }
    assert_eq!(
        reject(&chain, &bob(), claim_hashes(TxRef::MAX, &[1])),
        ClaimReason::NoPayment { payment: TxRef::MAX }.into()
    );
    let (payee, sender) = (bob().public_key(), alice().public_key());
    assert_eq!(
        reject(&chain, &alice(), claim_hashes(payment, &[1])),
        ClaimReason::NotPayee { payee, sender }.into()
    );
    assert_eq!(
        reject(&chain, &bob(), claim_chain(payment, 3, 1)),
        ClaimReason::LockedByHashes { payment }.into()
    );
    assert_eq!(
        reject(&chain, &bob(), claim_hashes(payment, &[1, 3])),
        ClaimReason::NoSuchInstallment { index: 3, count: 3 }.into()
    );
    let start = a_request().window.start;
    assert_eq!(
        reject(&chain, &bob(), claim_hashes(payment, &[0, 1])),
        ClaimReason::TooLate { deadline: start, now }.into()
    );
    let wrong = IndexedPreimage { index: 2, preimage: preimage(2) };
    let wrong = ClaimHashes { payment, preimages: vec![wrong].try_into().unwrap() };
    assert_eq!(
        reject(&chain, &bob(), Action::Claim(Claim::Hashes(wrong))),
        ClaimReason::WrongInstallmentPreimage { index: 2 }.into()
    );

    // Installment 2 first, the deposit by forfeit, installment 1 in time, and nothing twice.
    let before = chain.balance(&bob());
    chain.act(at(50 * MINUTE), &bob(), claim_hashes(payment, &[2]));
    assert_eq!(chain.balance(&bob()), before - 2 + 335);
    assert_eq!(reject(&chain, &bob(), claim_hashes(payment, &[2])), ClaimReason::Settled { index: 2 }.into());
    chain.pass(at(60 * MINUTE));
    let mut late = chain.clone();
    chain.act(at(110 * MINUTE - 1), &bob(), claim_hashes(payment, &[1]));
    assert_eq!(chain.balance(&bob()), before - 2 * 2 + PRICE);
    assert_eq!(chain.state.payment(payment).unwrap(), None);

    late.pass(at(110 * MINUTE));
    assert_eq!(
        late.rejected(at(111 * MINUTE), &bob(), claim_hashes(payment, &[1])),
        ClaimReason::NoPayment { payment }.into()
    );
}

#[test]
fn i7_claim_along_a_hash_chain() {
    let (mut chain, payment) = with_payment(chain_locks(3), DepositRule::Forfeit);
    let now = at(70 * MINUTE);
    let reject = |chain: &Chain, action| chain.rejected(now, &bob(), action);

    assert_eq!(reject(&chain, claim_hashes(payment, &[1])), ClaimReason::LockedByChain { payment }.into());
    let link = hash_chain(3).link(2).unwrap();
    let with = |index, link| Action::Claim(Claim::Chain(ClaimChain { payment, index, link }));
    assert_eq!(reject(&chain, with(3, link)), ClaimReason::NoSuchInstallment { index: 3, count: 3 }.into());
    assert_eq!(reject(&chain, with(1, link)), ClaimReason::WrongLink { index: 1 }.into());
    let (payee, sender) = (bob().public_key(), alice().public_key());
    assert_eq!(chain.rejected(now, &alice(), with(2, link)), ClaimReason::NotPayee { payee, sender }.into());

    let before = chain.balance(&bob());
    let mut at_once = chain.clone();
    at_once.act(at(50 * MINUTE), &bob(), claim_chain(payment, 3, 2));
    assert_eq!(at_once.balance(&bob()), before - 2 + PRICE);
    assert_eq!(at_once.state.payment(payment).unwrap(), None);

    // After the forfeit, up to 1; then 1 is settled and 2 is left.
    chain.act(at(60 * MINUTE), &bob(), claim_chain(payment, 3, 1));
    assert_eq!(chain.balance(&bob()), before - 2 + 668);
    assert_eq!(reject(&chain, claim_chain(payment, 3, 1)), ClaimReason::Settled { index: 1 }.into());
    let deadline = at(130 * MINUTE);
    assert_eq!(
        chain.rejected(deadline, &bob(), claim_chain(payment, 3, 2)),
        ClaimReason::TooLate { deadline, now: deadline }.into()
    );
    chain.pass(deadline);
    assert_eq!(chain.balance(&bob()), before - 2 + 668);
}

#[test]
fn i8_cancel() {
    for locks in [hashes(3), chain_locks(3)] {
        let (chain, payment) = with_payment(locks.clone(), DepositRule::Forfeit);
        let cancel = || Action::Cancel(Cancel::Payment(payment));
        let payer = alice().public_key();
        assert_eq!(
            chain.rejected(at(10 * MINUTE), &alice(), Action::Cancel(Cancel::Payment(TxRef::MAX))),
            CancelReason::NoPayment { payment: TxRef::MAX }.into()
        );
        assert_eq!(
            chain.rejected(at(10 * MINUTE), &bob(), cancel()),
            CancelReason::NotPayer { payer }.into()
        );
        let cancel_by = a_bid().cancel_by;
        assert_eq!(
            chain.rejected(cancel_by, &alice(), cancel()),
            CancelReason::TooLate { cancel_by, now: cancel_by }.into()
        );
        let mut started = chain.clone();
        let claim = match locks {
            InstallmentLocks::Hashes(_) => claim_hashes(payment, &[1]),
            InstallmentLocks::Chain(_) => claim_chain(payment, 3, 0),
        };
        started.act(at(10 * MINUTE), &bob(), claim);
        assert_eq!(
            started.rejected(at(11 * MINUTE), &alice(), cancel()),
            CancelReason::Settled { payment }.into()
        );

        let mut cancelled = chain.clone();
        let before = cancelled.balance(&alice());
        cancelled.act(at(50 * MINUTE - 1), &alice(), cancel());
        assert_eq!(cancelled.balance(&alice()), before - 2 + PRICE);
        assert_eq!(cancelled.state.payment(payment).unwrap(), None);
        cancelled.pass(at(200 * MINUTE));
        assert_eq!(cancelled.balance(&alice()), before - 2 + PRICE);
    }
}
