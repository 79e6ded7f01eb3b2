//! Answers on the chain for producers that are away, with states that both sides signed.

mod clients;
mod config;
mod run;

pub use config::{WatchConfig, WatchReport};
pub use run::run;
