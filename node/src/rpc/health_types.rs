//! What a node says of its own health.

use evchain_protocol::primitives::{Epoch, Height, Span};
use serde::{Deserialize, Serialize};

/// What `/health` says, with status 200 if `healthy` and 503 if not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether clients should use this node: it has no serious problem.
    pub healthy: bool,
    /// The newest final block's height.
    pub height: Height,
    /// Its age by the node's clock, in ms.
    pub tip_age_ms: Span,
    /// Connected peers.
    pub peers: usize,
    /// As in [`Status`](super::Status).
    pub syncing: bool,
    /// The current epoch.
    pub epoch: Epoch,
    /// `validator` if the node votes in this epoch, else `observer`.
    pub role: Role,
    /// What is wrong, the serious problems first.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What, for programs.
    pub name: ProblemKind,
    /// Whether clients should use another node meanwhile.
    pub serious: bool,
    /// What, and what can be done, for people.
    pub message: String,
}

/// What can be wrong with a node. `docs/rpc.md` explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the list in the document is the one to read
pub enum ProblemKind {
    NoPeers,
    Behind,
    NoFinality,
    EmptyBlocks,
    GossipFails,
    FewPeers,
    NotVoting,
    PoolFull,
    RpcFull,
    ClockBehind,
}

impl ProblemKind {
    /// All, the serious ones first.
    pub const ALL: [Self; 10] = [
        Self::NoPeers,
        Self::Behind,
        Self::NoFinality,
        Self::EmptyBlocks,
        Self::GossipFails,
        Self::FewPeers,
        Self::NotVoting,
        Self::PoolFull,
        Self::RpcFull,
        Self::ClockBehind,
    ];

    /// Whether clients should use another node meanwhile.
    pub const fn is_serious(self) -> bool {
        matches!(
            self,
            Self::NoPeers | Self::Behind | Self::NoFinality | Self::EmptyBlocks | Self::GossipFails
        )
    }

    /// The name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPeers => "no_peers",
            Self::Behind => "behind",
            Self::NoFinality => "no_finality",
            Self::EmptyBlocks => "empty_blocks",
            Self::GossipFails => "gossip_fails",
            Self::FewPeers => "few_peers",
            Self::NotVoting => "not_voting",
            Self::PoolFull => "pool_full",
            Self::RpcFull => "rpc_full",
            Self::ClockBehind => "clock_behind",
        }
    }
}

/// A node's part in the consensus of the current epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It is an authority and votes.
    Validator,
    /// It follows.
    Observer,
}
