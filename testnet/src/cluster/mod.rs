//! Validators as real processes on this machine.

mod chain_files;
mod error;
mod launch;
mod ports;
mod process;
#[cfg(test)]
mod tests;

pub use chain_files::{ChainFiles, Participant};
pub use error::ClusterError;
pub use launch::{Cluster, ClusterOptions, Place};
pub(crate) use ports::free_ports;
pub use process::{Incident, Validator};
