use std::path::PathBuf;

/// The store could not do what it was asked to. Always our failure, never a client's or peer's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder could not be opened.
    #[error("cannot open the database in {path}: {reason}{hint}")]
    Open {
        /// The database's folder.
        path: PathBuf,
        /// What RocksDB said.
        reason: String,
        /// What the operator can do.
        hint: &'static str,
    },
    /// The folder holds the blocks of another chain.
    #[error(
        "the database in {path} belongs to chain {found}, but the genesis file is of chain {expected}: use another --data"
    )]
    WrongChain {
        /// The database's folder.
        path: PathBuf,
        /// The chain in the database.
        found: String,
        /// The chain of the genesis file.
        expected: String,
    },
    /// Reading failed.
    #[error("reading from the database failed ({table}): {reason}")]
    Read {
        /// The table read.
        table: &'static str,
        /// What RocksDB said.
        reason: String,
    },
    /// Writing failed; nothing of the batch was written.
    #[error("writing to the database failed: {reason}{hint}")]
    Write {
        /// What RocksDB said.
        reason: String,
        /// What the operator can do.
        hint: &'static str,
    },
    /// Bytes in the database are not what this program wrote there.
    #[error(
        "the database is damaged: table {table}, key {key}: {reason}. Remove the folder and let the node catch up from its peers, or restore a backup: a validator then votes again from the next epoch on"
    )]
    Corrupt {
        /// The table read.
        table: &'static str,
        /// The key, in hexadecimal.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl StoreError {
    pub(super) fn open(path: PathBuf, error: &rocksdb::Error) -> Self {
        let reason = error.to_string();
        let names_lock = ["lock hold", "While lock file", "LOCK"].iter().any(|text| reason.contains(text));
        // The lock is the first file that is opened, so a bad disk shows itself there too.
        let hint = match disk_hint(&reason) {
            "" if names_lock => {
                ". Another evchain process may be running in this folder: stop it, or use another --data"
            }
            hint => hint,
        };
        Self::Open { path, reason, hint }
    }

    pub(super) fn write(error: &rocksdb::Error) -> Self {
        let reason = error.to_string();
        let hint = disk_hint(&reason);
        Self::Write { reason, hint }
    }
}

fn disk_hint(reason: &str) -> &'static str {
    if reason.contains("No space left") {
        ". The disk is full: make room and start the node again; nothing final is lost"
    } else if reason.contains("Permission denied") || reason.contains("Read-only file system") {
        ". The folder can't be written: check its owner and mount, then start the node again"
    } else {
        ""
    }
}
