//! What a participant keeps to itself: its seed and the keys from it, and other secret files; and what its
//! key has signed, if it is an authority's.

mod error;
mod file;
pub mod private_file;
mod sender;
mod voting_record;

#[cfg(test)]
mod tests;

pub use error::WalletError;
pub use file::{MAIN_KEY, Wallet};
pub use sender::{DEFAULT_WAIT, SendError, Sender};
pub use voting_record::{RecordError, Recorded, RecordedVotes, VotingRecord};
