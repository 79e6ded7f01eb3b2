//! Faults that real validators have to bear, under load, and what became of the chain.

mod agents;
mod authorities;
mod byzantine;
mod chance;
mod clock;
mod crash;
mod disk;
mod error;
mod hostile;
mod http;
mod keys;
mod links;
mod load;
mod netns;
mod report;
mod run;
mod signal;
mod switch;
#[cfg(test)]
mod tests;
mod tool;
mod trial;

pub use agents::Cases;
pub use error::FaultError;
pub use hostile::{Attack, AttackFigures};
pub use report::{FaultKind, FaultReport};
pub use run::{FaultOptions, Outcome, run};
