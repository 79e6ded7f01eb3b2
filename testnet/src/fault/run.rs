use std::path::PathBuf;
use std::time::Duration;

use super::agents::{Cases, kill_agents};
use super::error::FaultError;
use super::hostile::{Attack, hostile};
use super::report::{FaultKind, FaultReport};
use super::{authorities, byzantine, clock, crash, disk, keys, links, signal};
use crate::progress::Progress;

/// How to try a fault. There are always four validators.
#[derive(Debug, Clone)]
pub struct FaultOptions {
    /// A folder without a chain.
    pub dir: PathBuf,
    /// The node's program.
    pub node_bin: PathBuf,
    /// How many processes are started again at least, for [`FaultKind::Restarts`].
    pub restarts: u64,
    /// How long one stands still, for [`FaultKind::Stop`].
    pub pause: Duration,
    /// Which pairs of agents, for [`FaultKind::Agents`].
    pub cases: Cases,
    /// How long each attack lasts, for [`FaultKind::Hostile`].
    pub attack: Duration,
    /// Which attacks, for [`FaultKind::Hostile`].
    pub attacks: Vec<Attack>,
    /// Decides who is killed and when, and which packets are lost.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It was tried; the report says whether everything held.
    Done(Box<FaultReport>),
    /// This machine or user cannot try it, and why.
    Skipped(String),
}

/// Tries one kind of fault on a new chain with real validators under load.
///
/// # Errors
/// See [`FaultError`]. A promise that does not hold is no error but stands in the report.
pub async fn run(
    kind: FaultKind,
    options: &FaultOptions,
    progress: &Progress,
) -> Result<Outcome, FaultError> {
    let done = |report: FaultReport| Outcome::Done(Box::new(report));
    match kind {
        FaultKind::Restarts => crash::restarts(options, progress).await.map(done),
        FaultKind::Stop => signal::stop(options, progress).await.map(done),
        FaultKind::DiskFull => disk::full(options, progress).await,
        FaultKind::ReadOnly => disk::read_only(options, progress).await,
        FaultKind::Clock => clock::ahead(options, progress).await,
        FaultKind::Wipe => keys::wipe(options, progress).await.map(done),
        FaultKind::Twin => keys::twin(options, progress).await.map(done),
        FaultKind::Byzantine => byzantine::byzantine(options, progress).await.map(done),
        FaultKind::Partition => links::partition(options, progress).await,
        FaultKind::Loss => links::loss(options, progress).await,
        FaultKind::Authorities => authorities::grow_and_shrink(options, progress).await.map(done),
        FaultKind::Hostile => hostile(options, progress).await.map(done),
        FaultKind::Agents => kill_agents(options, progress).await.map(done),
    }
}
