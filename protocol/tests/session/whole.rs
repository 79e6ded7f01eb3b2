//! Goal: an honest session delivers and pays everything, with the message and transaction counts
//! that Table I promises, for each kind of payment and N, early and late.
//!
//! Method: both machines in a simulated world whose chain checks every claim and close by itself.

use crate::bank::Side;
use crate::deal::{Deal, END, KINDS, START, Shape};
use crate::world::{World, at_start};
use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Span, Timestamp};
use evchain_protocol::session::{EndReason, Message, PaymentKind, RejectReason, Settlement};

#[test]
fn a_session_delivers_and_pays_everything_for_each_kind_and_count() {
    for kind in KINDS {
        for count in [1, 2, 10, 100] {
            let what = format!("{kind:?}, N = {count}");
            // A margin as long as the window: no claim is needed before the end.
            let shape = Shape { claim_margin: Span::new(7_200_000), ..Shape::new(kind, count) };
            let mut world = at_start(Deal::new(shape));
            world.run();
            world.assert_complete(&what);
            world.assert_risk_bounds(&what);
            assert_eq!(world.unexpected, [], "{what}");
            let messages = if kind == PaymentKind::Channel { count - 1 } else { count };
            assert_eq!(world.payment_messages(), messages as usize, "{what}");
            // One claim or close; N = 1 with a forfeited deposit needs no claim at all.
            let claims = usize::from(kind == PaymentKind::Channel || count > 1);
            assert_eq!(world.settlements.len(), claims, "{what}");
            assert_eq!(world.bank.transactions as usize, claims, "{what}");
        }
    }
}

#[test]
fn long_windows_are_claimed_before_each_deadline() {
    for kind in [PaymentKind::Hashes, PaymentKind::Chain] {
        let shape = Shape { claim_margin: Span::new(180_000), ..Shape::new(kind, 10) };
        let mut world = at_start(Deal::new(shape));
        // A battery that takes a tenth: the session fills the window.
        world.hook = Some(Box::new(|world| {
            let second = (world.now.get() - START.get()) / 1000;
            world.throttle(second * 10_000 / 3600);
        }));
        world.run();
        world.assert_complete(&format!("{kind:?}"));
        assert!(world.bank.transactions > 1, "{kind:?}: one claim can't have met all deadlines");
    }
}

#[test]
fn a_late_consumer_gets_and_pays_what_the_window_still_holds() {
    for kind in KINDS {
        let shape = Shape { claim_margin: Span::new(120_000), ..Shape::new(kind, 10) };
        let mut world = World::new(Deal::new(shape), START.after(Span::new(1_700_000)).unwrap());
        world.hook = Some(Box::new(move |world| {
            let is_out =
                |(_, message): &(Side, Message)| matches!(message, Message::Release(it) if it.index == 5);
            if kind == PaymentKind::Chain && world.messages.iter().any(is_out) {
                assert!(world.bank.returned.contains(&4), "S7: link 5 gives away installment 4");
            }
        }));
        world.run();
        world.assert_risk_bounds(&format!("{kind:?}"));
        assert_eq!(world.consumer_loss(), 0, "{kind:?}");
        assert!(world.bank.paid.contains(&0), "{kind:?}: the deposit");
        assert!(world.bank.paid.contains(&9), "{kind:?}: the last");
        let released = world.producer_outcome.unwrap().released;
        let skipped = u32::from(kind != PaymentKind::Channel) * 4;
        assert_eq!(released, 10 - skipped, "{kind:?}");
        assert!(world.producer_outcome.unwrap().receipt.is_some(), "{kind:?}");
    }
}

#[test]
fn a_refundable_deposit_is_claimed_before_the_window() {
    for kind in [PaymentKind::Hashes, PaymentKind::Chain] {
        let deposit = DepositRule::Refund(Timestamp::new(START.get() - 60_000));
        let shape = Shape { deposit, cancel_by: START, ..Shape::new(kind, 10) };
        let mut world = World::new(Deal::new(shape), Timestamp::new(START.get() - 290_000));
        world.hook = Some(Box::new(|world| {
            if world.flowed > 0 {
                assert!(world.bank.paid.contains(&0), "S8: energy while all could be taken back");
            }
        }));
        world.run();
        world.assert_complete(&format!("{kind:?}"));

        // Ten seconds before the refund there is no time to claim it (S2).
        let mut late = World::new(Deal::new(shape), Timestamp::new(START.get() - 70_000));
        late.run();
        assert_eq!(late.rejected, Some(RejectReason::DepositLate));
        assert_eq!(late.flowed, 0);
    }
}

#[test]
fn nothing_flows_while_the_consumer_can_still_cancel() {
    for kind in KINDS {
        let cancel_by = Timestamp::new(START.get() - 100_000);
        let shape = Shape { cancel_by, ..Shape::new(kind, 10) };
        let mut world = World::new(Deal::new(shape), Timestamp::new(START.get() - 250_000));
        // The consumer opens early, pays, and takes everything back behind the producer's back.
        world.hook = Some(Box::new(move |world| {
            if world.now.get() == cancel_by.get() - 10_000 {
                world.bring(Side::Consumer, Settlement::Cancel);
            }
        }));
        world.run();
        assert_eq!(world.flowed, 0, "{kind:?}: unpaid energy");
        assert_eq!(world.bank.producer_money().get(), 0, "{kind:?}");
    }
}

#[test]
fn a_rejected_consumer_takes_back_what_it_can() {
    let outcome = |kind, now, cancel_by| {
        let mut world = World::new(Deal::new(Shape { cancel_by, ..Shape::new(kind, 10) }), now);
        world.deal.facts.bid = None;
        world.run();
        assert!(matches!(world.consumer_outcome.unwrap().reason, EndReason::Rejected(RejectReason::NoBid)));
        assert_eq!(world.flowed, 0);
        (world.settlements, world.bank.paid.len())
    };
    let early = Timestamp::new(START.get() - 100_000);
    for kind in KINDS {
        assert_eq!(outcome(kind, early, START), (vec![(Side::Consumer, Settlement::Cancel)], 0));
    }
    // Too late to cancel: the deposit stays, the rest returns.
    assert_eq!(outcome(PaymentKind::Hashes, START, Timestamp::ZERO), (vec![], 1));
    let force = (Side::Consumer, Settlement::ForceClose(None));
    assert_eq!(outcome(PaymentKind::Channel, START, Timestamp::ZERO), (vec![force], 1));
}

#[test]
fn a_consumer_that_never_comes_pays_the_deposit_only() {
    for kind in KINDS {
        let mut world = World::new(Deal::new(Shape::new(kind, 10)), END);
        world.run();
        assert_eq!(world.bank.paid.iter().copied().collect::<Vec<_>>(), [0], "{kind:?}");
        assert_eq!(world.flowed, 0, "{kind:?}");
    }
}
