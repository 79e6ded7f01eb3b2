//! Goal: a consumer that takes everything back gets no energy for it, also where the producer did not see
//! the cancel and only finds its payment gone (S8, P16).
//!
//! Method: the producer serves before `cancel_by`. Its process is down while the cancel becomes final, and
//! the consumer goes on as if nothing were; or it crashes before any of its outputs. Shapes with each
//! kind of payment and deposit that can be cancelled.

use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Span, Timestamp};
use evchain_protocol::session::{
    EndReason, Message, PaymentKind, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord,
    ProducerSession, Release, Settlement,
};

use crate::bank::Side;
use crate::deal::{Deal, START, Shape, shapes};
use crate::world::World;

/// While there is still time to cancel the producer serves already.
const EARLY: Timestamp = Timestamp::new(START.get() - 290_000);
const CANCEL_BY: Timestamp = Timestamp::new(START.get() - 100_000);

/// Everything that can be cancelled, with its name.
fn cancellable() -> Vec<(String, Shape)> {
    let shapes = [1, 2, 10].into_iter().flat_map(shapes);
    shapes.filter(|shape| shape.cancel_by == CANCEL_BY).map(|shape| (format!("{shape:?}"), shape)).collect()
}

/// The producer has accepted, and the consumer has released what it releases then.
fn accepted(shape: Shape) -> World {
    let mut world = World::new(Deal::new(shape), EARLY);
    let is_channel = shape.kind == PaymentKind::Channel;
    world.run_until(|world| {
        world.messages.iter().any(|(_, message)| match message {
            Message::Accept(_) => is_channel,
            Message::Release(_) => true,
            _ => false,
        })
    });
    world
}

#[test]
fn what_was_taken_back_while_the_producer_was_down_is_not_delivered() {
    for (what, shape) in cancellable() {
        let mut world = accepted(shape);
        let records = world.producer_disk.len();
        world.kill(Side::Producer, records, Span::new(60_000));
        world.denies_cancel = true;
        world.bring(Side::Consumer, Settlement::Cancel);
        world.run();
        assert!(world.bank.cancelled, "{what}");
        assert_eq!(world.bank.producer_money().get(), 0, "{what}");
        assert_eq!(world.flowed, 0, "{what}: it was delivered unpaid");
        let ended = world.producer_disk.iter().any(|record| matches!(record, ProducerRecord::Ended(_)));
        assert!(ended, "{what}: the session is over");
    }
}

#[test]
fn a_payment_that_is_gone_when_it_can_no_longer_be_cancelled_was_paid() {
    for (what, shape) in cancellable() {
        // The deposit of an only installment with `refund` is gone before the window: claimed, or returned.
        if shape.count == 1 && shape.deposit != DepositRule::Forfeit {
            continue;
        }
        let mut world = accepted(shape);
        world.run();
        world.assert_complete(&what);
        // Down from the first delivery until everything has returned or was paid.
        let mut world = accepted(shape);
        world.run_until(|world| world.flowed > 0);
        let records = world.producer_disk.len();
        world.kill(Side::Producer, records, Span::new(3 * 3_600_000));
        world.run();
        let taken_back = ProducerRecord::Ended(EndReason::ClosedOnChain);
        assert!(
            shape.kind == PaymentKind::Channel || !world.producer_disk.contains(&taken_back),
            "{what}: what was delivered was not taken back"
        );
        // Nobody claimed in time (D7), and nothing flows for what has returned.
        assert!(world.flowed <= world.deal.energy_of([0]), "{what}: {} Wh", world.flowed);
        assert!(world.consumer_loss() <= world.largest_installment(), "{what}");
    }
}

#[test]
fn a_cancel_and_a_crash_together_cost_nobody_more_than_an_installment() {
    let mut cancelled = 0;
    for (what, shape) in cancellable() {
        for after in [5_000, 60_000, 180_000] {
            for output in 0..10 {
                let mut world = accepted(shape);
                world.denies_cancel = true;
                world.crash = Some((Side::Producer, world.outputs[Side::Producer as usize] + output));
                let at = EARLY.after(Span::new(after)).unwrap();
                let mut is_sent = false;
                world.hook = Some(Box::new(move |world| {
                    if !is_sent && world.now >= at {
                        is_sent = true;
                        world.bring(Side::Consumer, Settlement::Cancel);
                    }
                }));
                world.run();
                cancelled += u32::from(world.bank.cancelled);
                world.assert_risk_bounds(&format!("{what}: cancel {after} ms later, crash before {output}"));
            }
        }
    }
    assert!(cancelled > 100, "{cancelled}");
}

#[test]
fn after_a_cancel_nothing_flows_whatever_was_settled_before() {
    let deal = Deal::new(Shape::new(PaymentKind::Hashes, 4));
    let (key, remote, mut out) = (deal.producer.clone(), deal.consumer.public_key(), Vec::new());
    let policy = ProducerPolicy::default();
    let mut session =
        ProducerSession::open(key, remote, &deal.open, &deal.facts, policy, START, &mut out).unwrap();
    let release = ProducerInput::Message(Message::Release(Release { index: 0, proof: deal.proof(0) }));
    for input in [ProducerInput::Settled(4), ProducerInput::Cancelled, release] {
        // What it does not expect any more it refuses.
        let _ = session.step(START, input, &mut out);
    }
    assert!(!out.iter().any(|output| matches!(output, ProducerOutput::Deliver(_))), "{out:?}");
    assert!(session.is_over());
}
