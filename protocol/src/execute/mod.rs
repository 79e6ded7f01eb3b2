//! Executing transactions, deadlines and blocks: the state transition.

mod block;
mod context;
mod epoch;
mod ledger;
mod settle;
mod standing;

pub use block::{
    BlockError, BuiltBlock, ExecutedBlock, InvalidBlock, Parent, build_block, event_leaf, execute_block,
};
pub use context::BlockContext;
pub use epoch::MAX_OFFENCES;
pub(crate) use ledger::Sender;
pub use ledger::{ExecuteError, Ledger};
pub use settle::MAX_DUE_PER_BLOCK;
pub use standing::StandingReason;
