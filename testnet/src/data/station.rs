use std::path::Path;

use evchain_protocol::primitives::{Amount, Position, RegionId};
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::table::{self, Row, decimal, whole, word};

/// A producer as a file describes it: a charging station, or a vehicle that sells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationRow {
    /// The line in its file.
    pub line: u64,
    /// Its number in the register.
    pub station: u64,
    /// What to call it.
    pub name: String,
    /// Where; 0 in the file means nowhere.
    pub region: Option<RegionId>,
    /// Where exactly.
    pub position: Position,
    /// How many can charge at a time.
    pub connectors: u16,
    /// What one connector gives at most, in W.
    pub power_w: u32,
    /// What a kWh costs.
    pub price_per_kwh: Amount,
    /// How far the price can be trusted.
    pub price_source: PriceSource,
    /// What it is.
    pub kind: ProducerKind,
}

/// Where a price is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceSource {
    /// Its operator posted it.
    Posted,
    /// It was drawn from prices that others posted: never a fact about this station.
    Imputed,
    /// It was made up for a demonstration, with everything else about the station.
    Invented,
}

/// What sells the energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProducerKind {
    /// A charging station with a public record.
    Station,
    /// A vehicle, which says with each bid where it is.
    Vehicle,
}

const REQUIRED: &[&str] =
    &["station", "region_id", "lat", "lon", "points", "point_kw_max", "price_eur_per_kwh", "price_source"];

/// Reads the stations of a file in the layout of the German register's. The columns `name` and
/// `kind` (`station` or `vehicle`) may be added.
///
/// # Errors
/// See [`DataError`]; one bad row refuses the file.
pub fn read_stations(path: &Path) -> Result<Vec<StationRow>, DataError> {
    table::read_file(path, REQUIRED, parse)
}

pub(super) fn parse_stations(name: &str, text: &str) -> Result<Vec<StationRow>, DataError> {
    table::read(name, text.as_bytes(), REQUIRED, parse)
}

fn parse(row: &Row) -> Result<StationRow, DataError> {
    let station = row.value("station", whole(0, u64::MAX))?;
    let region = row.value("region_id", whole(0, u16::MAX.into()))?;
    // The bounds are those of the narrower types, so nothing is cut off.
    let power_w = row.value("point_kw_max", decimal(3, 1, 10_000_000))?;
    let price = row.value("price_eur_per_kwh", decimal(4, 1, 1_000_000))?;
    let sources = &[
        ("posted", PriceSource::Posted),
        ("imputed", PriceSource::Imputed),
        ("invented", PriceSource::Invented),
    ];
    let kinds = &[("station", ProducerKind::Station), ("vehicle", ProducerKind::Vehicle)];
    Ok(StationRow {
        line: row.line(),
        station,
        name: row.optional("name").map_or_else(|| format!("station {station}"), str::to_owned),
        region: u16::try_from(region).ok().filter(|region| *region > 0).map(RegionId::new),
        position: position(row)?,
        connectors: u16::try_from(row.value("points", whole(1, 1000))?).unwrap_or(u16::MAX),
        power_w: u32::try_from(power_w).unwrap_or(u32::MAX),
        price_per_kwh: Amount::new(price.unsigned_abs()),
        price_source: row.value("price_source", word(sources))?,
        kind: row.optional_value("kind", word(kinds))?.unwrap_or(ProducerKind::Station),
    })
}

/// The position in the columns `lat` and `lon`.
pub(super) fn position(row: &Row) -> Result<Position, DataError> {
    let latitude = row.value("lat", decimal(7, -900_000_000, 900_000_000))?;
    let longitude = row.value("lon", decimal(7, -1_800_000_000, 1_800_000_000))?;
    Ok(Position {
        latitude_e7: i32::try_from(latitude).unwrap_or_default(),
        longitude_e7: i32::try_from(longitude).unwrap_or_default(),
    })
}
