//! What the two sides agreed on, and how far they are.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::{ChainId, Hash, PublicKey};
use crate::payment::{DepositRule, InstallmentPlan};
use crate::primitives::{Amount, Energy, Span, Timestamp, TxRef};
use crate::state::auction::PaymentKinds;
use crate::state::channel::INITIAL_RELEASED;
use crate::state::payment::Lock;
use crate::tagged_enum;

/// How a session is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    /// Installments with hashes of their own.
    Hashes,
    /// Installments along one hash chain.
    Chain,
    /// A channel.
    Channel,
    /// A lock of its own for each installment: N transactions to lock and N to claim (P21 III-D).
    Single,
}

tagged_enum!(PaymentKind { 0 => Hashes, 1 => Chain, 2 => Channel, 3 => Single });

impl PaymentKind {
    /// The kind as a bid offers it.
    pub const fn offered(self) -> PaymentKinds {
        match self {
            Self::Hashes => PaymentKinds::HASHES,
            Self::Chain => PaymentKinds::CHAIN,
            Self::Channel => PaymentKinds::CHANNEL,
            Self::Single => PaymentKinds::SINGLE,
        }
    }
}

/// What both sides read off the final chain before they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Terms {
    /// The chain that all of it is on.
    pub chain: ChainId,
    /// What was asked for.
    pub request: TxRef,
    /// The payment in installments, or the channel.
    pub payment: TxRef,
    /// Which of the two, and how.
    pub kind: PaymentKind,
    /// zeta.
    pub consumer: PublicKey,
    /// i.
    pub producer: PublicKey,
    /// e.
    pub energy: Energy,
    /// b, N and T. For a channel the deposit's rule and the margin mean nothing.
    pub plan: InstallmentPlan,
    /// Before this the consumer can take everything back (I8, C11).
    pub cancel_by: Timestamp,
    /// When a channel pays out its first state if nobody closes it (C10).
    pub channel_deadline: Option<Timestamp>,
}

impl Terms {
    /// Until when installment `index` can be collected, `None` if that is certain (S5).
    pub fn deadline(&self, index: u32) -> Option<Timestamp> {
        match (self.kind, index, self.plan.deposit) {
            (PaymentKind::Channel, _, _) | (_, 0, DepositRule::Forfeit) => None,
            _ => Some(self.plan.deadline(index)),
        }
    }

    /// Whether installment `index` has less than `lead` until its deadline.
    pub fn is_late(&self, index: u32, moment: Timestamp, lead: Span) -> bool {
        self.deadline(index).is_some_and(|deadline| deadline < later(moment, lead))
    }

    /// Whether the deposit pays itself (I5).
    pub fn deposit_is_forfeit(&self) -> bool {
        self.kind != PaymentKind::Channel && self.plan.deposit == DepositRule::Forfeit
    }

    /// Whether a single lock of this hash is that of installment `index` (O8). Whoever knows a hash can make
    /// another lock of it.
    pub fn is_lock_of(&self, index: u32, hash: Hash, lock: &Lock) -> bool {
        (lock.hash, lock.amount, lock.deadline) == (hash, self.plan.amount(index), self.plan.deadline(index))
    }

    /// The moment by which an installment paid at `now` must be delivered: its share of the window
    /// and the grace, counted from when nothing holds the energy back any more (T1).
    pub fn delivery_deadline(&self, now: Timestamp, grace: Span) -> Timestamp {
        let slice = self.plan.slice_end(0).since(self.plan.window.start);
        let from = now.max(self.cancel_by).max(self.plan.window.start);
        later(later(from, slice), grace)
    }

    /// How far a session is in the moment of `Accept`: a channel's first state has released the
    /// deposit (S3).
    pub fn start(&self) -> Progress {
        let mut progress = Progress::default();
        if self.kind == PaymentKind::Channel {
            (0..INITIAL_RELEASED).for_each(|index| progress.release(self, index));
        }
        progress
    }
}

/// What was released and delivered so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The last installment released.
    pub last: Option<u32>,
    /// How many were released: fewer than `last + 1` if some were skipped.
    pub released: u32,
    /// What they are worth.
    pub amount: Amount,
    /// What energy they carry. Cumulative, so it is what the meter must show.
    pub energy: Energy,
    /// The last installment delivered.
    pub delivered: Option<u32>,
    /// What the delivered installments carry.
    pub delivered_energy: Energy,
}

impl Progress {
    /// Counts installment `index`. The caller sees to the order.
    pub fn release(&mut self, terms: &Terms, index: u32) {
        let count = terms.plan.count;
        let carried = |released| count.energy_released(terms.energy, released);
        let energy = carried(index.saturating_add(1)).saturating_sub(carried(index));
        self.last = Some(index);
        self.released = self.released.saturating_add(1);
        // The sums stay below the price and the energy asked for: no index counts twice.
        self.amount = self.amount.saturating_add(terms.plan.amount(index));
        self.energy = self.energy.saturating_add(energy);
    }

    /// Counts everything released as delivered.
    pub fn deliver(&mut self) {
        self.delivered = self.last;
        self.delivered_energy = self.energy;
    }

    /// The installment after the last released one.
    pub fn next(&self) -> u32 {
        after(self.last)
    }

    /// Whether everything released is delivered.
    pub fn is_delivered(&self) -> bool {
        self.delivered == self.last
    }
}

/// One above an index, zero for none: how `Resume` counts (M8).
pub(super) fn after(index: Option<u32>) -> u32 {
    index.map_or(0, |index| index.saturating_add(1))
}

/// Whether a meter shows at least `due`, or falls short by no more than the tolerance, a share of
/// everything due.
pub(super) fn reaches(meter: Energy, due: Energy, tolerance_permille: u16) -> bool {
    let required = u128::from(1000_u16.saturating_sub(tolerance_permille));
    u128::from(meter.get()).saturating_mul(1000) >= u128::from(due.get()).saturating_mul(required)
}

/// The moment this long after, or the last one.
pub(super) fn later(moment: Timestamp, span: Span) -> Timestamp {
    moment.after(span).unwrap_or(Timestamp::MAX)
}
