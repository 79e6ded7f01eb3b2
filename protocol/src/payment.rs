//! The arithmetic of a payment in installments: how much each is, and until when it can be claimed.

use std::num::NonZeroU16;

use bincode::de::Decoder;
use bincode::error::DecodeError;
use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::primitives::{Amount, Energy, Span, Timestamp, Window};
use crate::tagged_enum;

/// The most installments that one payment can have on any chain.
pub const MAX_INSTALLMENTS: u32 = 1024;

/// N, the number of installments: 1 to [`MAX_INSTALLMENTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct InstallmentCount(NonZeroU16);

/// A number of installments that no payment can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} installments: a payment has 1 to {MAX_INSTALLMENTS}")]
pub struct BadInstallmentCount(pub u32);

impl InstallmentCount {
    /// Everything at once.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// This many installments.
    ///
    /// # Errors
    /// [`BadInstallmentCount`] for 0 and above [`MAX_INSTALLMENTS`].
    pub fn new(count: u32) -> Result<Self, BadInstallmentCount> {
        match u16::try_from(count).ok().and_then(NonZeroU16::new) {
            Some(nonzero) if count <= MAX_INSTALLMENTS => Ok(Self(nonzero)),
            _ => Err(BadInstallmentCount(count)),
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get() as u32
    }

    /// What the first `released` of the N installments sum up to: floor(released * total / N).
    /// More than N count as N.
    fn released_of(self, total: u64, released: u32) -> u64 {
        let released = u128::from(released.min(self.get()));
        // Below 2^64 * 2^10, and the quotient is at most `total`.
        let parts = u128::from(total).saturating_mul(released).checked_div(u128::from(self.get()));
        parts.and_then(|parts| u64::try_from(parts).ok()).unwrap_or(total)
    }

    /// The money of the first `released` installments of a price.
    pub fn money_released(self, price: Amount, released: u32) -> Amount {
        Amount::new(self.released_of(price.get(), released))
    }

    /// The money of installment `index`: floor((k+1)b/N) - floor(kb/N). Zero from N on.
    pub fn money_of(self, price: Amount, index: u32) -> Amount {
        self.money_released(price, index.saturating_add(1)).saturating_sub(self.money_released(price, index))
    }

    /// The energy that belongs to the first `released` installments, by the same formula.
    pub fn energy_released(self, energy: Energy, released: u32) -> Energy {
        Energy::new(self.released_of(energy.get(), released))
    }
}

impl TryFrom<u32> for InstallmentCount {
    type Error = BadInstallmentCount;

    fn try_from(count: u32) -> Result<Self, BadInstallmentCount> {
        Self::new(count)
    }
}

impl From<InstallmentCount> for u32 {
    fn from(count: InstallmentCount) -> Self {
        count.get()
    }
}

impl std::fmt::Display for InstallmentCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<C> Decode<C> for InstallmentCount {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::new(u16::decode(decoder)?.into()).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(InstallmentCount);

/// What happens to installment 0, the deposit, when nobody claimed it (DESIGN, "The deposit and
/// the no-show").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepositRule {
    /// The producer gets it at the window's start, or at the window's end where it is the only
    /// installment: a consumer that does not come pays it.
    Forfeit,
    /// The consumer gets it back at this moment, `t_max` of P21 III-D.
    Refund(Timestamp),
}

tagged_enum!(DepositRule { 0 => Forfeit, 1 => Refund(Timestamp) });

/// How a price is paid in installments over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct InstallmentPlan {
    /// b, the whole price.
    pub price: Amount,
    /// N.
    pub count: InstallmentCount,
    /// T.
    pub window: Window,
    /// The rule for installment 0.
    pub deposit: DepositRule,
    /// How long after its slice of the window an installment can still be claimed.
    pub claim_margin: Span,
}

impl InstallmentPlan {
    /// The money of installment `index`, zero from N on.
    pub fn amount(&self, index: u32) -> Amount {
        self.count.money_of(self.price, index)
    }

    /// The moment from which installment `index` can no longer be claimed (rule I5). It never
    /// falls with the index.
    pub fn deadline(&self, index: u32) -> Timestamp {
        match (index, self.deposit) {
            // A payment leaves the state once all is settled, and no session could begin with it.
            (0, DepositRule::Forfeit) if self.count == InstallmentCount::ONE => self.window.end,
            (0, DepositRule::Forfeit) => self.window.start,
            (0, DepositRule::Refund(until)) => until,
            _ => self.slice_end(index).saturating_after(self.claim_margin),
        }
    }

    /// The end of the slice of the window that belongs to installment `index`:
    /// start + ceil((k+1) * length / N).
    pub fn slice_end(&self, index: u32) -> Timestamp {
        let slices = u128::from(index.saturating_add(1).min(self.count.get()));
        let scaled = u128::from(self.window.length().get()).saturating_mul(slices);
        let into = scaled.div_ceil(u128::from(self.count.get()));
        let into = u64::try_from(into).unwrap_or(u64::MAX);
        self.window.start.saturating_after(Span::new(into))
    }
}
