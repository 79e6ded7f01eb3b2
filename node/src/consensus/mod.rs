//! The shell around the consensus engine: feeds it and carries out what it wants done.

mod asking;
mod blame;
mod event_loop;
mod gate;
mod inbox;
mod log;
mod proposer;
mod question;
mod serving;
mod turn;
mod verdict;
mod voting;

#[cfg(test)]
mod tests;

pub use event_loop::{EventLoop, Halted};
pub use gate::take_frames;
pub use inbox::{ConsensusHandle, ConsensusStatus, GossipedFinalization};
pub use log::{ConsensusLog, RecoveredLog};
pub use proposer::Proposer;
pub use serving::Serving;
pub use turn::{EpochTurn, timing};
pub use voting::{Standing, VIEWS_RESERVED, VotingError, VotingRight};
