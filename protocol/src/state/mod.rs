//! The state of the ledger and its commitment.

pub mod account;
pub mod auction;
pub mod authority;
pub mod changes;
pub mod channel;
pub mod governance;
pub mod key;
pub mod memory;
pub mod overlay;
pub mod payment;
pub mod read;
pub mod record;
pub mod tree;
pub mod value;
