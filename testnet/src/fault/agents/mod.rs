//! Agents that are killed (SIGKILL) between any two records of their journals, and come back.

mod case;
mod fates;
mod journals;
mod judge;
mod plan;
mod process;
mod run;
#[cfg(test)]
mod tests;

pub use plan::Cases;
pub(super) use run::kill_agents;
