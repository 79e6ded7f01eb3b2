//! Goal: whatever either side does at whatever step, the consumer loses at most one installment and
//! the producer nothing (P21 IV-A); crashes lose nothing at all.
//!
//! Method: for each kind of payment, rule for its deposit and N, messages of an honest session are in turn dropped,
//! repeated, changed or followed by a stop or by silence, by each side; meters lie; claims are on
//! their way for long; and each side crashes between each two outputs. The ledger's accounts, not the
//! machines, say who has what in the end. Each send is checked against the disk on the way.
//!
//! The steps: every message for N in {1, 2, 10}. For N = 100 the first, the second, the middle and
//! the last two of each type of message from each side: what is between them differs in nothing but
//! the index, and hundreds of equal steps took minutes. Crashes for N = 100: before the first and last
//! twelve outputs and every 13th between.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};

use evchain_protocol::crypto::{Preimage, Signature};
use evchain_protocol::primitives::{Energy, Span, Timestamp};
use evchain_protocol::session::{
    ConsumerInput, Delivered, EndReason, Message, PaymentKind, ProducerInput, Proof, ReceiptMessage, Release,
    Resume, Settlement, StopReason,
};

use crate::bank::Side;
use crate::deal::{ALL_KINDS, Deal, START, Shape, shapes};
use crate::world::{World, at_start};

const COUNTS: [u32; 3] = [1, 2, 10];

fn honest(shape: Shape) -> World {
    let mut world = at_start(Deal::new(shape));
    world.run();
    world.assert_complete("honest");
    world
}

/// What a cheat sends in place of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Drop,
    /// Stops answering: nothing more from this side.
    Silence,
    Repeat,
    /// Sends its last message of this type once more instead: an old state, a repeated preimage.
    Replay,
    /// Sends the last one's proof under the right index.
    OldProof,
    Stop,
    WrongProof,
    Skip,
    /// Skips one installment with a proof that holds: a state with too high a number.
    Ahead,
    TooHigh,
    Old,
    ClaimMore,
    ClaimLess,
    Garbage,
}

const FAULTS: [Fault; 14] = [
    Fault::Drop,
    Fault::Silence,
    Fault::Repeat,
    Fault::Replay,
    Fault::OldProof,
    Fault::Stop,
    Fault::WrongProof,
    Fault::Skip,
    Fault::Ahead,
    Fault::TooHigh,
    Fault::Old,
    Fault::ClaimMore,
    Fault::ClaimLess,
    Fault::Garbage,
];

/// Whose messages of which type.
type MessageType = (Side, Discriminant<Message>);

fn type_of((from, message): &(Side, Message)) -> MessageType {
    (*from, discriminant(message))
}

/// Which messages of a session are tampered with.
fn steps(messages: &[(Side, Message)]) -> Vec<usize> {
    let is_step = |number: &usize| {
        let alike: Vec<usize> = (0..messages.len())
            .filter(|other| type_of(&messages[*other]) == type_of(&messages[*number]))
            .collect();
        let last = alike.len() - 1;
        let place = alike.iter().position(|other| other == number).unwrap();
        alike.len() <= 20 || [0, 1, last / 2, last - 1, last].contains(&place)
    };
    (0..messages.len()).filter(is_step).collect()
}

/// An honest session up to a message, and the fault from there on.
struct Cheat {
    deal: Deal,
    fault: Fault,
    /// The message's place among all.
    number: usize,
    seen: Vec<(Side, Message)>,
}

impl Cheat {
    /// None where the fault changes nothing in this message of an honest session.
    fn new(deal: &Deal, honest: &[(Side, Message)], number: usize, fault: Fault) -> Option<Self> {
        let (before, this) = (honest.get(..number)?, honest.get(number)?);
        let cheat = Self { deal: deal.clone(), fault, number, seen: Vec::new() };
        let mut trial = Self { deal: deal.clone(), seen: before.to_vec(), ..cheat };
        (trial.send(this.0, this.1)? != [this.1]).then_some(cheat)
    }

    fn world(mut self) -> World {
        let mut world = at_start(self.deal.clone());
        world.tamper = Some(Box::new(move |from, message| self.send(from, *message)));
        world
    }

    fn send(&mut self, from: Side, message: Message) -> Option<Vec<Message>> {
        let place = self.seen.len();
        self.seen.push((from, message));
        let is_silent = self.fault == Fault::Silence
            && self.seen.get(self.number).is_some_and(|(silent, _)| *silent == from);
        if is_silent {
            return Some(vec![]);
        }
        (place == self.number).then(|| match self.fault {
            Fault::Replay => vec![self.last_alike()],
            Fault::OldProof => vec![with_proof_of(message, self.last_alike())],
            Fault::Ahead => vec![ahead(&self.deal, message)],
            fault => apply(fault, message).into_iter().map(|sent| self.signed_anew(from, sent)).collect(),
        })
    }

    /// A receipt that was changed, signed as if it were true.
    fn signed_anew(&self, from: Side, message: Message) -> Message {
        match message {
            Message::Receipt(it) if matches!(self.fault, Fault::ClaimMore | Fault::ClaimLess) => {
                let key = if from == Side::Consumer { &self.deal.consumer } else { &self.deal.producer };
                let signature = it.receipt.sign(key, self.deal.terms.chain);
                Message::Receipt(ReceiptMessage { signature, ..it })
            }
            message => message,
        }
    }

    /// The last message of the same type before this one, or this one where it is the first.
    fn last_alike(&self) -> Message {
        let (this, before) = self.seen.split_last().unwrap();
        let alike = before.iter().rev().find(|sent| type_of(sent) == type_of(this));
        alike.unwrap_or(this).1
    }
}

fn with_proof_of(message: Message, old: Message) -> Message {
    match (message, old) {
        (Message::Release(it), Message::Release(old)) => Message::Release(Release { proof: old.proof, ..it }),
        (Message::Delivered(it), Message::Delivered(old)) => {
            Message::Delivered(Delivered { cosignature: old.cosignature, ..it })
        }
        (message, _) => message,
    }
}

/// The message one installment later, with everything that belongs to that one.
fn ahead(deal: &Deal, message: Message) -> Message {
    match message {
        Message::Release(it) if it.index + 1 < deal.terms.plan.count.get() => {
            let index = it.index + 1;
            Message::Release(Release { index, proof: deal.proof(index) })
        }
        Message::Delivered(it) => {
            let index = it.index + 1;
            let cosignature = it.cosignature.map(|_| deal.state_signature(&deal.producer, index));
            let energy = Energy::new(deal.energy_of(0..=index));
            Message::Delivered(Delivered { index, energy, cosignature })
        }
        other => with_index(other, |index| index + 1),
    }
}

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
        Fault::Drop | Fault::Silence => vec![],
        Fault::Repeat => vec![message, message],
        Fault::Stop => vec![message, Message::Stop(StopReason::Requested)],
        Fault::WrongProof => vec![with_wrong_proof(message)],
        Fault::Skip | Fault::Ahead => vec![with_index(message, |index| index + 1)],
        Fault::TooHigh => vec![with_index(message, |_| u32::MAX)],
        Fault::Old | Fault::Replay | Fault::OldProof => {
            vec![with_index(message, |index| index.saturating_sub(1))]
        }
        Fault::ClaimMore => vec![with_energy(message, |wh| wh + 1)],
        Fault::ClaimLess => vec![with_energy(message, |wh| wh.saturating_sub(1))],
        Fault::Garbage => vec![Message::Accept(Span::new(u64::MAX)), message],
    }
}

/// What came of the sessions with one fault.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    sessions: usize,
    /// Those that ended early or without receipt.
    harmed: usize,
}

/// Every step with every fault that changes something there.
fn sweep(count: u32, tallies: &mut BTreeMap<Fault, Tally>) {
    let before: usize = tallies.values().map(|tally| tally.sessions).sum();
    for shape in shapes(count) {
        let deal = Deal::new(shape);
        let honest = honest(shape).messages;
        for number in steps(&honest) {
            for fault in FAULTS {
                let Some(cheat) = Cheat::new(&deal, &honest, number, fault) else { continue };
                let mut world = cheat.world();
                world.run();
                world.assert_risk_bounds(&format!("{shape:?}, message {number}, {fault:?}"));
                let tally = tallies.entry(fault).or_default();
                tally.sessions += 1;
                let receipt = world.consumer_outcome.and_then(|outcome| outcome.receipt);
                tally.harmed += usize::from(world.flowed < 10_000 || receipt.is_none());
            }
        }
    }
    let sessions: usize = tallies.values().map(|tally| tally.sessions).sum();
    println!("N = {count}: {} sessions with a fault", sessions - before);
}

/// No fault is so mild that nothing comes of it, but what is said twice.
fn assert_harm(tallies: &BTreeMap<Fault, Tally>, least: usize) {
    for fault in FAULTS {
        let Tally { sessions, harmed } = tallies.get(&fault).copied().unwrap_or_default();
        println!("{fault:?}: {sessions} sessions, {harmed} ended early or without receipt");
        assert!(sessions >= least, "{fault:?}: {sessions} sessions");
        assert!(fault == Fault::Repeat || harmed > 0, "{fault:?} harms no session");
    }
}

#[test]
fn no_message_fault_costs_more_than_one_installment() {
    let mut tallies = BTreeMap::new();
    for count in COUNTS {
        sweep(count, &mut tallies);
    }
    assert_harm(&tallies, 100);
}

#[test]
fn no_message_fault_costs_more_than_one_of_a_hundred_installments() {
    let mut tallies = BTreeMap::new();
    sweep(100, &mut tallies);
    assert_harm(&tallies, 20);
}

#[test]
fn a_wrong_proof_delivers_nothing() {
    for kind in ALL_KINDS {
        for (fault, reason) in [
            (Fault::WrongProof, StopReason::BadRelease),
            (Fault::Skip, StopReason::OutOfPlace),
            (Fault::TooHigh, StopReason::OutOfPlace),
            (Fault::Old, StopReason::OutOfPlace),
            (Fault::Ahead, StopReason::OutOfPlace),
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
    for kind in ALL_KINDS {
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
    for kind in ALL_KINDS {
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
    for kind in ALL_KINDS {
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
    for count in [1, 2, 10, 100] {
        for shape in shapes(count) {
            let outputs = honest(shape).outputs;
            for side in [Side::Consumer, Side::Producer] {
                // Beyond the last output there is none left to crash before.
                let all = outputs[side as usize];
                let is_step = |number: &usize| {
                    count < 100 || *number < 12 || *number + 12 >= all || number.is_multiple_of(13)
                };
                for number in (0..all).filter(is_step) {
                    let mut world = at_start(Deal::new(shape));
                    world.crash = Some((side, number));
                    world.run();
                    let what = format!("{shape:?}, {side:?} crashes before output {number}");
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
fn a_process_that_comes_back_later_loses_what_it_slept_through_and_costs_nobody_else() {
    let minutes = |minutes: u64| Span::new(minutes * 60_000);
    for kind in ALL_KINDS {
        for count in [1, 2, 10, 100] {
            let deal = Deal::new(Shape::new(kind, count));
            for (side, at, down) in [Side::Consumer, Side::Producer].into_iter().flat_map(|side| {
                [1, 4_999, 9_995].into_iter().flat_map(move |at| {
                    [minutes(0), minutes(2), minutes(9), minutes(200)].map(|down| (side, at, down))
                })
            }) {
                let mut world = at_start(deal.clone());
                world.run_until(|world| world.flowed >= at);
                world.kill(side, usize::MAX, down);
                let back = world.now.after(down).unwrap();
                world.run();
                let what = format!("{kind:?}, N = {count}, {side:?} is down for {down:?} at {at} Wh");
                let (loss, bound) = (world.consumer_loss(), world.largest_installment());
                assert!(loss <= bound, "{what}: the consumer lost {loss}, more than {bound}");
                let own = if side == Side::Producer { slept_through(&world, back) } else { 0 };
                assert!(world.producer_loss_wh() <= own, "{what}: the producer delivered unpaid");
            }
        }
    }
}

/// D7: the energy that a producer can't be paid for if it comes back at this moment.
fn slept_through(world: &World, back: Timestamp) -> u64 {
    let plan = &world.deal.terms.plan;
    let late: Vec<u32> = match world.deal.terms.kind {
        PaymentKind::Channel if back < world.deal.terms.channel_deadline.unwrap() => vec![],
        PaymentKind::Channel => (0..plan.count.get()).collect(),
        // A block is five seconds.
        _ => {
            let block = back.after(Span::new(5_000)).unwrap();
            let is_late = |index: &u32| world.deal.terms.deadline(*index).is_some_and(|at| at <= block);
            (0..plan.count.get()).filter(is_late).collect()
        }
    };
    world.deal.energy_of(late)
}

/// P15: a claim that takes less than `settle_lead` comes in time. One that takes longer loses the
/// producer what returned meanwhile, and never costs the consumer anything.
#[test]
fn a_claim_that_comes_late_is_the_loss_of_who_is_late() {
    let margin = Span::new(180_000);
    for kind in [PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Single] {
        for count in [10, 100] {
            let deal = Deal::new(Shape { claim_margin: margin, ..Shape::new(kind, count) });
            let lead = World::new(deal.clone(), START).producer_policy.settle_lead;
            for (takes, is_late) in [
                (Span::ZERO, false),
                // A block has it by five seconds later.
                (Span::new(lead.get() - 5_000), false),
                (Span::new(lead.get() + 5_000), true),
                (Span::new(7_200_000), true),
            ] {
                let mut world = at_start(deal.clone());
                world.settling_takes[Side::Producer as usize] = takes;
                // A battery that takes ever less: the session fills the window.
                world.hook = Some(Box::new(|world| {
                    let second = world.now.since(START).get() / 1000;
                    world.throttle(second * 10_000 / 3600);
                }));
                world.run();
                let what = format!("{kind:?}, N = {count}, claims take {takes:?}");
                let returned = deal.energy_of(world.bank.returned.iter().copied());
                let delivered_unpaid = world.producer_loss_wh();
                assert_eq!(delivered_unpaid > 0, is_late, "{what}: {delivered_unpaid} Wh");
                assert!(delivered_unpaid <= returned, "{what}");
                assert!(world.consumer_loss() <= world.largest_installment(), "{what}");
                for (at, deadline) in first_deadlines(&world) {
                    assert!(at <= deadline.before(lead), "{what}, P15: asked for at {at} for {deadline}");
                }
            }
        }
    }
}

/// When each claim was asked for, and the earliest deadline that no claim before it had met.
fn first_deadlines(world: &World) -> Vec<(Timestamp, Timestamp)> {
    let mut below = 1; // the deposit is forfeit
    let asked = world.settled_at.iter().zip(&world.settlements);
    asked
        .filter_map(|(at, (_, settlement))| {
            let last = match settlement {
                Settlement::ClaimHashes(claims) => claims.last()?.0,
                Settlement::ClaimChain { index, .. } => *index,
                _ => return None,
            };
            let deadline = world.deal.terms.plan.deadline(below);
            below = last + 1;
            Some((*at, deadline))
        })
        .collect()
}

#[test]
fn lost_connections_are_taken_up_again() {
    for kind in ALL_KINDS {
        let mut world = at_start(Deal::new(Shape::new(kind, 10)));
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
