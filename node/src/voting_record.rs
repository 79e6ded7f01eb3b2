//! Which chains a key has voted on, kept beside the key and not in the database: a validator whose
//! database was wiped must not vote again as if it had never voted (CONSENSUS.md, durable before
//! sent).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use evchain_protocol::crypto::ChainId;

/// The record beside one key file.
#[derive(Debug, Clone)]
pub struct VotingRecord {
    path: PathBuf,
}

impl VotingRecord {
    /// The record of the key in this file.
    pub fn beside(key_file: &Path) -> Self {
        let mut name = key_file.as_os_str().to_owned();
        name.push(".voted");
        Self { path: name.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the key has voted on this chain.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn holds(&self, chain: ChainId) -> io::Result<bool> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.lines().any(|line| line.trim() == chain.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Notes that the key votes on this chain from now on. On disk when this returns.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn add(&self, chain: ChainId) -> io::Result<()> {
        if self.holds(chain)? {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        writeln!(file, "{chain}")?;
        file.sync_all()?;
        // The name of a new file is durable once its folder is.
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}
