use std::io;
use std::path::PathBuf;

use evchain_node::rpc::RpcError;
use evchain_node::wallet::WalletError;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::genesis::GenesisError;

/// Why there is no running testnet.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Keys.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The chain's first block.
    #[error("no chain can start so: {0}")]
    Genesis(#[from] GenesisError),
    /// A validator's key that no network identity can have.
    #[error("{0} is no usable key for a validator")]
    NotAPeer(PublicKey),
    /// A file or folder.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder that holds a chain, where a new one is to begin or one of another size.
    #[error("{path}: {reason}", path = .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// No node program.
    #[error("there is no node program {path}: build it with `cargo build --release -p evchain-node`, or say where it is with --node-bin", path = .0.display())]
    NoProgram(PathBuf),
    /// The system has no free ports.
    #[error("the system gives no free ports: {0}")]
    Ports(#[source] io::Error),
    /// A validator that ended while the testnet started.
    #[error("validator {number} has ended ({how}). The end of its log {log}:\n{tail}", log = .log.display())]
    Ended {
        /// Which, from 1.
        number: usize,
        /// Its exit status.
        how: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Validators that run and agree on nothing.
    #[error("the validators have made no block within {waited_s} s; their logs are in {dir}", dir = .dir.display())]
    NoBlocks {
        /// How long they had.
        waited_s: u64,
        /// Where everything is.
        dir: PathBuf,
    },
    /// A validator does not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl ClusterError {
    /// For `map_err`: the failure of an action on a file.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
