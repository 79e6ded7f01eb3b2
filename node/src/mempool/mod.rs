//! Transactions that wait for a block, by the rules of `docs/mempool.md`.

mod candidates;
mod contest;
mod handle;
mod lane;
mod limits;
mod pool;
mod repeats;
mod sender;
mod suspects;
mod task;

pub use candidates::{Batch, Candidates};
pub use handle::{Accepted, MempoolHandle, MempoolStatus, Outcome, SubmitError};
pub use lane::{Lane, Rank};
pub use limits::{PoolError, PoolLimits};
pub use pool::{Change, Pool, Ready, Terms};
pub use task::{Mempool, new};
