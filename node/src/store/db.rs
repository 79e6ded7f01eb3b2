use std::path::{Path, PathBuf};
use std::sync::Arc;

use evchain_protocol::codec::{self, Decode, Encode, MAX_DECODE_BYTES};
use evchain_protocol::state::changes::Changes;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, Direction,
    IteratorMode, Options, ReadOptions, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use super::error::StoreError;
use super::tables::{NAMES, STATE, Table, TableKey};

/// Memory for blocks read from disk, in bytes, shared by all tables.
const BLOCK_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Memory for what is not yet in a sorted file, in bytes, over all tables.
const WRITE_BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// The write-ahead log never grows beyond, in bytes: the bound on the replay at start.
const MAX_WAL_BYTES: u64 = 128 * 1024 * 1024;

/// The node's database. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Store {
    db: Arc<DB>,
}

/// Whether a write must have reached the disk when the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk, past a power cut.
    Synced,
    /// In the write-ahead log, past a kill of the process; on disk with the next synced write.
    /// Writes reach the disk in order, so a later synced write makes this one durable too.
    Buffered,
}

/// Writes that happen together or not at all.
#[derive(Default)]
pub struct Batch {
    writes: Vec<Write>,
}

struct Write {
    table: &'static str,
    key: Vec<u8>,
    /// None removes the key.
    value: Option<Vec<u8>>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} writes)", self.writes.len())
    }
}

impl Batch {
    /// Writes a value.
    pub fn put<K: TableKey, V: Encode>(&mut self, table: &Table<K, V>, key: &K, value: &V) {
        self.writes.push(Write { table: table.name, key: key.to_key(), value: Some(codec::encode(value)) });
    }

    /// Removes a value.
    pub fn delete<K: TableKey, V>(&mut self, table: &Table<K, V>, key: &K) {
        self.writes.push(Write { table: table.name, key: key.to_key(), value: None });
    }

    /// Writes what a block changes in the state.
    pub fn put_changes(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.put(&STATE, &key, &value),
                None => self.delete(&STATE, &key),
            }
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

impl Store {
    /// Opens the database in this folder, and makes it if it is missing.
    ///
    /// # Errors
    /// [`StoreError::Open`], with what the operator can do.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&cache);
        tables.set_bloom_filter(10.0, false);
        let families = NAMES.iter().map(|name| {
            let mut options = Options::default();
            options.set_block_based_table_factory(&tables);
            options.set_compression_type(DBCompressionType::Lz4);
            ColumnFamilyDescriptor::new(*name, options)
        });

        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_total_wal_size(MAX_WAL_BYTES);
        options.set_keep_log_file_num(2);
        // A torn tail of the log is what a power cut leaves and is cut off; damage before it is not.
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
        let db = DB::open_cf_descriptors(&options, path, families)
            .map_err(|error| StoreError::open(path.to_owned(), &error))?;
        Ok(Self { db: Arc::new(db) })
    }

    /// The database's folder.
    pub fn path(&self) -> PathBuf {
        self.db.path().to_owned()
    }

    /// Writes all of the batch, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn write(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let mut native = WriteBatch::default();
        for Write { table, key, value } in batch.writes {
            let family = self.family(table);
            match value {
                Some(value) => native.put_cf(family, key, value),
                None => native.delete_cf(family, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.db.write_opt(native, &options).map_err(|error| StoreError::write(&error))
    }

    /// Makes everything written before durable.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.db.flush_wal(true).map_err(|error| StoreError::write(&error))
    }

    /// The value at a key.
    ///
    /// # Errors
    /// [`StoreError::Read`] and [`StoreError::Corrupt`].
    pub fn get<K: TableKey, V: Decode<()>>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, StoreError> {
        self.snapshot().get(table, key)
    }

    /// The database as it is now, whatever is written later.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { store: self, native: self.db.snapshot() }
    }

    fn family(&self, table: &'static str) -> &ColumnFamily {
        self.db.cf_handle(table).expect("every table was opened with the database")
    }
}

/// One moment of the database: reads through it agree with each other.
pub struct Snapshot<'a> {
    store: &'a Store,
    native: SnapshotWithThreadMode<'a, DB>,
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Snapshot<'_> {
    /// The value at a key.
    ///
    /// # Errors
    /// [`StoreError::Read`] and [`StoreError::Corrupt`].
    pub fn get<K: TableKey, V: Decode<()>>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, StoreError> {
        let key = key.to_key();
        let bytes = self
            .native
            .get_pinned_cf(self.store.family(table.name), &key)
            .map_err(|error| StoreError::Read { table: table.name, reason: error.to_string() })?;
        bytes.map(|bytes| decode_value(table.name, &key, &bytes)).transpose()
    }

    /// Entries in the order of their keys, from `first` (included) to `end` (excluded, as bytes;
    /// `None` for the end of the table), as many as the caller takes.
    pub fn scan<'s, K: TableKey, V: Decode<()>>(
        &'s self,
        table: &Table<K, V>,
        first: &[u8],
        end: Option<Vec<u8>>,
    ) -> impl Iterator<Item = Result<(K, V), StoreError>> + use<'s, K, V> {
        let name = table.name;
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        self.native
            .iterator_cf_opt(self.store.family(name), options, IteratorMode::From(first, Direction::Forward))
            .map(move |entry| {
                let (key, value) =
                    entry.map_err(|error| StoreError::Read { table: name, reason: error.to_string() })?;
                let typed =
                    K::from_key(&key).ok_or_else(|| corrupt(name, &key, "not a key of this table"))?;
                Ok((typed, decode_value(name, &key, &value)?))
            })
    }

    /// The entry with the largest key.
    ///
    /// # Errors
    /// [`StoreError::Read`] and [`StoreError::Corrupt`].
    pub fn last<K: TableKey, V: Decode<()>>(
        &self,
        table: &Table<K, V>,
    ) -> Result<Option<(K, V)>, StoreError> {
        let name = table.name;
        let Some(entry) = self.native.iterator_cf(self.store.family(name), IteratorMode::End).next() else {
            return Ok(None);
        };
        let (key, value) =
            entry.map_err(|error| StoreError::Read { table: name, reason: error.to_string() })?;
        let typed = K::from_key(&key).ok_or_else(|| corrupt(name, &key, "not a key of this table"))?;
        Ok(Some((typed, decode_value(name, &key, &value)?)))
    }
}

fn decode_value<V: Decode<()>>(table: &'static str, key: &[u8], bytes: &[u8]) -> Result<V, StoreError> {
    codec::decode(bytes, MAX_DECODE_BYTES).map_err(|error| corrupt(table, key, &error.to_string()))
}

fn corrupt(table: &'static str, key: &[u8], reason: &str) -> StoreError {
    StoreError::Corrupt { table, key: hex::encode(key), reason: reason.to_owned() }
}
