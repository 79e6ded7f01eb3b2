//! Programs that act for a participant: one sells energy, one buys it, one answers for sellers that are
//! away. `docs/agents.md` tells what they do and what they survive.
//!
//! They know the chain by the RPC client alone. Each is one future without global state, so that
//! many can run in one process.

mod address;
mod chain;
pub mod consumer;
mod error;
mod event;
mod journal;
mod line;
mod meter;
pub mod producer;
mod report;
pub mod sessions;
mod timing;
pub mod watchtower;

pub use error::AgentError;
pub use event::{AgentEvent, Observer, Warning};
pub use report::{
    ChargeOutcome, ChargeReport, ConsideredBid, Phase, PhaseReport, SessionReport, TransactionReport,
};
