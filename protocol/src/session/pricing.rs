//! The producer's price, which the papers leave to it: f(T, e, B) (P18 3.2). Pure functions on integers,
//! so that both sides of a replay compute the same.

use serde::{Deserialize, Serialize};

use crate::primitives::{Amount, Energy, OutOfRange};

/// A posted price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// For each kWh.
    pub price_per_kwh: Amount,
    /// For the session.
    pub flat: Amount,
}

impl Tariff {
    /// The price of this much energy, rounded up to a whole unit.
    ///
    /// # Errors
    /// [`OutOfRange`] above the largest amount.
    pub fn price(&self, energy: Energy) -> Result<Amount, OutOfRange> {
        let energy_price = u128::from(self.price_per_kwh.get())
            .saturating_mul(u128::from(energy.get()))
            .div_ceil(u128::from(WH_PER_KWH));
        let energy_price = u64::try_from(energy_price).map_err(|_| OutOfRange("Amount"))?;
        Amount::new(energy_price).checked_add(self.flat)
    }
}

const WH_PER_KWH: u64 = 1000;

/// How a producer prices a request, f(T, e, B).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Pricing {
    /// The posted price, whatever others bid.
    Fixed(Tariff),
    /// The posted price, or less by `step` than the lowest bid of others, but never below `floor`.
    Undercut {
        /// What is asked when nobody is cheaper.
        posted: Tariff,
        /// The least that is worth it.
        floor: Tariff,
        /// How much below the lowest bid of others.
        step: Amount,
    },
}

impl Pricing {
    /// The price to bid for this much energy, given the most recent bids of others. `None` if the
    /// request is not worth a bid: the price would be zero, which the ledger refuses (B6), or
    /// others are below the floor.
    ///
    /// # Errors
    /// [`OutOfRange`] if the price is above the largest amount.
    pub fn price(
        &self,
        energy: Energy,
        others: impl IntoIterator<Item = Amount>,
    ) -> Result<Option<Amount>, OutOfRange> {
        let price = match self {
            Self::Fixed(tariff) => tariff.price(energy)?,
            Self::Undercut { posted, floor, step } => {
                let (posted, floor) = (posted.price(energy)?, floor.price(energy)?);
                let below = others.into_iter().min().map_or(posted, |low| low.saturating_sub(*step));
                if below < floor {
                    return Ok(None);
                }
                posted.min(below)
            }
        };
        Ok((price > Amount::ZERO).then_some(price))
    }
}
