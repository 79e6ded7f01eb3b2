use evchain_protocol::genesis::GenesisError;
use evchain_protocol::transaction::RejectReason;

use crate::store::StoreError;

/// The ledger could not do what it was asked to. Our failure.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block was to be built on, or executed on, a block that was not executed here.
    #[error("the parent block is not executed here")]
    UnknownParent,
    /// A value left its range where no input should get it there.
    #[error("internal error in the ledger: {0}")]
    Internal(String),
    /// The ledger's thread has ended.
    #[error("the ledger has stopped")]
    Stopped,
}

/// Why a transaction cannot stand in the next block.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It breaks a rule of the ledger.
    #[error(transparent)]
    Rejected(#[from] RejectReason),
    /// We failed.
    #[error(transparent)]
    Failed(#[from] ChainError),
}

/// Why the chain in a folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The genesis.
    #[error("the genesis is not usable: {0}")]
    Genesis(#[from] GenesisError),
    /// The stored state is not the one that the newest final block commits to.
    #[error(
        "the state in the database has the root {found}, but the newest final block says {expected}. Remove the folder and let the node catch up from its peers"
    )]
    WrongStateRoot {
        /// The root of what is stored.
        found: String,
        /// The root in the header.
        expected: String,
    },
}
