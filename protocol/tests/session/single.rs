//! Goal: single locks pay for a session exactly if they are the installments of the bid's price (O8), and
//! the session with them is that of P21 III-D.
//!
//! Method: locks in order, and for each condition the change that breaks it; whole sessions.

use crate::bank::Side;
use crate::deal::{Deal, END, PRICE, START, Shape, T_MAX, open_locks};
use crate::world::World;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::payment::{DepositRule, InstallmentCount, InstallmentPlan};
use evchain_protocol::primitives::{Amount, Span, Timestamp, TxRef, Window};
use evchain_protocol::session::{
    OnChain, PaymentKind, ProducerPolicy, ProducerSession, RejectReason, Secrets, Settlement, check_open,
};
use evchain_protocol::state::payment::{HashLocks, Lock};

const COUNTS: [u32; 4] = [1, 2, 10, 100];

fn deal(count: u32) -> Deal {
    Deal::new(Shape::new(PaymentKind::Single, count))
}

/// The locks of this deal, as the ledger has them.
fn locks(deal: &Deal) -> Vec<(TxRef, Lock)> {
    open_locks(&deal.chain, &deal.locks)
}

fn payment(deal: &Deal, locks: &[(TxRef, Lock)]) -> Option<OnChain> {
    OnChain::of_locks(&deal.open, deal.facts.request.as_ref().unwrap(), locks)
}

#[test]
fn locks_of_the_bids_price_are_a_payment() {
    for count in COUNTS {
        let deal = deal(count);
        let Some(OnChain::Installments(found)) = payment(&deal, &locks(&deal)) else { panic!("N = {count}") };
        let Secrets::Hashes(preimages) = &deal.secrets else { panic!("hashes") };
        let plan = InstallmentPlan {
            price: PRICE,
            count: InstallmentCount::new(count).unwrap(),
            window: Window { start: START, end: END },
            deposit: DepositRule::Refund(T_MAX),
            // One lock has no margin to show, and none is needed: it is the deposit.
            claim_margin: if count == 1 { Span::ZERO } else { Span::new(600_000) },
        };
        assert_eq!(found.plan, plan, "N = {count}");
        let hashes = preimages.map(|preimage| Some(preimage.lock()));
        assert_eq!(found.locks, HashLocks::Hashes(hashes), "N = {count}");
        let parties = (deal.consumer.public_key(), deal.producer.public_key());
        assert_eq!((found.consumer, found.producer), parties, "N = {count}");
    }
}

#[test]
fn locks_that_are_not_the_installments_are_none() {
    type Change = fn(&mut Vec<(TxRef, Lock)>);
    let table: [(&str, Change); 11] = [
        ("too little", |locks| locks[3].1.amount = Amount::new(locks[3].1.amount.get() - 1)),
        ("too much", |locks| locks[3].1.amount = Amount::new(locks[3].1.amount.get() + 1)),
        ("ends early", |locks| locks[3].1.deadline = Timestamp::new(locks[3].1.deadline.get() - 1)),
        ("all end early", |locks| locks.iter_mut().for_each(|(_, lock)| lock.deadline = T_MAX)),
        ("no deposit before the window", |locks| locks[0].1.deadline = START),
        ("one hash for two", |locks| locks[7].1.hash = locks[2].1.hash),
        ("of another payer", |locks| locks[9].1.payer = PublicKey::from_bytes([4; 32])),
        ("to another payee", |locks| locks[9].1.payee = PublicKey::from_bytes([4; 32])),
        ("one is gone", |locks| _ = locks.remove(5)),
        ("another is the first", |locks| _ = locks.remove(0)),
        ("there are none", Vec::clear),
    ];
    let deal = deal(10);
    for (what, change) in table {
        let mut locks = locks(&deal);
        change(&mut locks);
        assert_eq!(payment(&deal, &locks), None, "{what}");
    }
    // Locks of another price are a payment, of that price (O6).
    let mut cheaper = deal.clone();
    cheaper.facts.bid.as_mut().unwrap().price = Amount::new(PRICE.get() - 10);
    let remote = deal.consumer.public_key();
    let policy = ProducerPolicy::default();
    let now = Timestamp::new(START.get() - 290_000);
    cheaper.facts.time = now;
    let answer = check_open(deal.producer.public_key(), remote, &deal.open, &cheaper.facts, &policy, now);
    assert_eq!(answer.err(), Some(RejectReason::OtherPayment), "another price");
}

#[test]
fn a_session_by_single_locks_is_that_of_independent_hashes() {
    for count in COUNTS {
        let mut world = World::new(deal(count), Timestamp::new(START.get() - 290_000));
        world.run();
        world.assert_complete(&format!("N = {count}"));
        let claims = |(side, settlement): &(Side, Settlement)| match settlement {
            Settlement::ClaimHashes(claims) if *side == Side::Producer => claims.len(),
            other => panic!("{other:?}"),
        };
        let claimed: usize = world.settlements.iter().map(claims).sum();
        assert_eq!(claimed, count as usize, "one claim for each lock");

        let mut late = World::new(deal(count), Timestamp::new(T_MAX.get() - 10_000));
        late.run();
        assert_eq!(late.rejected, Some(RejectReason::DepositLate), "N = {count}");
        assert_eq!((late.flowed, late.consumer_loss()), (0, 0));
    }
}

#[test]
fn what_is_settled_shows_in_the_locks_that_are_left() {
    let deal = deal(10);
    let (remote, now) = (deal.consumer.public_key(), Timestamp::new(START.get() - 290_000));
    let mut facts = deal.facts.clone();
    facts.time = now;
    let session = ProducerSession::open(
        deal.producer.clone(),
        remote,
        &deal.open,
        &facts,
        ProducerPolicy::default(),
        now,
        &mut Vec::new(),
    )
    .unwrap();
    let locks = locks(&deal);
    // A lock of the same hash that is no installment holds nothing up.
    let stray =
        Lock { amount: Amount::new(1), deadline: END.after(Span::new(2_592_000_000)).unwrap(), ..locks[0].1 };
    for settled in 0..=10 {
        let mut left = locks[settled as usize..].to_vec();
        left.push((TxRef::MAX, stray));
        assert_eq!(session.settled_locks(&left), settled);
    }
    assert_eq!(session.settled_locks(&locks[..1]), 0, "one behind is open");
}
