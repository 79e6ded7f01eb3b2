//! The state of the ledger and its commitment.

pub mod account;
pub mod auction;
pub mod authority;
pub mod channel;
pub mod key;
pub mod payment;
pub mod tree;
pub mod value;
