//! The real ledger under a session: brings what the machines settle to it as signed transactions, as
//! a driver does, and reads off it who has what.

use std::collections::BTreeSet;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::{KeyPair, Preimage, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Amount, Nonce, Timestamp, TxRef};
use evchain_protocol::session::{OnChain, PaymentKind, Settlement};
use evchain_protocol::state::payment::{HashLocks, Payment};
use evchain_protocol::state::read::StateRead;
use evchain_protocol::state::record::TrackRecord;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::channel::{CloseChannel, ForceCloseChannel};
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimHashes, ClaimLock, IndexedPreimage};
use evchain_protocol::transaction::{Action, RejectReason};

use crate::chain::Chain;
use crate::deal::{Deal, on_chain};

/// Who brings something to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Consumer,
    Producer,
}

pub struct Bank {
    pub chain: Chain,
    deal: Deal,
    /// What the two had when the price was locked.
    before: [u64; 2],
    /// Installments that the producer has.
    pub paid: BTreeSet<u32>,
    /// Installments that the consumer has back.
    pub returned: BTreeSet<u32>,
    /// Who posted a channel's state last.
    pub posted_by: Option<PublicKey>,
    /// What others than the two bring to the next block.
    pub of_others: Vec<(KeyPair, Action)>,
    /// Whether somebody posted a newer state than the producer had.
    pub outdone: bool,
    /// Whether the consumer took everything back.
    pub cancelled: bool,
    /// How many transactions settled something.
    pub transactions: u32,
    /// What the ledger refused.
    pub refused: Vec<(Side, RejectReason)>,
}

impl Bank {
    pub fn new(deal: &Deal) -> Self {
        let chain = deal.chain.clone();
        Self {
            before: [&deal.consumer, &deal.producer].map(|key| chain.balance(key)),
            chain,
            deal: deal.clone(),
            paid: BTreeSet::new(),
            returned: BTreeSet::new(),
            posted_by: None,
            of_others: Vec::new(),
            outdone: false,
            cancelled: false,
            transactions: 0,
            refused: Vec::new(),
        }
    }

    /// The payment while it is open.
    pub fn on_chain(&self) -> Option<OnChain> {
        on_chain(&self.chain, &self.deal.open, &self.deal.locks)
    }

    /// What is left of a payment that has begun to settle.
    pub fn left(&self) -> Option<OnChain> {
        if self.deal.terms.kind != PaymentKind::Single {
            return self.on_chain();
        }
        let Some(OnChain::Installments(whole)) = &self.deal.facts.payment else { return None };
        let Some(HashLocks::Hashes(hashes)) = self.deal.locks() else { return None };
        let is_open = |name: &TxRef| self.chain.state.lock(*name).unwrap().is_some();
        let left = hashes.iter().zip(&self.deal.locks).map(|(hash, name)| hash.filter(|_| is_open(name)));
        let locks = HashLocks::Hashes(List::new(left.collect()).unwrap());
        Some(OnChain::Installments(Payment { locks, ..whole.clone() }))
    }

    /// How many installments from the front are settled.
    pub fn settled_below(&self) -> u32 {
        let count = self.deal.terms.plan.count.get();
        let is_settled = |index: &u32| self.paid.contains(index) || self.returned.contains(index);
        (0..count).find(|index| !is_settled(index)).unwrap_or(count)
    }

    /// What the session has brought the producer, by its account.
    pub fn producer_money(&self) -> Amount {
        Amount::new(self.chain.balance(&self.deal.producer) - self.before[1])
    }

    /// What the consumer got back, by its account.
    pub fn consumer_money(&self) -> Amount {
        Amount::new(self.chain.balance(&self.deal.consumer) - self.before[0])
    }

    /// The producer's track record: its only session, if that is settled and says anything.
    pub fn record(&self) -> Option<TrackRecord> {
        self.chain.state.track_record(&self.deal.producer.public_key()).unwrap()
    }

    /// H: the record says what the accounts say.
    pub fn assert_record(&self, what: &str) {
        let count = u64::from(self.deal.terms.plan.count.get());
        let paid = self.paid.len() as u64;
        let says_nothing = self.deal.terms.kind == PaymentKind::Single
            || self.cancelled
            || count == 1
            || self.on_chain().is_some();
        let expected = (!says_nothing).then(|| TrackRecord {
            completed: u64::from(paid == count),
            broken_off: u64::from((1..count).contains(&paid)),
            unpaid: u64::from(paid == 0),
            installments_agreed: if paid > 0 { count } else { 0 },
            installments_paid: paid,
            shortfall: if paid > 0 { ((count - paid) * 1000).div_ceil(count - 1) } else { 0 },
            disputes_lost: u64::from(self.outdone),
        });
        assert_eq!(self.record(), expected, "{what}");
    }

    /// Makes a block of this time, with at most one settlement of each side. Gives what has to wait
    /// for the next. A block that would change nothing is not made: only its time would count.
    pub fn block(
        &mut self,
        time: Timestamp,
        settlements: Vec<(Side, Settlement)>,
    ) -> Vec<(Side, Settlement)> {
        let (mut sides, mut left, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        for (side, settlement) in settlements {
            if sides.contains(&side) {
                left.push((side, settlement));
            } else {
                let key = if side == Side::Consumer { &self.deal.consumer } else { &self.deal.producer };
                for (nth, action) in (0..).zip(self.actions(&settlement, time)) {
                    let nonce = Nonce::new(self.chain.nonce(&key.public_key()).get() + nth);
                    candidates.push(self.chain.sign_with(key, nonce, action).unwrap());
                    sides.push(side);
                }
            }
        }
        for (key, action) in std::mem::take(&mut self.of_others) {
            candidates.push(self.chain.sign(&key, action));
        }
        if !candidates.is_empty() || !self.chain.state.due(time, 1).unwrap().is_empty() {
            let before = self.unsettled();
            let built = self.chain.block(time, candidates);
            self.transactions += u32::try_from(built.transactions.len()).unwrap();
            for (transaction, reason) in built.rejected {
                let is_consumer = *transaction.sender() == self.deal.consumer.public_key();
                self.refused.push((if is_consumer { Side::Consumer } else { Side::Producer }, reason));
            }
            self.book(&before);
        }
        left
    }

    /// What a driver sends for this, in this state of the payment (D4): nothing if it is settled as
    /// far as it can be.
    fn actions(&self, settlement: &Settlement, time: Timestamp) -> Vec<Action> {
        let name = self.deal.terms.payment;
        let is_open =
            |payment: &Payment, index| !payment.is_settled(index) && time < payment.plan.deadline(index);
        let action = match (settlement, self.left()) {
            (Settlement::ClaimHashes(preimages), Some(OnChain::Installments(payment))) => {
                let open = preimages.iter().filter(|(index, _)| is_open(&payment, *index));
                return self.claims(open.copied());
            }
            (Settlement::ClaimChain { index, link }, Some(OnChain::Installments(payment)))
                if is_open(&payment, *index) =>
            {
                Action::Claim(Claim::Chain(ClaimChain { payment: name, index: *index, link: *link }))
            }
            (Settlement::Close(signed), Some(OnChain::Channel(_))) => {
                Action::CloseChannel(CloseChannel { state: *signed })
            }
            (Settlement::ForceClose(signed), Some(OnChain::Channel(_))) => {
                Action::ForceCloseChannel(ForceCloseChannel { channel: name, state: *signed })
            }
            (Settlement::Cancel, Some(OnChain::Installments(_))) => Action::Cancel(Cancel::Payment(name)),
            (Settlement::Cancel, Some(OnChain::Channel(_))) => Action::Cancel(Cancel::Channel(name)),
            _ => return vec![],
        };
        vec![action]
    }

    /// One claim of these preimages, or one for each single lock (E1).
    fn claims(&self, open: impl Iterator<Item = (u32, Preimage)>) -> Vec<Action> {
        let claims = open.map(|(index, preimage)| IndexedPreimage { index, preimage });
        if self.deal.terms.kind == PaymentKind::Single {
            let claim = |it: IndexedPreimage| {
                let lock = self.deal.locks[it.index as usize];
                Action::Claim(Claim::Lock(ClaimLock { lock, preimage: it.preimage }))
            };
            return claims.map(claim).collect();
        }
        let preimages = claims.collect::<Vec<_>>();
        let payment = self.deal.terms.payment;
        let is_empty = preimages.is_empty();
        let claim = ClaimHashes { payment, preimages: List::new(preimages).unwrap() };
        if is_empty { vec![] } else { vec![Action::Claim(Claim::Hashes(claim))] }
    }

    fn unsettled(&self) -> BTreeSet<u32> {
        match self.left() {
            Some(OnChain::Installments(payment)) => payment.unsettled().collect(),
            Some(OnChain::Channel(channel)) => (0..channel.count.get()).collect(),
            None => BTreeSet::new(),
        }
    }

    /// Notes which installments the last block gave to whom, and holds it against the accounts.
    fn book(&mut self, before: &BTreeSet<u32>) {
        let after = self.unsettled();
        let settled: BTreeSet<u32> = before.difference(&after).copied().collect();
        let mut returned: BTreeSet<u32> = BTreeSet::new();
        let events: Vec<Event> = self.chain.events.iter().map(|record| record.event.clone()).collect();
        for event in events {
            match event {
                // A claim in the same block names only what is not late.
                Event::InstallmentsRefunded { up_to, installments, .. } => {
                    let plan = &self.deal.terms.plan;
                    let is_late = |index: u32| {
                        let is_forfeit = index == 0 && plan.deposit == DepositRule::Forfeit;
                        !is_forfeit && plan.deadline(index) <= self.chain.tip.time_ms
                    };
                    let gone: Vec<u32> = settled
                        .range(..=up_to)
                        .copied()
                        .filter(|index| is_late(*index) && !returned.contains(index))
                        .collect();
                    assert_eq!(gone.len(), installments as usize, "I5: what is late is not claimed");
                    returned.extend(gone);
                }
                Event::LockRefunded { lock, .. } => {
                    let index = self.deal.locks.iter().position(|name| *name == lock);
                    returned.extend(index.map(|index| u32::try_from(index).unwrap()));
                }
                Event::PaymentCancelled { .. } | Event::ChannelCancelled { .. } => {
                    self.cancelled = true;
                    returned.clone_from(&settled);
                }
                Event::ChannelClosed { released, .. } => returned.extend(settled.range(released..)),
                Event::ChannelPosted { by, .. } => {
                    let producer = Some(self.deal.producer.public_key());
                    self.outdone |= self.posted_by == producer && Some(by) != producer;
                    self.posted_by = Some(by);
                }
                _ => {}
            }
        }
        self.paid.extend(settled.difference(&returned));
        self.returned.extend(returned);
        let plan = &self.deal.terms.plan;
        let sum =
            |indexes: &BTreeSet<u32>| indexes.iter().map(|index| plan.amount(*index).get()).sum::<u64>();
        assert_eq!(self.producer_money().get(), sum(&self.paid), "the producer's account");
        assert_eq!(self.consumer_money().get(), sum(&self.returned), "the consumer's account");
    }
}
