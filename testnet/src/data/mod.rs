//! What a scenario is made of: stations and requests, from CSV files or built in.

mod error;
mod request;
pub mod salzburg;
mod station;
mod table;
#[cfg(test)]
mod tests;

pub use error::DataError;
pub use request::{ConsumerKind, RequestRow, read_requests};
pub use station::{PriceSource, ProducerKind, StationRow, read_stations};
