//! Sells energy: bids for requests, delivers, and collects the money.

mod bidder;
mod config;
mod greet;
mod run;
mod session;
mod tariff;

pub use config::{ProducerConfig, ProducerReport};
pub use run::run;
pub use tariff::{Mobility, ProducerTariff, TariffError};
