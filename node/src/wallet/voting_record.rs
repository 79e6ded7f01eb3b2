use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use evchain_protocol::crypto::ChainId;
use evchain_protocol::primitives::{Epoch, Timestamp, View};
use serde::{Deserialize, Serialize};

use super::error::WalletError;
use super::private_file;

/// The version of the file's format.
const VERSION: u32 = 1;

/// What a key may have voted on, kept beside the key and not in a database: a validator whose database was
/// lost or is an older copy must not vote again as if it had not voted
/// (`consensus/docs/protocol.md`, durable before sent).
#[derive(Debug, Clone)]
pub struct VotingRecord {
    key_file: PathBuf,
    path: PathBuf,
}

/// What the record says of one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// There is no record, so nobody knows.
    Missing,
    /// There is one, which was made with the key, and the chain is not in it.
    Never,
    /// What was noted last.
    Votes(RecordedVotes),
}

/// On what the key may have voted on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedVotes {
    /// How often a node has started with it.
    pub starts: u64,
    /// The last epoch in which it may have voted; in earlier ones it may have too.
    pub epoch: Epoch,
    /// The highest view of that epoch in which it may have voted.
    pub view: View,
    /// It may also have voted in every later epoch that began before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "unknown_before_ms")]
    pub unknown_before: Option<Timestamp>,
}

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file.
    #[error("the record of what this key has signed: {0}")]
    File(#[from] WalletError),
    /// Somebody else has written it meanwhile.
    #[error(
        "another node has started with this key and noted so in {path}: two nodes with one key contradict each other, so this one stops",
        path = .0.display()
    )]
    OtherStart(PathBuf),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordFile {
    version: u32,
    /// By the chains' ids.
    chains: BTreeMap<String, RecordedVotes>,
}

impl VotingRecord {
    /// The record of the key in this file.
    pub fn beside(key_file: &Path) -> Self {
        let mut name = key_file.as_os_str().to_owned();
        name.push(".voted");
        Self { key_file: key_file.to_owned(), path: name.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the record of a new key, which has voted nowhere. On disk when this returns.
    ///
    /// # Errors
    /// [`WalletError::Exists`] where there is one, of this key or of another that had the same name;
    /// [`WalletError::Io`].
    pub fn create(&self) -> Result<(), WalletError> {
        private_file::create(&self.path, &RecordFile { version: VERSION, chains: BTreeMap::new() })
    }

    /// What it says of a chain.
    ///
    /// # Errors
    /// Where the file is there and cannot be read or understood.
    pub fn read(&self, chain: ChainId) -> Result<Recorded, RecordError> {
        let Some(file) = self.file()? else { return Ok(Recorded::Missing) };
        let votes = file.chains.get(&chain.to_string());
        Ok(votes.map_or(Recorded::Never, |votes| Recorded::Votes(*votes)))
    }

    /// Notes these votes where those before are the last noted. On disk when this returns.
    ///
    /// # Errors
    /// [`RecordError::OtherStart`] where others are noted; where the file cannot be read or written.
    pub fn replace(&self, chain: ChainId, before: Recorded, votes: RecordedVotes) -> Result<(), RecordError> {
        // Held until the record is written: the same key may be another chain's validator. The key's file is
        // never replaced, so all lock the same.
        let lock = File::open(&self.key_file).map_err(WalletError::io("open", &self.key_file))?;
        lock.lock().map_err(WalletError::io("lock", &self.key_file))?;
        if self.read(chain)? != before {
            return Err(RecordError::OtherStart(self.path.clone()));
        }
        let mut file = self.file()?.unwrap_or(RecordFile { version: VERSION, chains: BTreeMap::new() });
        file.chains.insert(chain.to_string(), votes);
        let text = serde_json::to_string_pretty(&file)
            .map_err(|error| WalletError::malformed(&self.path, &error))?;
        Ok(private_file::replace(&self.path, format!("{text}\n").as_bytes())?)
    }

    fn file(&self) -> Result<Option<RecordFile>, WalletError> {
        let Some(opened) = private_file::open_regular(&self.path)? else { return Ok(None) };
        let advice =
            "If it cannot be mended move it away: the node then votes from the next epoch that begins";
        let file: RecordFile = private_file::parse(&self.path, &opened).map_err(|error| match error {
            WalletError::Malformed { path, reason } => {
                WalletError::Malformed { path, reason: format!("{reason}. {advice}") }
            }
            other => other,
        })?;
        if file.version != VERSION {
            let reason = format!(
                "it has version {}, and this program reads version {VERSION} only. {advice}",
                file.version
            );
            return Err(WalletError::malformed(&self.path, &reason));
        }
        Ok(Some(file))
    }
}
