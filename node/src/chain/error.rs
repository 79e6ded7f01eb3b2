use evchain_protocol::genesis::GenesisError;
use evchain_protocol::light::Checkpoint;
use evchain_protocol::transaction::RejectReason;

use crate::store::StoreError;

/// A final block stands where the operator trusts another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "block {found} is final by its signatures, and --trust names {trusted}: these are two histories, signed with the same keys. Ask several operators for their checkpoints. If --trust is right remove the data folder, whose blocks are of the other history, and start again with other peers"
)]
pub struct OtherThanTrusted {
    /// What is final by its signatures.
    pub found: Checkpoint,
    /// What the operator trusts.
    pub trusted: Checkpoint,
}

/// The ledger could not do what it was asked to. Our failure.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block was to be built on, or executed on, a block that was not executed here.
    #[error("the parent block is not executed here")]
    UnknownParent,
    /// The final blocks are of another history.
    #[error(transparent)]
    OtherHistory(#[from] OtherThanTrusted),
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
    /// The chain is of another history.
    #[error(transparent)]
    OtherHistory(#[from] OtherThanTrusted),
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
