//! The producer's price, which the papers leave to it: f(T, e, B) (P18 3.2). Pure functions on integers,
//! so that both sides of a replay compute the same.

use serde::{Deserialize, Serialize};

use crate::primitives::{Amount, Energy, OutOfRange, Span, Timestamp, Window};

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
            .div_ceil(WH_PER_KWH);
        amount(energy_price)?.checked_add(self.flat)
    }
}

const WH_PER_KWH: u128 = 1000;

fn amount(units: u128) -> Result<Amount, OutOfRange> {
    u64::try_from(units).map(Amount::new).map_err(|_| OutOfRange("Amount"))
}

/// How a producer prices a request, f(T, e, B).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pricing {
    /// The posted price, whatever others bid.
    Fixed(Tariff),
    /// The posted price, or less by `step` than the lowest bid of others, down to `floor`.
    Undercut {
        /// What is asked when nobody is cheaper.
        posted: Tariff,
        /// The least that is worth it.
        floor: Tariff,
        /// How much below the lowest bid of others.
        step: Amount,
    },
    /// The posted price of the hours in which the energy flows, whatever others bid.
    TimeOfUse(TimeOfUse),
}

impl Pricing {
    /// The price to bid for this much energy in this window, where `lowest` is the lowest of the most
    /// recent bids of others. `None` where it would be zero, which the ledger refuses (B6).
    ///
    /// Who undercuts and is at its floor bids that, although others are cheaper: consumers weigh the
    /// way as well.
    ///
    /// # Errors
    /// [`OutOfRange`] if the price is above the largest amount.
    pub fn price(
        &self,
        window: Window,
        energy: Energy,
        lowest: Option<Amount>,
    ) -> Result<Option<Amount>, OutOfRange> {
        let price = match self {
            Self::Fixed(tariff) => tariff.price(energy)?,
            Self::Undercut { posted, floor, step } => {
                let (posted, floor) = (posted.price(energy)?, floor.price(energy)?);
                lowest.map_or(posted, |lowest| lowest.saturating_sub(*step).max(floor).min(posted))
            }
            Self::TimeOfUse(times) => times.price(window, energy)?,
        };
        Ok((price > Amount::ZERO).then_some(price))
    }

    /// Whether what others bid makes a difference.
    pub const fn heeds_others(&self) -> bool {
        matches!(self, Self::Undercut { .. })
    }
}

/// Prices by the local time of day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOfUse {
    bands: Vec<Band>,
    utc_offset_minutes: i16,
    flat: Amount,
}

/// A part of the day, from its begin to that of the next, or to midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Its begin, in minutes after midnight, local time.
    pub from_minute: u16,
    /// What a kWh costs in it.
    pub price_per_kwh: Amount,
}

/// Bands that do not make a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBands {
    /// The day's first minutes have no price.
    #[error("the first band must begin at midnight")]
    NotFromMidnight,
    /// Bands that stand in no order.
    #[error("each band must begin after the one before it and before midnight")]
    NotAscending,
    /// More than anybody needs.
    #[error("there are {0} bands, and a day has at most {MAX_BANDS}")]
    TooMany(usize),
    /// No place on earth has this local time.
    #[error("the offset from UTC is {0} minutes, and it must be from -840 to 840")]
    Offset(i16),
}

/// The most bands in a day: one for each quarter of an hour.
pub const MAX_BANDS: usize = 96;

const MINUTES_PER_DAY: u16 = 1_440;
const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_DAY: u64 = 86_400_000;
/// The farthest that local time is from UTC.
const MAX_OFFSET_MINUTES: u16 = 840;

impl TimeOfUse {
    /// Prices for each part of the day, where local time is `utc_offset_minutes` ahead of UTC, and
    /// `flat` for the session.
    ///
    /// # Errors
    /// See [`BadBands`].
    pub fn new(bands: Vec<Band>, utc_offset_minutes: i16, flat: Amount) -> Result<Self, BadBands> {
        if bands.len() > MAX_BANDS {
            return Err(BadBands::TooMany(bands.len()));
        }
        if bands.first().is_none_or(|first| first.from_minute != 0) {
            return Err(BadBands::NotFromMidnight);
        }
        let begins = bands.iter().map(|band| band.from_minute);
        let nexts = begins.clone().skip(1).chain([MINUTES_PER_DAY]);
        if begins.zip(nexts).any(|(begin, next)| begin >= next) {
            return Err(BadBands::NotAscending);
        }
        if utc_offset_minutes.unsigned_abs() > MAX_OFFSET_MINUTES {
            return Err(BadBands::Offset(utc_offset_minutes));
        }
        Ok(Self { bands, utc_offset_minutes, flat })
    }

    /// The price of this much energy, spread evenly over the window: each band has the share of it
    /// that it has of the window. Rounded up to a whole unit, once.
    ///
    /// # Errors
    /// [`OutOfRange`] for a window without length, or above the largest amount.
    pub fn price(&self, window: Window, energy: Energy) -> Result<Amount, OutOfRange> {
        let length = u128::from(window.length().get());
        if length == 0 {
            return Err(OutOfRange("Window"));
        }
        let weighted = self.parts(window)?.into_iter().try_fold(0_u128, |sum, (price, part)| {
            sum.checked_add(u128::from(price.get()).checked_mul(u128::from(part.get()))?)
        });
        let price = weighted
            .and_then(|weighted| weighted.checked_mul(u128::from(energy.get())))
            .ok_or(OutOfRange("Amount"))?;
        amount(price.div_ceil(length.saturating_mul(WH_PER_KWH)))?.checked_add(self.flat)
    }

    /// Whether nothing costs anything.
    pub fn is_free(&self) -> bool {
        self.flat == Amount::ZERO && self.bands.iter().all(|band| band.price_per_kwh == Amount::ZERO)
    }

    /// For each band its price and how much of the window lies in it.
    fn parts(&self, window: Window) -> Result<Vec<(Amount, Span)>, OutOfRange> {
        let (start, end) = (self.local(window.start)?, self.local(window.end)?);
        let nexts = self.bands.iter().skip(1).map(|band| band.from_minute).chain([MINUTES_PER_DAY]);
        Ok(self
            .bands
            .iter()
            .zip(nexts)
            .map(|(band, next)| {
                let (from, to) = (minute_ms(band.from_minute), minute_ms(next));
                let until = |moment| time_within(from, to, moment);
                (band.price_per_kwh, Span::new(until(end).saturating_sub(until(start))))
            })
            .collect())
    }

    /// The local time in ms, with a day added, so that it is never below zero.
    fn local(&self, moment: Timestamp) -> Result<u64, OutOfRange> {
        let offset = i64::from(self.utc_offset_minutes).saturating_mul(MS_PER_MINUTE);
        moment
            .get()
            .checked_add(MS_PER_DAY)
            .and_then(|later| later.checked_add_signed(offset))
            .ok_or(OutOfRange("Timestamp"))
    }
}

fn minute_ms(minute: u16) -> u64 {
    u64::from(minute).saturating_mul(MS_PER_MINUTE.unsigned_abs())
}

/// How much of the time from zero to `moment` lies between `from` and `to` of a day.
fn time_within(from: u64, to: u64, moment: u64) -> u64 {
    let (days, today) = (moment / MS_PER_DAY, moment % MS_PER_DAY);
    let whole_days = days.saturating_mul(to.saturating_sub(from));
    whole_days.saturating_add(today.clamp(from, to).saturating_sub(from))
}
