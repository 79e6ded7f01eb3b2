use std::path::Path;

use evchain_consensus::wal::LogRecord;
use evchain_protocol::crypto::{ChainId, PublicKey};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};
use tokio::task::block_in_place;
use tracing::{info, warn};

use super::super::log::ConsensusLog;
use super::judge::{Doubt, Found, Judgement, VIEWS_RESERVED, judge};
use crate::clock;
use crate::store::StoreError;
use crate::wallet::{RecordError, Recorded, RecordedVotes, VotingRecord};

/// What this node's key may vote on, and the notes that it must make before.
#[derive(Debug)]
pub struct VotingRight {
    key: PublicKey,
    /// None where the node only observes, by its operator's word.
    notes: Option<Notes>,
}

#[derive(Debug)]
struct Notes {
    record: VotingRecord,
    chain: ChainId,
    votes: RecordedVotes,
    doubt: Option<Doubt>,
}

/// What a start needs to know of the chain.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The chain.
    pub chain: ChainId,
    /// The epoch that the database is in.
    pub epoch: Epoch,
    /// When it began: the time of the block that it builds on.
    pub began: Timestamp,
    /// The height of its last block.
    pub last_height: Height,
    /// The newest final height.
    pub height: Height,
    /// The view of the newest finalization of this epoch, 0 if there is none.
    pub final_view: View,
    /// Whether the key is an authority's in it.
    pub is_member: bool,
}

/// Why it is not known whether the key may vote.
#[derive(Debug, thiserror::Error)]
pub enum VotingError {
    /// The record beside the key.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VotingRight {
    /// Of a node that signs nothing. Nothing is noted either.
    pub const fn observer(key: PublicKey) -> Self {
        Self { key, notes: None }
    }

    /// Judges what this start finds, and counts it in the database and beside the key. `records` are the
    /// log's. With `trusts_database` it holds all that the key signed, whatever was found.
    ///
    /// # Errors
    /// See [`VotingError`].
    pub fn at_start(
        key_file: &Path,
        key: PublicKey,
        standing: Standing,
        log: &mut ConsensusLog,
        records: &[LogRecord],
        trusts_database: bool,
    ) -> Result<Self, VotingError> {
        let record = VotingRecord::beside(key_file);
        let found = Found {
            recorded: record.read(standing.chain)?,
            starts: log.starts_of(key)?,
            epoch: standing.epoch,
            began: standing.began,
            seen: standing.final_view.max(newest_vote(records, standing.epoch)),
            now: clock::now(),
        };
        let mut judgement = judge(&found);
        if trusts_database {
            let Judgement { votes: RecordedVotes { starts, .. }, .. } = judgement;
            let view = found.seen.saturating_add(VIEWS_RESERVED);
            let votes = RecordedVotes { starts, epoch: found.epoch, view, unknown_before: None };
            judgement = Judgement { votes, doubt: None };
        }
        let Judgement { votes, doubt } = judgement;
        if doubt.is_some() {
            // The record first: a crash in between leaves a database that does not fit, as it did before.
            record.replace(standing.chain, found.recorded, votes)?;
            log.claim(key, votes.starts)?;
        } else {
            // The database first: a crash in between leaves it one ahead, which no older copy is. The same
            // count is tried again then, so that no row of such crashes leaves it further ahead.
            log.claim(key, votes.starts)?;
            record.replace(standing.chain, found.recorded, votes)?;
        }
        if let Some(doubt) =
            doubt.filter(|_| standing.is_member || matches!(found.recorded, Recorded::Votes(_)))
        {
            say_why(doubt, &votes, &standing);
        }
        Ok(Self { key, notes: Some(Notes { record, chain: standing.chain, votes, doubt }) })
    }

    /// Whether the key may vote in the epoch in which the node has started.
    pub const fn may_vote(&self) -> bool {
        matches!(self.notes, Some(Notes { doubt: None, .. }))
    }

    /// Whether the key may vote in this epoch, which has begun with a block of this time while the node ran.
    /// If so, that it does is noted beside the key and in the database, with all that is in the database,
    /// when this returns.
    ///
    /// # Errors
    /// See [`VotingError`].
    pub fn begin_epoch(
        &mut self,
        epoch: Epoch,
        began: Timestamp,
        log: &mut ConsensusLog,
    ) -> Result<bool, VotingError> {
        let Some(notes) = &mut self.notes else { return Ok(false) };
        let RecordedVotes { starts, epoch: last, unknown_before, .. } = notes.votes;
        if epoch <= last || unknown_before.is_some_and(|moment| began <= moment) {
            let doubt = notes.doubt.unwrap_or(Doubt::BegunBefore);
            warn!(%epoch, reason = %doubt, "node: this key is an authority's and does not vote in this epoch yet");
            return Ok(false);
        }
        // Synced first, or a crash could leave a note of an epoch that the database has not reached.
        log.claim(self.key, starts)?;
        notes.note(RecordedVotes { starts, epoch, view: VIEWS_RESERVED, unknown_before: None })?;
        if notes.doubt.take().is_some() {
            info!(%epoch, "node: this key votes again");
        }
        Ok(true)
    }

    /// Before votes leave that are in the log: notes beside the key that it may have voted up to their views.
    ///
    /// # Errors
    /// See [`RecordError`]; then no vote may leave.
    pub fn reserve(&mut self, records: &[LogRecord]) -> Result<(), RecordError> {
        let Some(notes) = &mut self.notes else { return Ok(()) };
        let newest = newest_vote(records, notes.votes.epoch);
        if newest <= notes.votes.view {
            return Ok(());
        }
        let votes = RecordedVotes { view: newest.saturating_add(VIEWS_RESERVED), ..notes.votes };
        block_in_place(|| notes.note(votes))
    }
}

impl Notes {
    fn note(&mut self, votes: RecordedVotes) -> Result<(), RecordError> {
        self.record.replace(self.chain, Recorded::Votes(self.votes), votes)?;
        self.votes = votes;
        Ok(())
    }
}

/// The highest view of this epoch in which the log has an own vote.
fn newest_vote(records: &[LogRecord], epoch: Epoch) -> View {
    let votes = records.iter().filter(|record| matches!(record, LogRecord::Vote(_)));
    votes.filter(|vote| vote.epoch() == epoch).map(LogRecord::view).max().unwrap_or(View::ZERO)
}

/// Tells the operator until when the node observes, and what else can be done.
fn say_why(doubt: Doubt, votes: &RecordedVotes, standing: &Standing) {
    let until = match votes.unknown_before {
        Some(_) => "an epoch begins after this start".to_owned(),
        None => format!("epoch {} begins", votes.epoch.saturating_add(Epoch::new(1))),
    };
    let blocks_left = standing.last_height.saturating_sub(standing.height);
    warn!(
        reason = %doubt,
        database_epoch = %standing.epoch,
        ends_at = %standing.last_height,
        %blocks_left,
        "node: this node observes until {until}, since voting again could contradict what the key has signed. If \
         everything that it ever signed is final, or if it never voted on this chain, --vote-without-log lets it vote \
         at once"
    );
}
