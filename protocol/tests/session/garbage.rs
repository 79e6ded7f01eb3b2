//! Goal: nothing that the other side sends makes a machine panic, or the producer let energy flow
//! that it can't collect, or the consumer pay twice ahead.
//!
//! Method: proptest feeds each machine random inputs, most of them nearly right: true proofs at the
//! wrong place, forged ones at the right place, jumps in time, meters that run ahead. An oracle
//! beside the machine checks each proof against the locks by its definition, not step by step.

use std::collections::BTreeSet;

use crate::deal::{ALL_KINDS, Deal, START, Shape, T_MAX};
use evchain_protocol::crypto::{Preimage, Signature};
use evchain_protocol::hash_chain;
use evchain_protocol::primitives::{Amount, Energy, Span, Timestamp};
use evchain_protocol::session::{
    ChainFacts, ConsumerInput, ConsumerOutput, ConsumerPolicy, ConsumerSession, Delivered, MAX_MESSAGE_BYTES,
    Message, PaymentKind, ProducerInput, ProducerOutput, ProducerPolicy, ProducerSession, Progress, Proof,
    Receipt, ReceiptMessage, RejectReason, Release, Resume, StopReason,
};
use evchain_protocol::state::channel::{ChannelState, SignedChannelState};
use evchain_protocol::state::payment::HashLocks;
use proptest::collection::vec;
use proptest::prelude::*;

const COUNT: u32 = 4;

/// One step of chaos, in numbers that both machines' tests read in their own way.
type Step = (u8, u32, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((any::<u8>(), 0..COUNT + 2, 0_u64..12_000), 1..60)
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

fn producer_input(deal: &Deal, (what, index, number): Step, now: Timestamp) -> ProducerInput {
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

fn consumer_input(deal: &Deal, (what, index, number): Step, now: Timestamp) -> ConsumerInput {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_producer_never_delivers_what_it_cannot_collect(kind in 0..ALL_KINDS.len(), steps in steps()) {
        let deal = Deal::new(Shape::new(ALL_KINDS[kind], COUNT));
        let mut out = Vec::new();
        let remote = deal.consumer.public_key();
        let policy = ProducerPolicy::default();
        let facts = ChainFacts { time: early(&deal), ..deal.facts.clone() };
        let mut session =
            ProducerSession::open(deal.producer.clone(), remote, &deal.open, &facts, policy, early(&deal), &mut out)
                .unwrap();
        let deposit = (deal.terms.kind == PaymentKind::Channel).then_some(0);
        let mut collectable: BTreeSet<u32> = deposit.into_iter().collect();
        let (mut now, mut is_gone) = (early(&deal), false);
        for step in steps {
            let input = producer_input(&deal, step, now);
            if let ProducerInput::Message(Message::Release(release)) = &input
                && collects(&deal, release)
            {
                collectable.insert(release.index);
            }
            // What was taken back, paid out or is about to be pays for nothing more.
            is_gone |= matches!(input, ProducerInput::Cancelled)
                || (deal.terms.kind == PaymentKind::Channel
                    && matches!(input, ProducerInput::ForceClosed | ProducerInput::Settled(1..) | ProducerInput::Gone));
            let before = out.len();
            let _ = session.step(now, input, &mut out);
            for output in &out[before..] {
                match output {
                    ProducerOutput::Deliver(up_to) => {
                        prop_assert!(!is_gone && up_to.get() <= deal.energy_of(collectable.iter().copied()));
                    }
                    ProducerOutput::Send(Message::Receipt(signed)) => {
                        let Progress { released, amount, .. } = *session.progress();
                        prop_assert_eq!((signed.receipt.released, signed.receipt.amount), (released, amount));
                    }
                    _ => {}
                }
            }
            now = now.after(Span::new(step.2 * 20)).unwrap();
        }
    }

    #[test]
    fn the_consumer_never_pays_two_installments_ahead(kind in 0..ALL_KINDS.len(), steps in steps()) {
        let deal = Deal::new(Shape::new(ALL_KINDS[kind], COUNT));
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
            let input = consumer_input(&deal, step, now);
            if let ConsumerInput::Metered(reading) = input {
                metered = metered.max(reading.get());
            }
            let _ = session.step(now, input, &mut out);
            for output in &out[done..] {
                if let ConsumerOutput::Send(Message::Release(release)) = output {
                    // What was released before has all arrived, or this repeats the last one.
                    let is_new = released.insert(release.index);
                    let before = released.iter().copied().filter(|index| *index != release.index);
                    prop_assert!(!is_new || deal.energy_of(before) <= metered);
                }
            }
            done = out.len();
            now = now.after(Span::new(step.2 * 20)).unwrap();
        }
    }

    #[test]
    fn random_bytes_are_a_message_only_in_their_one_encoding(bytes in vec(any::<u8>(), 0..MAX_MESSAGE_BYTES + 8)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn changed_messages_keep_one_encoding(place in any::<prop::sample::Index>(), value in any::<u8>(), index in 0..COUNT) {
        let deal = Deal::new(Shape::new(PaymentKind::Chain, COUNT));
        for message in [
            Message::Open(deal.open),
            Message::Release(Release { index, proof: deal.proof(index) }),
            Message::Delivered(Delivered { index, energy: Energy::new(9), cosignature: Some(Signature::from_bytes([1; 64])) }),
            Message::Stop(StopReason::Fault),
        ] {
            let mut bytes = message.encode();
            let place = place.index(bytes.len());
            bytes[place] = value;
            if let Ok(changed) = Message::decode(&bytes) {
                prop_assert_eq!(changed.encode(), bytes);
            }
        }
    }
}
