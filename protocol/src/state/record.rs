//! What the chain remembers of a producer's sessions: the "scoring" of P21 IV-A.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::payment::InstallmentCount;

/// How the sessions that a producer was to be paid for were settled (H). Counts stop at their maximum,
/// which no chain lives to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
pub struct TrackRecord {
    /// Sessions whose installments were all paid.
    pub completed: u64,
    /// Sessions of which one installment at least was paid, and not all.
    pub broken_off: u64,
    /// Sessions of which nothing was paid, so that the producer owed nothing either.
    pub unpaid: u64,
    /// Installments that were agreed on, in the sessions completed and broken off.
    pub installments_agreed: u64,
    /// Installments that were paid.
    pub installments_paid: u64,
    /// The sum over the sessions broken off of what was missing of each, in per mille (H3).
    pub shortfall: u64,
    /// Channels in which the producer posted a state and somebody else a newer one.
    pub disputes_lost: u64,
}

impl TrackRecord {
    /// Sessions that were paid for, in part at least.
    pub const fn sessions(&self) -> u64 {
        self.completed.saturating_add(self.broken_off)
    }

    /// Takes up a session of `count` installments, of which `paid` went to the producer (H2, H3).
    pub(crate) fn add_session(&mut self, count: InstallmentCount, paid: u32) {
        // Whether anybody delivered anything for a deposit shows in the next installment only.
        if count == InstallmentCount::ONE {
            return;
        }
        let ended = match paid {
            0 => &mut self.unpaid,
            paid if paid < count.get() => &mut self.broken_off,
            _ => &mut self.completed,
        };
        *ended = ended.saturating_add(1);
        if paid > 0 {
            self.installments_agreed = self.installments_agreed.saturating_add(count.get().into());
            self.installments_paid = self.installments_paid.saturating_add(paid.min(count.get()).into());
            self.shortfall = self.shortfall.saturating_add(shortfall(count, paid));
        }
    }

    /// Takes up a dispute lost (H4).
    pub(crate) fn add_dispute_lost(&mut self) {
        self.disputes_lost = self.disputes_lost.saturating_add(1);
    }
}

/// How much of a session was still to come when it ended: the installments not paid, in per mille of
/// those after the deposit, rounded up. 0 for a session completed, 1000 where only the deposit was paid.
fn shortfall(count: InstallmentCount, paid: u32) -> u64 {
    let missing = u64::from(count.get().saturating_sub(paid.max(1)));
    let after_deposit = u64::from(count.get().saturating_sub(1)).max(1);
    missing.saturating_mul(1000).div_ceil(after_deposit)
}
