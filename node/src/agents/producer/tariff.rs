use evchain_protocol::payment::{BadInstallmentCount, InstallmentCount};
use evchain_protocol::primitives::{Energy, ParseAmountError, Position, RegionId, Span};
use evchain_protocol::session::pricing::{BadBands, Pricing};
use evchain_protocol::state::auction::PaymentKinds;
use serde::{Deserialize, Serialize};

use super::price_table::{PriceTable, check_pricing};

/// What a producer offers, and for how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerTariff {
    /// The region whose requests it answers.
    pub region: RegionId,
    /// Where it delivers.
    pub position: Position,
    /// Whether it stands there.
    pub mobility: Mobility,
    /// What one connector gives at most, in W.
    pub power_w: u32,
    /// How many consumers can charge at a time.
    pub connectors: u16,
    /// What it sells in all from the agent's start on; none for no limit.
    pub energy: Option<Energy>,
    /// What a bid promises besides its price.
    pub reservation: Reservation,
    /// `f_i`.
    pub pricing: Pricing,
    /// How often it lowers its bid for one request at most; each time costs a fee.
    pub max_updates: u32,
    /// How it may be paid.
    pub kinds: PaymentKinds,
    /// The most installments.
    pub max_installments: InstallmentCount,
    /// How long before the window consumers can cancel, rounded up to tenths of a second; none for never.
    pub cancel_lead: Option<Span>,
    /// How long before the window charging may begin.
    pub early_tolerance: Span,
}

/// What a producer keeps free for whom it has bid, until the chain shows whom the consumer pays (P18 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reservation {
    /// A connector: there are never more bids and sold sessions than connectors in windows that overlap.
    Exclusive,
    /// Nothing: it bids while a connector is not sold, and who comes first is served first.
    Overbook,
}

/// Whether a producer stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mobility {
    /// A charging station: its record on the chain says where it is.
    Station,
    /// A vehicle: each bid says where it is, and only the consumer can read it.
    Vehicle,
}

/// A tariff that no producer can work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// Not a tariff file at all; says where and why.
    #[error("{0}")]
    Syntax(String),
    /// A price that is none.
    #[error("{field}: {source}")]
    Price {
        /// Which.
        field: &'static str,
        /// Why.
        source: ParseAmountError,
    },
    /// A number of installments that no payment has.
    #[error("max_installments: {0}")]
    Installments(#[from] BadInstallmentCount),
    /// Prices by the time of day that make no day.
    #[error("price.bands: {0}")]
    Bands(#[from] BadBands),
    /// A value outside its range.
    #[error("{field} is {value}, and it must be {rule}")]
    Range {
        /// Which.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TariffFile {
    region: RegionId,
    latitude: f64,
    longitude: f64,
    mobility: Mobility,
    power_w: u32,
    connectors: u16,
    energy_wh: Option<Energy>,
    reservation: Reservation,
    price: PriceTable,
    payment_kinds: PaymentKinds,
    max_installments: u32,
    cancel_lead_s: Option<u32>,
    early_tolerance_s: u32,
}

const MS_PER_SECOND: u64 = 1000;

impl ProducerTariff {
    /// A tariff file with an explanation of each line.
    pub const EXAMPLE: &'static str = include_str!("tariff.toml");

    /// The tariff that a TOML text describes.
    ///
    /// # Errors
    /// See [`TariffError`].
    pub fn from_toml(text: &str) -> Result<Self, TariffError> {
        let file: TariffFile =
            toml::from_str(text).map_err(|error| TariffError::Syntax(error.to_string().trim().to_owned()))?;
        let seconds = |seconds: u32| Span::new(u64::from(seconds) * MS_PER_SECOND);
        let tariff = Self {
            region: file.region,
            position: Position {
                latitude_e7: degrees_e7("latitude", file.latitude, 90)?,
                longitude_e7: degrees_e7("longitude", file.longitude, 180)?,
            },
            mobility: file.mobility,
            power_w: file.power_w,
            connectors: file.connectors,
            energy: file.energy_wh,
            reservation: file.reservation,
            max_updates: file.price.max_updates(),
            pricing: file.price.pricing()?,
            kinds: file.payment_kinds,
            max_installments: InstallmentCount::new(file.max_installments)?,
            cancel_lead: file.cancel_lead_s.map(seconds),
            early_tolerance: seconds(file.early_tolerance_s),
        };
        tariff.check()?;
        Ok(tariff)
    }

    /// The connectors, if more may be sold at a time than there are.
    pub(super) fn overbooked(&self) -> Option<u16> {
        (self.reservation == Reservation::Overbook).then_some(self.connectors)
    }

    /// Checks what the ledger would refuse in a record or a bid.
    ///
    /// # Errors
    /// The first value that is outside its range.
    pub fn check(&self) -> Result<(), TariffError> {
        above_zero("region", self.region.get().into())?;
        above_zero("power_w", self.power_w.into())?;
        above_zero("connectors", self.connectors.into())?;
        above_zero("energy_wh", self.energy.map_or(1, Energy::get))?;
        check_pricing(&self.pricing)?;
        if self.kinds.is_empty() {
            let rule = "one or more of \"hashes\", \"chain\", \"channel\" and \"single\"";
            return Err(TariffError::Range { field: "payment_kinds", value: "empty".to_owned(), rule });
        }
        if !self.position.is_on_globe() {
            let value = format!("{:?}", self.position);
            return Err(TariffError::Range { field: "position", value, rule: "on the globe" });
        }
        Ok(())
    }
}

/// Refuses zero.
pub(super) fn above_zero(field: &'static str, value: u64) -> Result<(), TariffError> {
    match value {
        0 => Err(TariffError::Range { field, value: "0".to_owned(), rule: "above zero" }),
        _ => Ok(()),
    }
}

/// Degrees in the ledger's unit.
fn degrees_e7(field: &'static str, degrees: f64, most: i32) -> Result<i32, TariffError> {
    // TOML knows "nan" too.
    if degrees.is_nan() || degrees.abs() > f64::from(most) {
        let rule = if most == 90 { "-90 to 90 degrees" } else { "-180 to 180 degrees" };
        return Err(TariffError::Range { field, value: degrees.to_string(), rule });
    }
    #[allow(clippy::cast_possible_truncation)] // at most 1.8e9 in size
    Ok((degrees * 1e7).round() as i32)
}

#[cfg(test)]
mod tests;
