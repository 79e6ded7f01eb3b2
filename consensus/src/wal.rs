//! The consensus log: what a node must not forget, and how it starts again from it.
//!
//! The shell appends records in the order in which the engine gives them and syncs them before the
//! next message leaves (`docs/protocol.md`, D1 to D6). A record is needed only while its place is above the
//! last finalization's, so the shell drops records from the front of the log while
//! `record.place() <= finalization.subject.place()`.

use std::sync::Arc;

use evchain_protocol::finality::{Certificate, Vote};
use evchain_protocol::primitives::{Epoch, View};
use evchain_protocol::tagged_enum;

use crate::block::{Block, BlockRef};

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// An own vote.
    Vote(Vote),
    /// A certificate, when it was first learned.
    Certificate(Arc<Certificate>),
    /// A block that is valid and not yet final.
    Block(Arc<Block>),
}
tagged_enum!(LogRecord { 0 => Vote(Vote), 1 => Certificate(Arc<Certificate>), 2 => Block(Arc<Block>) });

impl LogRecord {
    /// The epoch and view that the record is about.
    pub fn place(&self) -> (Epoch, View) {
        (self.epoch(), self.view())
    }

    /// The epoch that the record is about.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Vote(vote) => vote.subject.epoch(),
            Self::Certificate(certificate) => certificate.subject.epoch(),
            Self::Block(block) => block.header().epoch,
        }
    }

    /// The view that the record is about.
    pub fn view(&self) -> View {
        match self {
            Self::Vote(vote) => vote.subject.view(),
            Self::Certificate(certificate) => certificate.subject.view(),
            Self::Block(block) => block.header().view,
        }
    }
}

/// What a node found when it started.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The last committed block; the epoch's root where nothing of the epoch is final.
    pub tip: BlockRef,
    /// Its finalization, of this epoch; `None` for the epoch's root only.
    pub finalization: Option<Arc<Certificate>>,
    /// The finalization of the epoch's root, by the epoch before; `None` in the first epoch.
    pub boundary: Option<Arc<Certificate>>,
    /// The log's records in order. A torn tail is cut off by the log itself, and everything given
    /// here is synced, even what was not when the node went down.
    pub records: Vec<LogRecord>,
    /// Whether the key may vote in this epoch, if it is one of the authorities'. Not where the log may be
    /// missing votes that were sent: a wiped or older database (D7).
    pub may_vote: bool,
}

impl Recovered {
    /// A node that starts for the first time, at the epoch's root.
    pub const fn fresh(root: BlockRef) -> Self {
        Self { tip: root, finalization: None, boundary: None, records: Vec::new(), may_vote: true }
    }
}

/// Why an engine cannot start from a log: it is damaged, or it is another chain's or key's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The log has two own votes that exclude each other.
    #[error("the consensus log holds own votes in view {0} that exclude each other")]
    ContradictoryVotes(View),
    /// The log goes on where the chain has not come to.
    #[error("the consensus log holds a record of epoch {record}, but the chain is in epoch {chain}")]
    LaterEpoch {
        /// The record's epoch.
        record: Epoch,
        /// The epoch that the last committed block leads to.
        chain: Epoch,
    },
    /// The log has a vote of another key.
    #[error("the consensus log holds a vote in view {0} of another key")]
    ForeignVote(View),
    /// The log has two certificates that exclude each other.
    #[error("the consensus log holds certificates of view {0} that exclude each other")]
    ContradictoryCertificates(View),
    /// A certificate in the log or of the tip does not verify.
    #[error("the consensus log holds a certificate of view {0} that is not valid")]
    BadCertificate(View),
    /// The tip is not the epoch's root and has no finalization of its own.
    #[error("the committed block at view {0} has no finalization")]
    TipNotFinal(View),
}
