//! Buys energy: asks, chooses, pays in installments, and takes back what is left.

mod attempt;
mod bidding;
mod charge;
mod config;
mod evaluate;
mod link;
mod record;
mod recorder;
mod run;
mod session;

pub use config::{BiddingEnd, ChargeOrder, ConsumerConfig, DecideNow, Deposit, USUAL_MIN_STATIONS};
pub(super) use record::{ChargeRecord, Step};
pub(super) use run::JOURNAL_PREFIX;
pub use run::{resume, resume_named, run};
