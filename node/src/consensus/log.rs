use std::collections::VecDeque;
use std::sync::Arc;

use evchain_consensus::wal::LogRecord;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Epoch, View};

use crate::store::tables::{CONSENSUS_LOG, LogIndex, VOTER};
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

    /// Whether the log holds everything that this key has signed, in the epochs that the database
    /// has seen.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn is_of(&self, key: PublicKey) -> Result<bool, StoreError> {
        Ok(self.store.get(&VOTER, &())? == Some(key))
    }

    /// From now on the log holds everything that this key signs. That, and everything else in the
    /// store, is durable when this returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn claim(&mut self, key: PublicKey) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(&VOTER, &(), &key);
        self.store.write(batch, Durability::Synced)?;
        self.unsynced = false;
        Ok(())
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
