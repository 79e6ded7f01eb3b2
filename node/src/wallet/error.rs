use std::io;
use std::path::{Path, PathBuf};

/// Why a secret file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// There is none.
    #[error("there is no file {path}. `evchain keys new --wallet {path}` makes a wallet", path = .0.display())]
    Missing(PathBuf),
    /// There is no file with a secret that a transaction needs.
    #[error("there is no file {path}: name the one that `evchain secret new --out`, or the command of an earlier transaction, has made", path = .0.display())]
    MissingSecret(PathBuf),
    /// There is one already, and secrets are never overwritten.
    #[error("{path} exists already, and secrets are never overwritten: name another file, or move that one away", path = .0.display())]
    Exists(PathBuf),
    /// Others can read it.
    #[error("{path} can be read by others (mode {mode:03o}), so its secrets may be known. If they are not: chmod 600 {path}", path = .path.display())]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Something else than what was expected.
    #[error("{path} is not a usable file of this kind: {reason}", path = .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A wallet has given out all its keys.
    #[error("the wallet {path} has no fresh keys left", path = .0.display())]
    NoKeysLeft(PathBuf),
    /// The system has no randomness.
    #[error("the system gave no randomness for a new secret: {0}")]
    Randomness(String),
    /// The file system.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl WalletError {
    /// For `map_err`: the failure of an action on a file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// A file with content that is not of its kind.
    pub fn malformed(path: &Path, reason: &dyn std::fmt::Display) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.to_string() }
    }
}
