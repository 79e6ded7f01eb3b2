//! Goal: the testnet does what its users see, and its validators bear crashes and garbage.
//! Method: the programs themselves, as real processes.

mod hostile;
mod processes;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;
mod tables;
