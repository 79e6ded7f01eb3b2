use std::path::Path;

use evchain_protocol::primitives::{Energy, Position, RegionId, Span, Timestamp};
use evchain_protocol::session::PaymentKind;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::DataError;
use super::station::position;
use super::table::{self, Row, whole, word};

/// A request for energy as a file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// The line in its file.
    pub line: u64,
    /// Who asks, where the file says.
    pub name: Option<String>,
    /// The beginning of T.
    pub arrival: Timestamp,
    /// The end of T, as it was declared. A file may have it before the arrival.
    pub declared_departure: Timestamp,
    /// e.
    pub requested: Energy,
    /// Where, if the file says.
    pub region: Option<RegionId>,
    /// Where exactly, if the file says.
    pub position: Option<Position>,
    /// What asks.
    pub kind: ConsumerKind,
    /// How it pays, if the file says.
    pub payment: Option<PaymentKind>,
}

/// What buys the energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerKind {
    /// A vehicle that charges.
    Vehicle,
    /// The grid, from vehicles.
    Grid,
}

impl RequestRow {
    /// How long T is, zero where it ends before it begins.
    pub fn window(&self) -> Span {
        self.declared_departure.since(self.arrival)
    }
}

const REQUIRED: &[&str] = &["arrival_utc", "declared_departure_utc", "requested_wh"];

/// Reads the requests of a file in the layout of ACN-Data's. The columns `name`, `region_id`, `lat`
/// and `lon`, `consumer` (`vehicle` or `grid`) and `payment` (`locks`, `chain`, `channel` or
/// `single`) may be added.
///
/// # Errors
/// See [`DataError`]; one bad row refuses the file.
pub fn read_requests(path: &Path) -> Result<Vec<RequestRow>, DataError> {
    table::read_file(path, REQUIRED, parse)
}

pub(super) fn parse_requests(name: &str, text: &str) -> Result<Vec<RequestRow>, DataError> {
    table::read(name, text.as_bytes(), REQUIRED, parse)
}

fn parse(row: &Row) -> Result<RequestRow, DataError> {
    let region = row.optional_value("region_id", whole(1, u16::MAX.into()))?;
    let kinds = &[("vehicle", ConsumerKind::Vehicle), ("grid", ConsumerKind::Grid)];
    let payments = &[
        ("locks", PaymentKind::Hashes),
        ("chain", PaymentKind::Chain),
        ("channel", PaymentKind::Channel),
        ("single", PaymentKind::Single),
    ];
    Ok(RequestRow {
        line: row.line(),
        name: row.optional("name").map(str::to_owned),
        arrival: row.value("arrival_utc", moment)?,
        declared_departure: row.value("declared_departure_utc", moment)?,
        requested: Energy::new(row.value("requested_wh", whole(0, 10_000_000))?),
        region: region.and_then(|region| u16::try_from(region).ok()).map(RegionId::new),
        position: row.optional("lat").map(|_| position(row)).transpose()?,
        kind: row.optional_value("consumer", word(kinds))?.unwrap_or(ConsumerKind::Vehicle),
        payment: row.optional_value("payment", word(payments))?,
    })
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let parse = || {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp::new)
    };
    parse().ok_or_else(|| "is not a time since 1970 such as 2019-05-01T08:18:45Z".to_owned())
}
