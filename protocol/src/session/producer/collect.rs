//! Collects what the consumer paid: E1 to E4, P15 and P16.

use crate::crypto::Hash;
use crate::primitives::{Timestamp, TxRef};
use crate::session::messages::{Message, StopReason};
use crate::session::outcome::{EndReason, Settlement};
use crate::session::terms::PaymentKind;
use crate::state::channel::{CoSignedState, SignedChannelState};
use crate::state::payment::{HashLocks, Lock};

use super::io::{ProducerOutput, ProducerRecord};
use super::machine::{Phase, ProducerSession};

impl ProducerSession {
    /// The channel's newest state that the consumer signed, with the own signature too (W1). None
    /// while there is none, and when the channel has paid out.
    pub fn to_guard(&self) -> Option<CoSignedState> {
        let newest = self.newest_state?;
        let producer = newest.state.sign(&self.key, self.terms.chain).signature;
        Some(CoSignedState { state: newest.state, consumer: newest.signature, producer })
    }

    /// For single locks: how many installments from the front are settled, given those that the chain
    /// still has (P16).
    pub fn settled_locks(&self, open: &[(TxRef, Lock)]) -> u32 {
        let count = self.terms().plan.count.get();
        let Some(HashLocks::Hashes(hashes)) = self.verifier.locks() else { return 0 };
        let is_open = |index: &u32, hash: Option<Hash>| {
            hash.is_some_and(|hash| open.iter().any(|(_, lock)| self.terms().is_lock_of(*index, hash, lock)))
        };
        (0..)
            .zip(hashes.iter())
            .find(|(index, hash)| is_open(index, **hash))
            .map_or(count, |(index, _)| index)
    }

    /// E1-E4: collects all that is owed and not yet claimed.
    pub(super) fn settle(&mut self, out: &mut Vec<ProducerOutput>) {
        self.finish_energy(EndReason::Completed, out);
        self.timer = None;
        self.phase = Phase::Settling;
        let settlement = match self.terms.kind {
            PaymentKind::Channel => self.best_state().map(Settlement::Close),
            PaymentKind::Hashes | PaymentKind::Chain | PaymentKind::Single => self.claim(),
        };
        out.extend(settlement.map(ProducerOutput::Settle));
        self.finish_if_settled(out);
    }

    /// E1, E2: what was released and not given out in a claim yet.
    fn claim(&mut self) -> Option<Settlement> {
        let unclaimed: Vec<_> =
            self.unsettled.range(self.claimed_below..).map(|(index, preimage)| (*index, *preimage)).collect();
        let (index, link) = *unclaimed.last()?;
        self.claimed_below = index.saturating_add(1);
        Some(match self.terms.kind {
            PaymentKind::Chain => Settlement::ClaimChain { index, link },
            _ => Settlement::ClaimHashes(unclaimed),
        })
    }

    /// P15: when something released and unclaimed comes near its deadline.
    pub(super) fn claim_reminder(&self) -> Option<Timestamp> {
        if matches!(self.phase, Phase::Settling | Phase::Done) {
            return None;
        }
        let deadline = if self.terms.kind == PaymentKind::Channel {
            self.newest_state.and(self.terms.channel_deadline)
        } else {
            let (first, _) = self.unsettled.range(self.claimed_below..).next()?;
            self.terms.deadline(*first)
        };
        deadline.map(|deadline| deadline.before(self.policy.settle_lead))
    }

    /// P15, if it is time: an installment is claimed meanwhile, a channel can only be closed for good. Whether
    /// it was.
    pub(super) fn settle_early(&mut self, moment: Timestamp, out: &mut Vec<ProducerOutput>) -> bool {
        if self.claim_reminder().is_none_or(|at| at > moment) {
            return false;
        }
        if self.terms.kind == PaymentKind::Channel {
            self.finish_energy(EndReason::ProducerStopped(StopReason::PaymentClosing), out);
            out.push(ProducerOutput::Send(Message::Stop(StopReason::PaymentClosing)));
            self.settle(out);
        } else {
            out.extend(self.claim().map(ProducerOutput::Settle));
        }
        true
    }

    /// The consumer-signed state that pays most, the closing one if both agreed.
    fn best_state(&self) -> Option<SignedChannelState> {
        self.receipt.and_then(|record| record.closing).or(self.newest_state)
    }

    /// P16: the chain has the payment or channel no more, since the consumer took it back or otherwise.
    pub(super) fn gone(&mut self, now: Timestamp, is_cancelled: bool, out: &mut Vec<ProducerOutput>) {
        if is_cancelled {
            self.finish_energy(EndReason::ClosedOnChain, out);
        }
        self.settled(now, self.terms.plan.count.get(), out);
        // Where all counted as settled before.
        if is_cancelled && !matches!(self.phase, Phase::Settling | Phase::Done) {
            self.settle(out);
        }
    }

    /// P16.
    pub(super) fn settled(&mut self, now: Timestamp, below: u32, out: &mut Vec<ProducerOutput>) {
        if below <= self.settled_below {
            return;
        }
        if self.terms.kind == PaymentKind::Channel {
            self.finish_energy(EndReason::ClosedOnChain, out); // D3: before it is written that the channel is gone
        }
        out.push(ProducerOutput::Persist(ProducerRecord::Settled(below)));
        self.book_settled(below);
        match self.phase {
            Phase::Settling => self.finish_if_settled(out),
            // The payment is gone, and nothing more can be paid with it.
            _ if self.terms.kind == PaymentKind::Channel || self.end == Some(EndReason::ClosedOnChain) => {
                self.settle(out);
            }
            Phase::Delivering => self.deliver(now, out), // P9
            _ => {}
        }
    }

    pub(super) fn book_settled(&mut self, below: u32) {
        self.settled_below = self.settled_below.max(below);
        self.unsettled.retain(|index, _| *index >= below);
        if self.terms.kind == PaymentKind::Channel {
            self.newest_state = None;
        }
    }

    fn finish_if_settled(&mut self, out: &mut Vec<ProducerOutput>) {
        let open = match self.terms.kind {
            PaymentKind::Channel => self.settled_below == 0 && self.best_state().is_some(),
            _ => !self.unsettled.is_empty(),
        };
        if !open {
            self.phase = Phase::Done;
            out.push(ProducerOutput::Finished(self.outcome()));
        }
    }
}
