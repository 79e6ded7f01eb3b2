//! What happens on the chain of a testnet: who sells, who asks when, and what comes of it.

mod agents;
mod faults;
mod plan;
mod recorder;
mod run;
#[cfg(test)]
mod tests;

pub use agents::participants;
pub use faults::Faults;
pub use plan::{
    Consumer, PaymentMix, Plan, PlanError, PlanOptions, Producer, Skipped, Speed, window_addition,
};
pub use recorder::{Recorder, Records, Settled, Warned};
pub use run::{Agents, RunError, SessionResult, run};
