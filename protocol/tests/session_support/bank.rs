//! The chain's side of one payment: rules I5-I8 and C5-C11 once more, in the plainest way.

use std::collections::BTreeSet;

use evchain_protocol::hash_chain;
use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Amount, Timestamp};
use evchain_protocol::session::{OnChain, PaymentKind, Settlement};
use evchain_protocol::state::channel::{ChannelState, INITIAL_RELEASED, SignedChannelState};
use evchain_protocol::state::payment::HashLocks;

use super::deal::Deal;

/// Who brings something to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Consumer,
    Producer,
}

pub struct Bank {
    deal: Deal,
    /// Installments that the producer has.
    pub paid: BTreeSet<u32>,
    /// Installments that the consumer has back.
    pub returned: BTreeSet<u32>,
    /// A channel's posted state and when it pays out.
    pub posted: Option<(u32, Timestamp)>,
    /// Whether the consumer took everything back.
    pub cancelled: bool,
    /// How many transactions came.
    pub transactions: u32,
}

impl Bank {
    pub fn new(deal: Deal) -> Self {
        Self {
            deal,
            paid: BTreeSet::new(),
            returned: BTreeSet::new(),
            posted: None,
            cancelled: false,
            transactions: 0,
        }
    }

    fn count(&self) -> u32 {
        self.deal.terms.plan.count.get()
    }

    pub fn is_settled(&self, index: u32) -> bool {
        self.paid.contains(&index) || self.returned.contains(&index)
    }

    /// How many installments from the front are settled.
    pub fn settled_below(&self) -> u32 {
        (0..self.count()).find(|index| !self.is_settled(*index)).unwrap_or(self.count())
    }

    pub fn producer_money(&self) -> Amount {
        let plan = &self.deal.terms.plan;
        self.paid.iter().fold(Amount::ZERO, |sum, index| sum.checked_add(plan.amount(*index)).unwrap())
    }

    /// Takes a transaction into a block of this time. What the rules refuse changes nothing.
    pub fn take(&mut self, side: Side, settlement: &Settlement, time: Timestamp) -> bool {
        let before = (self.paid.len(), self.returned.len(), self.posted);
        match (settlement, side) {
            (Settlement::ClaimHashes(claims), Side::Producer) => {
                let Some(HashLocks::Hashes(locks)) = self.deal.locks().cloned() else { return false };
                // The driver leaves out what is settled (D4); one bad claim refuses all (I6).
                let open: Vec<_> = claims.iter().filter(|(index, _)| !self.is_settled(*index)).collect();
                let fits = |index: u32, preimage: &evchain_protocol::crypto::Preimage| {
                    locks[index as usize] == Some(preimage.lock())
                        && time < self.deal.terms.plan.deadline(index)
                };
                if open.iter().all(|(index, preimage)| fits(*index, preimage)) {
                    self.paid.extend(open.into_iter().map(|(index, _)| *index));
                }
            }
            (Settlement::ClaimChain { index, link }, Side::Producer) => {
                let Some(HashLocks::Chain(lock)) = self.deal.locks().cloned() else { return false };
                let fits = hash_chain::anchor_from(*link, *index) == lock.anchor;
                if fits && !self.is_settled(*index) && time < self.deal.terms.plan.deadline(*index) {
                    let open: Vec<_> = (0..=*index).filter(|index| !self.is_settled(*index)).collect();
                    self.paid.extend(open);
                }
            }
            (Settlement::Close(signed), _) => {
                let closable = side == Side::Producer || signed.state.closing;
                if self.is_channel_open() && closable && self.is_from_other(side, signed) {
                    let released = signed.state.released;
                    if self.posted.is_none_or(|(posted, _)| released >= posted) {
                        self.pay_out(released);
                    }
                }
            }
            (Settlement::ForceClose(state), _) => {
                let valid = state.as_ref().is_none_or(|signed| self.is_from_other(side, signed));
                if self.is_channel_open() && self.posted.is_none() && valid {
                    let released = state.as_ref().map_or(INITIAL_RELEASED, |signed| signed.state.released);
                    let OnChain::Channel(channel) = self.deal.facts.payment.as_ref().unwrap() else {
                        return false;
                    };
                    self.posted = Some((released, time.after(channel.challenge).unwrap()));
                }
            }
            (Settlement::Cancel, Side::Consumer)
                if time < self.deal.terms.cancel_by && self.paid.is_empty() && self.posted.is_none() =>
            {
                self.returned.extend(0..self.count());
                self.cancelled = true;
            }
            _ => {}
        }
        let taken = before != (self.paid.len(), self.returned.len(), self.posted);
        self.transactions += u32::from(taken);
        taken
    }

    /// Settles what is due in a block of this time.
    pub fn settle_due(&mut self, time: Timestamp) {
        let terms = self.deal.terms;
        if terms.kind == PaymentKind::Channel {
            let due = self.posted.map_or(terms.channel_deadline.unwrap(), |(_, until)| until);
            if self.is_channel_open() && due <= time {
                self.pay_out(self.posted.map_or(INITIAL_RELEASED, |(released, _)| released));
            }
            return;
        }
        for index in 0..self.count() {
            if !self.is_settled(index) && terms.plan.deadline(index) <= time {
                let forfeit = index == 0 && terms.plan.deposit == DepositRule::Forfeit;
                if forfeit {
                    self.paid.insert(index)
                } else {
                    self.returned.insert(index)
                };
            }
        }
    }

    fn is_channel_open(&self) -> bool {
        self.paid.is_empty() && self.returned.is_empty()
    }

    fn pay_out(&mut self, released: u32) {
        self.paid.extend(0..released);
        self.returned.extend(released..self.count());
    }

    fn is_from_other(&self, side: Side, signed: &SignedChannelState) -> bool {
        let other = match side {
            Side::Consumer => self.deal.terms.producer,
            Side::Producer => self.deal.terms.consumer,
        };
        let ChannelState { channel, released, .. } = signed.state;
        channel == self.deal.terms.payment
            && (1..=self.count()).contains(&released)
            && signed.verify(&other, self.deal.terms.chain).is_ok()
    }
}
