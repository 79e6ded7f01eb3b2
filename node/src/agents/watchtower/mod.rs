//! Answers on the chain for producers that are away, with states that both sides signed.

mod batch;
mod clients;
mod config;
mod posts;
mod run;

pub use config::{WatchConfig, WatchReport};
pub use run::run;
