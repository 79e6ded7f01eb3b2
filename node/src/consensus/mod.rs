//! The shell around the consensus engine: feeds it and carries out what it wants done.

mod event_loop;
mod log;
mod proposer;
mod turn;
mod voting;

pub use event_loop::{ConsensusHandle, ConsensusStatus, EventLoop, Halted, Inbound};
pub use log::{ConsensusLog, RecoveredLog};
pub use proposer::Proposer;
pub use turn::{EpochTurn, timing};
pub use voting::{Standing, VIEWS_RESERVED, VotingError, VotingRight};
