use std::collections::VecDeque;
use std::sync::Arc;

use evchain_consensus::output::HaltReason;
use evchain_consensus::wal::LogRecord;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Epoch, View};
use tokio::task::block_in_place;
use tracing::error;

use crate::clock;
use crate::store::tables::{CONSENSUS_LOG, HALT, HaltNote, LogIndex, VOTER, Voter};
use crate::store::{Batch, Durability, Store, StoreError};

/// The consensus log in the store. It grows at the back with what the engine wants durable and
/// shrinks at the front as views become final.
#[derive(Debug)]
pub struct ConsensusLog {
    store: Store,
    next: u64,
    kept: VecDeque<(LogIndex, (Epoch, View))>,
    unsynced: bool,
}

/// A log as it was found at start.
#[derive(Debug)]
pub struct RecoveredLog {
    /// The log, open for more.
    pub log: ConsensusLog,
    /// Its records, in order.
    pub records: Vec<LogRecord>,
}

impl ConsensusLog {
    /// Reads the log.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(store: Store) -> Result<RecoveredLog, StoreError> {
        let mut kept = VecDeque::new();
        let mut records = Vec::new();
        for entry in store.snapshot().scan(&CONSENSUS_LOG, &[], None) {
            let (index, record) = entry?;
            kept.push_back((index, record.place()));
            records.push(record);
        }
        let next = kept.back().map_or(0, |(LogIndex(last), _)| last + 1);
        // What was found may never have been synced, and the engine takes it for durable.
        Ok(RecoveredLog { log: Self { store, next, kept, unsynced: true }, records })
    }

    /// Appends records. They are durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// See [`StoreError`]; then nothing was appended.
    pub fn append(&mut self, records: &[LogRecord], durability: Durability) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (index, record) in (self.next..).zip(records) {
            batch.put(&CONSENSUS_LOG, &LogIndex(index), record);
        }
        self.store.write(batch, durability)?;
        for record in records {
            self.kept.push_back((LogIndex(self.next), record.place()));
            self.next += 1;
        }
        // A synced write takes everything before it along.
        self.unsynced = durability == Durability::Buffered;
        Ok(())
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if self.unsynced {
            self.store.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// How often a node has started with this key, as the database knows; none if the last one to start
    /// with it had another key.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn starts_of(&self, key: PublicKey) -> Result<Option<u64>, StoreError> {
        let voter = self.store.get(&VOTER, &())?.filter(|voter| voter.key == key);
        Ok(voter.map(|voter| voter.starts))
    }

    /// Counts a start with this key, of which the log holds from now on everything that it signs. That, and
    /// everything else in the store, is durable when this returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn claim(&mut self, key: PublicKey, starts: u64) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(&VOTER, &(), &Voter { key, starts });
        self.store.write(batch, Durability::Synced)?;
        self.unsynced = false;
        Ok(())
    }

    /// Why the consensus stopped on this database, if nobody has said since that it may go on (D9).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn halt(&self) -> Result<Option<HaltNote>, StoreError> {
        self.store.get(&HALT, &())
    }

    /// Notes why the consensus stops, if a restart does not cure it, and gives the reason back. Durable when
    /// this returns, unless the store fails, which nobody can do anything about by then.
    pub fn note_halt(&self, reason: HaltReason) -> HaltReason {
        if !reason.outlasts_restart() {
            return reason;
        }
        let mut batch = Batch::default();
        batch.put(&HALT, &(), &HaltNote { reason: reason.to_string(), at: clock::now() });
        if let Err(error) = block_in_place(|| self.store.write(batch, Durability::Synced)) {
            error!(%error, "consensus: why it stopped could not be written");
        }
        reason
    }

    /// The operator has said that the consensus may go on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn forget_halt(&self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.delete(&HALT, &());
        self.store.write(batch, Durability::Synced)
    }

    /// Drops what is not needed once the block that was finalized here is committed in the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn prune(&mut self, committed: (Epoch, View)) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        while let Some((index, _)) = self.kept.front().copied().filter(|(_, place)| *place <= committed) {
            batch.delete(&CONSENSUS_LOG, &index);
            self.kept.pop_front();
        }
        if batch.is_empty() {
            return Ok(());
        }
        // Lost deletions only mean that more is read at the next start.
        self.store.write(batch, Durability::Buffered)
    }
}

/// What a step wants durable, in order.
pub(super) fn records_of(outputs: &[evchain_consensus::output::Output]) -> Vec<LogRecord> {
    outputs
        .iter()
        .filter_map(|output| match output {
            evchain_consensus::output::Output::Persist(record) => Some(record.clone()),
            _ => None,
        })
        .collect()
}

/// Shared by every receiver of a frame.
pub(super) fn frame(message: &evchain_consensus::message::Message) -> Arc<[u8]> {
    evchain_protocol::codec::encode(message).into()
}
