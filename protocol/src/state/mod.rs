//! The state of the ledger and its commitment.

pub mod tree;
