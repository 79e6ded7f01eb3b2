//! Both machines under random inputs, most of them nearly right: true proofs at the wrong place, forged ones at
//! the right place, jumps in time, meters that run ahead, and bytes that happen to be a message. An oracle beside
//! the machine checks each proof against the locks by its definition, not step by step.
//!
//! The steps come from proptest or from a fuzzer.

use std::collections::BTreeSet;

use crate::deal::{ALL_KINDS, Deal, START, Shape, T_MAX};
use evchain_protocol::crypto::{Preimage, Signature};
use evchain_protocol::hash_chain;
use evchain_protocol::primitives::{Amount, Energy, Span, Timestamp};
use evchain_protocol::session::{
    ChainFacts, ConsumerInput, ConsumerOutput, ConsumerPolicy, ConsumerSession, Delivered, Message,
    PaymentKind, ProducerInput, ProducerOutput, ProducerPolicy, ProducerSession, Progress, Proof, Receipt,
    ReceiptMessage, RejectReason, Release, Resume, StopReason,
};
use evchain_protocol::state::channel::{ChannelState, SignedChannelState};
use evchain_protocol::state::payment::HashLocks;

pub const COUNT: u32 = 4;

/// In numbers that both machines read in their own way: what comes, about which installment, and how much.
pub type Numbers = (u8, u32, u64);

/// One step of chaos.
#[derive(Debug, Clone)]
pub enum Step {
    /// Something nearly right.
    Numbers(Numbers),
    /// What the other side says, if it is a message at all.
    Said(Vec<u8>),
}

impl Step {
    /// How long it takes.
    fn pause(&self) -> Span {
        Span::new(match self {
            Self::Numbers((.., number)) => *number * 20,
            Self::Said(_) => 1,
        })
    }
}

/// One agreement of each kind.
pub fn deals() -> Vec<Deal> {
    ALL_KINDS.iter().map(|kind| Deal::new(Shape::new(*kind, COUNT))).collect()
}

/// Whether the proof is what the chain would pay for.
fn collects(deal: &Deal, release: &Release) -> bool {
    let Release { index, proof } = *release;
    match (deal.locks(), proof) {
        (Some(HashLocks::Hashes(locks)), Proof::Preimage(preimage)) => {
            locks.get(index as usize).copied().flatten() == Some(preimage.lock())
        }
        (Some(HashLocks::Chain(lock)), Proof::Preimage(link)) => {
            index < COUNT && hash_chain::anchor_from(link, index) == lock.anchor
        }
        (None, Proof::State(signature)) => {
            let state = ChannelState { channel: deal.terms.payment, released: index + 1, closing: false };
            let signed = SignedChannelState { state, signature };
            index < COUNT && signed.verify(&deal.terms.consumer, deal.terms.chain).is_ok()
        }
        _ => false,
    }
}

fn forged(deal: &Deal) -> Proof {
    match deal.terms.kind {
        PaymentKind::Channel => Proof::State(Signature::from_bytes([8; 64])),
        _ => Proof::Preimage(Preimage::from_bytes([8; 32])),
    }
}

fn resume(deal: &Deal, index: u32) -> Message {
    Message::Resume(Resume { payment: deal.terms.payment, released: index, delivered: index })
}

fn producer_input(deal: &Deal, step: &Step, now: Timestamp) -> Option<ProducerInput> {
    match step {
        Step::Numbers(numbers) => Some(nearly_right_for_producer(deal, *numbers, now)),
        Step::Said(bytes) => Message::decode(bytes).ok().map(ProducerInput::Message),
    }
}

fn nearly_right_for_producer(deal: &Deal, (what, index, number): Numbers, now: Timestamp) -> ProducerInput {
    let message = ProducerInput::Message;
    match what % 16 {
        0..=4 => message(Message::Release(Release { index, proof: deal.proof(index) })),
        5 => message(Message::Release(Release { index, proof: forged(deal) })),
        6 => message(Message::Release(Release { index, proof: deal.proof(index.saturating_sub(1)) })),
        7..=9 => ProducerInput::Metered(Energy::new(number)),
        10 => ProducerInput::ChainTime(now),
        11 => message(resume(deal, index)),
        12 => ProducerInput::Timeout,
        13 => match number % 16 {
            0 => message(Message::Stop(StopReason::Requested)),
            1 => ProducerInput::Settled(index),
            2 => ProducerInput::Cancelled,
            3 => ProducerInput::Gone,
            4 => ProducerInput::ForceClosed,
            5 => ProducerInput::Stop(StopReason::Fault),
            6 => message(Message::Reject(RejectReason::NoBid)),
            _ => message(receipt(deal, index, number)),
        },
        14 => message(Message::Open(deal.open)),
        _ => message(Message::Accept(Span::new(number))),
    }
}

/// A receipt that the consumer signs, true or not.
fn receipt(deal: &Deal, index: u32, number: u64) -> Message {
    let amount: u64 = (0..index.min(COUNT)).map(|below| deal.terms.plan.amount(below).get()).sum();
    let progress = Progress { released: index, amount: Amount::new(amount), ..deal.terms.start() };
    let receipt = Receipt::new(&deal.terms, &progress, Energy::new(number));
    let signature = receipt.sign(&deal.consumer, deal.terms.chain);
    let closing = (deal.terms.kind == PaymentKind::Channel && index > 0).then(|| {
        let state = ChannelState { channel: deal.terms.payment, released: index, closing: true };
        state.sign(&deal.consumer, deal.terms.chain).signature
    });
    Message::Receipt(ReceiptMessage { receipt, signature, closing })
}

fn consumer_input(deal: &Deal, step: &Step, now: Timestamp) -> Option<ConsumerInput> {
    match step {
        Step::Numbers(numbers) => Some(nearly_right_for_consumer(deal, *numbers, now)),
        Step::Said(bytes) => Message::decode(bytes).ok().map(ConsumerInput::Message),
    }
}

fn nearly_right_for_consumer(deal: &Deal, (what, index, number): Numbers, now: Timestamp) -> ConsumerInput {
    let message = ConsumerInput::Message;
    let cosignature = (deal.terms.kind == PaymentKind::Channel)
        .then(|| deal.state_signature(if what % 3 == 0 { &deal.consumer } else { &deal.producer }, index));
    match what % 16 {
        0..=5 => message(Message::Delivered(Delivered { index, energy: Energy::new(number), cosignature })),
        6 => message(Message::Accept(Span::new(number * 10))),
        7..=9 => ConsumerInput::Metered(Energy::new(number)),
        10 => ConsumerInput::ChainTime(now),
        11 => message(resume(deal, index)),
        12 => ConsumerInput::Timeout,
        13 => match number % 16 {
            0 => message(Message::Stop(StopReason::Fault)),
            1 => ConsumerInput::PaidOut,
            2 => ConsumerInput::Cancelled,
            3 => ConsumerInput::ForceClosed,
            4 => ConsumerInput::Stop(StopReason::Requested),
            5 => message(Message::Reject(RejectReason::NoBid)),
            _ => message(receipt(deal, index, number)),
        },
        14 => ConsumerInput::Connected,
        _ => message(Message::Release(Release { index, proof: forged(deal) })),
    }
}

/// When a session can begin: before `t_max` where the deposit returns then.
fn early(deal: &Deal) -> Timestamp {
    if deal.terms.deadline(0).is_some() { Timestamp::new(T_MAX.get() - 200_000) } else { START }
}

/// The producer never delivers what it cannot collect.
pub fn producer_holds(deal: &Deal, steps: &[Step]) {
    let mut out = Vec::new();
    let remote = deal.consumer.public_key();
    let policy = ProducerPolicy::default();
    let facts = ChainFacts { time: early(deal), ..deal.facts.clone() };
    let key = deal.producer.clone();
    let mut session =
        ProducerSession::open(key, remote, &deal.open, &facts, policy, early(deal), &mut out).unwrap();
    let deposit = (deal.terms.kind == PaymentKind::Channel).then_some(0);
    let mut collectable: BTreeSet<u32> = deposit.into_iter().collect();
    let (mut now, mut is_gone) = (early(deal), false);
    for step in steps {
        let Some(input) = producer_input(deal, step, now) else { continue };
        if let ProducerInput::Message(Message::Release(release)) = &input
            && collects(deal, release)
        {
            collectable.insert(release.index);
        }
        // What was taken back, paid out or is about to be pays for nothing more.
        is_gone |= matches!(input, ProducerInput::Cancelled)
            || (deal.terms.kind == PaymentKind::Channel
                && matches!(
                    input,
                    ProducerInput::ForceClosed | ProducerInput::Settled(1..) | ProducerInput::Gone
                ));
        let before = out.len();
        let _ = session.step(now, input, &mut out);
        for output in &out[before..] {
            match output {
                ProducerOutput::Deliver(up_to) => {
                    assert!(!is_gone && up_to.get() <= deal.energy_of(collectable.iter().copied()));
                }
                ProducerOutput::Send(Message::Receipt(signed)) => {
                    let Progress { released, amount, .. } = *session.progress();
                    assert_eq!((signed.receipt.released, signed.receipt.amount), (released, amount));
                }
                _ => {}
            }
        }
        now = now.after(step.pause()).unwrap();
    }
}

/// The consumer never pays two installments ahead.
pub fn consumer_holds(deal: &Deal, steps: &[Step]) {
    let mut out = Vec::new();
    let policy = ConsumerPolicy { tolerance_permille: 0, ..ConsumerPolicy::default() };
    let mut session = ConsumerSession::new(deal.consumer.clone(), deal.beginning(), policy, &mut out);
    session.step(START, ConsumerInput::Connected, &mut out).unwrap();
    session.step(START, ConsumerInput::Message(Message::Accept(Span::new(60_000))), &mut out).unwrap();
    let deposit = (deal.terms.kind == PaymentKind::Channel).then_some(0);
    let mut released: BTreeSet<u32> = deposit.into_iter().collect();
    let (mut now, mut metered) = (START, 0);
    let mut done = 0;
    for step in steps {
        let Some(input) = consumer_input(deal, step, now) else { continue };
        if let ConsumerInput::Metered(reading) = input {
            metered = metered.max(reading.get());
        }
        let _ = session.step(now, input, &mut out);
        for output in &out[done..] {
            if let ConsumerOutput::Send(Message::Release(release)) = output {
                // What was released before has all arrived, or this repeats the last one.
                let is_new = released.insert(release.index);
                let before = released.iter().copied().filter(|index| *index != release.index);
                assert!(!is_new || deal.energy_of(before) <= metered);
            }
        }
        done = out.len();
        now = now.after(step.pause()).unwrap();
    }
}
