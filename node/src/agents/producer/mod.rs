//! Sells energy: bids for requests, delivers, and collects the money.

mod config;
mod run;
mod tariff;

pub use config::{ProducerConfig, ProducerReport};
pub use run::run;
pub use tariff::{Mobility, ProducerTariff, TariffError};
