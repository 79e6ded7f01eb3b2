//! Goal: whatever either side does at whatever step, the consumer loses at most one installment and
//! the producer nothing (P21 IV-A); crashes lose nothing at all.
//!
//! Method: for each kind of payment and N, every message of an honest session is in turn dropped,
//! repeated, changed or followed by a stop, by each side; meters lie; the consumer closes behind
//! the producer's back; and each side crashes between each two outputs. The world's chain, not the
//! machines, says who has what in the end. Each send is checked against the disk on the way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod session_support;

use evchain_protocol::crypto::{Preimage, Signature};
use evchain_protocol::primitives::{Energy, Span};
use evchain_protocol::session::{
    ConsumerInput, Delivered, EndReason, Message, PaymentKind, ProducerInput, Proof, Release, Resume,
    Settlement, StopReason,
};
use session_support::bank::Side;
use session_support::deal::{Deal, KINDS, START, Shape};
use session_support::world::{World, at_start};

const COUNTS: [u32; 3] = [1, 2, 10];

fn honest(kind: PaymentKind, count: u32) -> World {
    let mut world = at_start(Deal::new(Shape::new(kind, count)));
    world.run();
    world.assert_complete("honest");
    world
}

/// What a cheat sends in place of a message.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Drop,
    Repeat,
    Stop,
    WrongProof,
    Skip,
    TooHigh,
    Old,
    ClaimMore,
    ClaimLess,
    Garbage,
}

const FAULTS: [Fault; 10] = [
    Fault::Drop,
    Fault::Repeat,
    Fault::Stop,
    Fault::WrongProof,
    Fault::Skip,
    Fault::TooHigh,
    Fault::Old,
    Fault::ClaimMore,
    Fault::ClaimLess,
    Fault::Garbage,
];

fn with_index(message: Message, change: impl Fn(u32) -> u32) -> Message {
    match message {
        Message::Release(it) => Message::Release(Release { index: change(it.index), ..it }),
        Message::Delivered(it) => Message::Delivered(Delivered { index: change(it.index), ..it }),
        Message::Resume(it) => Message::Resume(Resume { released: change(it.released), ..it }),
        other => other,
    }
}

fn with_energy(message: Message, change: impl Fn(u64) -> u64) -> Message {
    match message {
        Message::Delivered(it) => {
            Message::Delivered(Delivered { energy: Energy::new(change(it.energy.get())), ..it })
        }
        Message::Receipt(mut it) => {
            it.receipt.energy = Energy::new(change(it.receipt.energy.get()));
            it.receipt.released = u32::try_from(change(it.receipt.released.into())).unwrap();
            Message::Receipt(it)
        }
        other => other,
    }
}

fn with_wrong_proof(message: Message) -> Message {
    let forged = Signature::from_bytes([7; 64]);
    match message {
        Message::Release(it) => {
            let proof = match it.proof {
                Proof::Preimage(_) => Proof::Preimage(Preimage::from_bytes([7; 32])),
                Proof::State(_) => Proof::State(forged),
            };
            Message::Release(Release { proof, ..it })
        }
        Message::Delivered(it) => {
            Message::Delivered(Delivered { cosignature: it.cosignature.map(|_| forged), ..it })
        }
        Message::Receipt(mut it) => {
            it.signature = forged;
            Message::Receipt(it)
        }
        Message::Open(mut it) => {
            it.opening.secret = Preimage::from_bytes([7; 32]);
            Message::Open(it)
        }
        other => other,
    }
}

fn apply(fault: Fault, message: Message) -> Vec<Message> {
    match fault {
        Fault::Drop => vec![],
        Fault::Repeat => vec![message, message],
        Fault::Stop => vec![message, Message::Stop(StopReason::Requested)],
        Fault::WrongProof => vec![with_wrong_proof(message)],
        Fault::Skip => vec![with_index(message, |index| index + 1)],
        Fault::TooHigh => vec![with_index(message, |_| u32::MAX)],
        Fault::Old => vec![with_index(message, |index| index.saturating_sub(1))],
        Fault::ClaimMore => vec![with_energy(message, |wh| wh + 1)],
        Fault::ClaimLess => vec![with_energy(message, |wh| wh.saturating_sub(1))],
        Fault::Garbage => vec![Message::Accept(Span::new(u64::MAX)), message],
    }
}

#[test]
fn no_message_fault_costs_more_than_one_installment() {
    let mut ended_early = 0;
    for kind in KINDS {
        for count in COUNTS {
            let messages = honest(kind, count).messages.len();
            for number in 0..messages {
                for fault in FAULTS {
                    let mut world = at_start(Deal::new(Shape::new(kind, count)));
                    let mut seen = 0;
                    world.tamper = Some(Box::new(move |_, message| {
                        seen += 1;
                        (seen == number + 1).then(|| apply(fault, *message))
                    }));
                    world.run();
                    world.assert_risk_bounds(&format!("{kind:?}, N = {count}, message {number}, {fault:?}"));
                    ended_early += usize::from(world.flowed < 10_000);
                }
            }
        }
    }
    assert!(ended_early > 300, "only {ended_early} of the faults ended a session early: they are too mild");
}

#[test]
fn a_wrong_proof_delivers_nothing() {
    for kind in KINDS {
        for (fault, reason) in [
            (Fault::WrongProof, StopReason::BadRelease),
            (Fault::Skip, StopReason::OutOfPlace),
            (Fault::TooHigh, StopReason::OutOfPlace),
            (Fault::Old, StopReason::OutOfPlace),
        ] {
            let mut world = at_start(Deal::new(Shape::new(kind, 10)));
            world.tamper = Some(Box::new(move |_, message| match message {
                Message::Release(release) if release.index == 5 => Some(apply(fault, *message)),
                _ => None,
            }));
            world.run();
            let what = format!("{kind:?}, {fault:?}");
            assert_eq!(world.producer_outcome.unwrap().reason, EndReason::ProducerStopped(reason), "{what}");
            assert_eq!(world.flowed, 5_000, "{what}: what installments 0 to 4 carry");
        }
    }
}

#[test]
fn either_side_can_stop_after_any_installment() {
    for kind in KINDS {
        for count in COUNTS {
            for stop_at in 0..=count {
                for side in [Side::Consumer, Side::Producer] {
                    let mut world = at_start(Deal::new(Shape::new(kind, count)));
                    let wh = u64::from(stop_at) * 10_000 / u64::from(count);
                    let mut stopped = false;
                    world.hook = Some(Box::new(move |world| {
                        // In the middle of an installment, or before the first.
                        if !stopped && world.producer.is_some() && world.flowed + 1 > wh {
                            stopped = true;
                            match side {
                                Side::Consumer => {
                                    world.consumer_step(ConsumerInput::Stop(StopReason::Requested));
                                }
                                Side::Producer => world.producer_step(ProducerInput::Stop(StopReason::Fault)),
                            }
                        }
                    }));
                    world.run();
                    let what = format!("{kind:?}, N = {count}, {side:?} stops at {stop_at}");
                    world.assert_risk_bounds(&what);
                    assert!(world.producer_outcome.unwrap().receipt.is_some(), "{what}: honest sides sign");
                }
            }
        }
    }
}

#[test]
fn a_lying_meter_costs_at_most_one_installment() {
    for kind in KINDS {
        for count in COUNTS {
            // The producer delivers nothing or little and says that it did.
            let mut world = at_start(Deal::new(Shape::new(kind, count)));
            world.is_faulty = true;
            world.producer_meter_percent = 200;
            world.hook = Some(Box::new(|world| {
                world.producer_step(ProducerInput::Metered(Energy::new(1_000_000)));
            }));
            world.run();
            world.assert_risk_bounds(&format!("{kind:?}, N = {count}, nothing delivered"));
            assert_eq!(world.flowed, 0);
            let reason = world.consumer_outcome.unwrap().reason;
            assert_eq!(reason, EndReason::ConsumerStopped(StopReason::EnergyShort), "{kind:?} {count}");

            let mut world = at_start(Deal::new(Shape::new(kind, count)));
            world.producer_meter_percent = 150;
            world.run();
            world.assert_risk_bounds(&format!("{kind:?}, N = {count}, two thirds delivered"));

            // The consumer denies what it got: it has paid before, and gets no more.
            let mut world = at_start(Deal::new(Shape::new(kind, count)));
            world.consumer_meter_percent = 50;
            world.run();
            world.assert_risk_bounds(&format!("{kind:?}, N = {count}, the consumer denies"));
            assert_eq!(
                world.flowed,
                10_000 / u64::from(count),
                "{kind:?}, N = {count}: the first installment only"
            );
        }
    }
}

#[test]
fn a_consumer_that_closes_behind_the_producer_gains_nothing() {
    for at in [0, 1_500, 5_500, 9_999] {
        let mut world = at_start(Deal::new(Shape::new(PaymentKind::Channel, 10)));
        world.consumer_pretends = true;
        let mut done = false;
        world.hook = Some(Box::new(move |world| {
            if !done && world.flowed >= at {
                done = true;
                world.bring(Side::Consumer, Settlement::ForceClose(None));
            }
        }));
        world.run();
        world.assert_risk_bounds(&format!("forced close at {at} Wh"));
    }
}

#[test]
fn silence_ends_a_session_within_the_bounds() {
    for kind in KINDS {
        for count in COUNTS {
            for at in [0, 1, 4_999, 9_999] {
                let mut world = at_start(Deal::new(Shape::new(kind, count)));
                let mut cut = false;
                world.hook = Some(Box::new(move |world| {
                    if !cut && world.flowed >= at {
                        cut = true;
                        world.disconnect(u64::from(u32::MAX));
                    }
                }));
                world.run();
                world.assert_risk_bounds(&format!("{kind:?}, N = {count}, silence at {at} Wh"));
            }
        }
    }
}

#[test]
fn a_crash_between_any_two_outputs_loses_nothing() {
    for kind in KINDS {
        for count in [1, 2, 10, 30] {
            let outputs = honest(kind, count).outputs;
            for side in [Side::Consumer, Side::Producer] {
                // Beyond the last output there is none left to crash before.
                for number in 0..outputs[side as usize] {
                    let mut world = at_start(Deal::new(Shape::new(kind, count)));
                    world.crash = Some((side, number));
                    world.run();
                    let what = format!("{kind:?}, N = {count}, {side:?} crashes before output {number}");
                    assert!(world.crashed, "{what}");
                    world.assert_risk_bounds(&what);
                    assert_eq!(world.flowed, 10_000, "{what}: goes on to the end");
                    assert_eq!(world.consumer_loss(), 0, "{what}");
                    assert_eq!(world.bank.producer_money(), world.deal.terms.plan.price, "{what}");
                }
            }
        }
    }
}

#[test]
fn lost_connections_are_taken_up_again() {
    for kind in KINDS {
        let mut world = World::new(Deal::new(Shape::new(kind, 10)), START);
        world.hook = Some(Box::new(|world| {
            if world.connected && world.now.get() % 97_000 == 0 {
                world.disconnect(20_000);
            }
        }));
        world.run();
        world.assert_complete(&format!("{kind:?}"));
        let resumes = world.messages.iter().filter(|(_, it)| matches!(it, Message::Resume(_))).count();
        assert!(resumes > 4, "{kind:?}: {resumes}");
    }
}
