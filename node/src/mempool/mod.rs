//! Transactions that wait for a block.

mod handle;
mod pool;
mod task;

pub use handle::{MempoolHandle, MempoolStatus, Outcome, SubmitError};
pub use pool::{Pool, PoolError, PoolLimits};
pub use task::{Mempool, new};
