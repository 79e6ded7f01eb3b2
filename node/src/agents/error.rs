use std::io;
use std::path::PathBuf;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::Span;
use evchain_protocol::session::{BadMargins, RecoverError};

use crate::network::{SessionError, StartError};
use crate::rpc::RpcError;
use crate::wallet::WalletError;

/// Why an agent cannot go on. What a new attempt may cure is retried before it comes to this.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A rule of the ledger speaks against a transaction.
    #[error("the ledger rejects the {action} ({reason}): {message}")]
    Rejected {
        /// What the transaction would do, as the `kind` of its action.
        action: &'static str,
        /// Which rule, for programs.
        reason: String,
        /// Why, for people.
        message: String,
    },
    /// The nodes do not answer, or not in a way that can be used.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The own keys.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The endpoint for sessions does not start.
    #[error("cannot listen for sessions: {0}")]
    Endpoint(#[from] StartError),
    /// The endpoint for sessions has stopped.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A journal cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Journal {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A journal whose records are not those of one session.
    #[error("the journal {path} is damaged: {source}. What it holds can be settled by hand, see `evchain tx --help`", path = .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        source: RecoverError,
    },
    /// Another process works with a journal.
    #[error("the journal {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A journal of a sale that somebody else made.
    #[error("{} is a sale of {owner}: name its key (--key)", .path.display())]
    OtherKey {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: PublicKey,
    },
    /// Settings that cannot work.
    #[error("{0}")]
    Settings(String),
    /// A task of the agent has panicked: a bug.
    #[error("a task of the agent failed: {0}")]
    Task(String),
}

impl AgentError {
    /// Deadlines that cannot be met while the chain takes so long.
    pub(super) fn margins(finality: Span, error: &BadMargins) -> Self {
        Self::Settings(format!("this chain takes {finality} to make a block final at the moment: {error}"))
    }

    /// For `map_err`: the failure of an action on a journal.
    pub(super) fn journal(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Journal { action, path, source }
    }
}
