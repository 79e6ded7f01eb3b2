//! Sells energy: bids for requests, delivers, and collects the money.

mod abort;
mod bidder;
mod config;
mod customers;
mod greet;
mod guarding;
mod price_table;
mod recover;
mod run;
mod session;
mod slots;
mod tariff;

pub use abort::abort;
pub use config::{ProducerConfig, ProducerReport};
pub use run::run;
pub use tariff::{Mobility, ProducerTariff, Reservation, TariffError};
