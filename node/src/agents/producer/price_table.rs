//! The part of a tariff file that says how requests are priced.

use evchain_protocol::primitives::Amount;
use evchain_protocol::session::pricing::{Band, Pricing, Tariff, TimeOfUse};
use serde::Deserialize;

use super::tariff::{TariffError, above_zero};

/// How often a bid is lowered where the file does not say.
const USUAL_UPDATES: u32 = 20;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum PriceTable {
    Fixed {
        per_kwh: String,
        flat: Option<String>,
    },
    Undercut {
        posted: TariffTable,
        floor: TariffTable,
        step: String,
        max_updates: Option<u32>,
    },
    TimeOfUse {
        bands: Vec<BandTable>,
        #[serde(default)]
        utc_offset_minutes: i16,
        flat: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TariffTable {
    per_kwh: String,
    flat: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BandTable {
    from: String,
    per_kwh: String,
}

impl PriceTable {
    pub(super) fn max_updates(&self) -> u32 {
        match self {
            Self::Undercut { max_updates, .. } => max_updates.unwrap_or(USUAL_UPDATES),
            Self::Fixed { .. } | Self::TimeOfUse { .. } => 0,
        }
    }

    pub(super) fn pricing(self) -> Result<Pricing, TariffError> {
        Ok(match self {
            Self::Fixed { per_kwh, flat } => {
                Pricing::Fixed(tariff(("price.per_kwh", &per_kwh), ("price.flat", flat.as_deref()))?)
            }
            Self::Undercut { posted, floor, step, .. } => Pricing::Undercut {
                posted: tariff(
                    ("price.posted.per_kwh", &posted.per_kwh),
                    ("price.posted.flat", posted.flat.as_deref()),
                )?,
                floor: tariff(
                    ("price.floor.per_kwh", &floor.per_kwh),
                    ("price.floor.flat", floor.flat.as_deref()),
                )?,
                step: amount("price.step", &step)?,
            },
            Self::TimeOfUse { bands, utc_offset_minutes, flat } => {
                let bands = bands.iter().map(band).collect::<Result<_, _>>()?;
                let flat = amount("price.flat", flat.as_deref().unwrap_or("0"))?;
                Pricing::TimeOfUse(TimeOfUse::new(bands, utc_offset_minutes, flat)?)
            }
        })
    }
}

/// Refuses a price that no bid can have, and a floor that is none.
pub(super) fn check_pricing(pricing: &Pricing) -> Result<(), TariffError> {
    let dearest = |tariff: &Tariff| tariff.price_per_kwh.max(tariff.flat).get();
    match pricing {
        Pricing::Fixed(tariff) => above_zero("price.per_kwh and flat", dearest(tariff)),
        Pricing::Undercut { posted, floor, step } => {
            above_zero("price.posted", dearest(posted))?;
            above_zero("price.floor", dearest(floor))?;
            above_zero("price.step", step.get())?;
            if floor.price_per_kwh <= posted.price_per_kwh && floor.flat <= posted.flat {
                return Ok(());
            }
            let value = format!("{} per kWh and {}", floor.price_per_kwh, floor.flat);
            Err(TariffError::Range { field: "price.floor", value, rule: "nowhere above price.posted" })
        }
        Pricing::TimeOfUse(times) => above_zero("price.bands and flat", u64::from(!times.is_free())),
    }
}

fn tariff(
    (per_kwh_field, per_kwh): (&'static str, &str),
    (flat_field, flat): (&'static str, Option<&str>),
) -> Result<Tariff, TariffError> {
    let price_per_kwh = amount(per_kwh_field, per_kwh)?;
    Ok(Tariff { price_per_kwh, flat: amount(flat_field, flat.unwrap_or("0"))? })
}

fn amount(field: &'static str, text: &str) -> Result<Amount, TariffError> {
    text.parse().map_err(|source| TariffError::Price { field, source })
}

fn band(table: &BandTable) -> Result<Band, TariffError> {
    Ok(Band {
        from_minute: minute(&table.from)?,
        price_per_kwh: amount("price.bands.per_kwh", &table.per_kwh)?,
    })
}

/// The minute of the day that a time such as `06:30` is.
fn minute(text: &str) -> Result<u16, TariffError> {
    let two_digits = |part: &str| match part.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(u16::from(tens - b'0') * 10 + u16::from(ones - b'0'))
        }
        _ => None,
    };
    text.split_once(':')
        .and_then(|(hours, minutes)| Some((two_digits(hours)?, two_digits(minutes)?)))
        .filter(|(hours, minutes)| *hours < 24 && *minutes < 60)
        .map(|(hours, minutes)| hours * 60 + minutes)
        .ok_or_else(|| TariffError::Range {
            field: "price.bands.from",
            value: format!("'{text}'"),
            rule: "a time of day such as 06:30",
        })
}
