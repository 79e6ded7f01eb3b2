//! The command line.

mod args;
mod exit;
mod fault;
mod folder;
mod latency;
mod scenario;
mod tables;
mod up;

pub use args::Cli;
pub use exit::main;
