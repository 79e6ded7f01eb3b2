//! Buys energy: asks, chooses, pays in installments, and takes back what is left.

mod config;
mod run;

pub use config::{ChargeOrder, ConsumerConfig, Deposit};
pub use run::{resume, run};
