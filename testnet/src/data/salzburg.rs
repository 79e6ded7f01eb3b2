//! The built-in scenario: a day around Salzburg, the papers' example. All of it is made up: names,
//! positions, prices and requests.

use super::error::DataError;
use super::request::{RequestRow, parse_requests};
use super::station::{StationRow, parse_stations};

/// The stations, and vehicles that sell.
///
/// # Errors
/// None: the file is part of the program and tested.
pub fn stations() -> Result<Vec<StationRow>, DataError> {
    parse_stations("salzburg_stations.csv", include_str!("salzburg_stations.csv"))
}

/// The requests of a day.
///
/// # Errors
/// None: the file is part of the program and tested.
pub fn requests() -> Result<Vec<RequestRow>, DataError> {
    parse_requests("salzburg_requests.csv", include_str!("salzburg_requests.csv"))
}
