use std::io;
use std::path::PathBuf;

use evchain_node::agents::AgentError;
use evchain_node::rpc::RpcError;
use evchain_node::wallet::WalletError;
use evchain_protocol::genesis::GenesisError;

use crate::cluster::ClusterError;
use crate::data::DataError;
use crate::report::AuditError;
use crate::scenario::{PlanError, RunError};

/// Why a fault could not be tried, which says nothing about the validators.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The testnet.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A validator does not answer although nothing is wrong any more.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The money cannot be counted.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The built-in scenario's files.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The built-in scenario.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The journals of an agent.
    #[error(transparent)]
    Journal(#[from] AgentError),
    /// Its agents.
    #[error(transparent)]
    Agents(#[from] RunError),
    /// Keys.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The chain's first block.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
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
    /// A program of the system, such as `ip` or `mount`.
    #[error("`{command}`: {reason}")]
    Tool {
        /// What was run.
        command: String,
        /// What it said.
        reason: String,
    },
    /// The program that cheats is for tests, so it is in no release.
    #[error("there is no {path}: cargo build --release -p evchain-node --example byzantine", path = .0.display())]
    NoByzantine(PathBuf),
    /// A newcomer's key.
    #[error("a newcomer is not admitted: {0}")]
    NotAdmitted(String),
    /// An attacker's network.
    #[error("an attacker's network does not start: {0}")]
    Attacker(#[from] evchain_node::network::StartError),
    /// A task that failed.
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The user wants no more.
    #[error("interrupted")]
    Interrupted,
}

impl FaultError {
    /// For `map_err`: the failure of an action on a file.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
