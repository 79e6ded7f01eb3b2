//! The ledger as this node has it: one thread owns it, everybody else sends it messages or reads
//! what is final.

mod error;
mod handle;
mod judge;
mod pace;
mod packing;
mod payload;
mod pending;
mod reader;
mod start;
mod state;
mod worker;

pub use error::{ChainError, CheckError, OpenError, OtherThanTrusted};
pub use handle::{BlockLimits, BuildOrder, Built, ChainHandle, EntryProof};
pub use judge::Judge;
pub use reader::{ChainReader, FinalBlock, FinalTransaction, StateView};
pub use start::{Chain, OpenedChain};

/// What reading what is final can fail with.
pub use crate::store::StoreError as ReadError;
