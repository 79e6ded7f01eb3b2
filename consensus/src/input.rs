//! What an engine is told.

use std::sync::Arc;

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Epoch, Height, Span, Timestamp, View};

use crate::block::Block;
use crate::config::Config;
use crate::message::Message;

/// A moment on the shell's monotonic clock, in ms since any fixed start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment this many ms after the clock's start.
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// The ms since the clock's start.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The moment this long after, or the last there is.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.get()))
    }

    /// The time since `earlier`, zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Span {
        Span::new(self.0.saturating_sub(earlier.0))
    }
}

/// The time of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub monotonic: Moment,
    /// For the check of a proposal's time (N7), and nothing else.
    pub wall: Timestamp,
}

/// What an engine is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The shell is ready. Once, before everything else.
    Start,
    /// The moment that `next_deadline` named has come.
    Tick,
    /// A message.
    Message {
        /// The peer that it came from, authenticated. Not necessarily the author of what it carries.
        from: PublicKey,
        /// The message.
        message: Message,
    },
    /// The answer to `Output::Build`.
    Built {
        /// The epoch that was asked for. A late answer of another one has no effect (P4).
        epoch: Epoch,
        /// The view that was asked for.
        view: View,
        /// The block that `BuildRequest::finish` made; `None` if there cannot be one, and the view is
        /// given up at once.
        block: Option<Arc<Block>>,
    },
    /// A peer that was asked for the final chain has none to give, or cannot be reached. Worth telling only
    /// if it is known before the time for an answer is over.
    Unanswered {
        /// The peer.
        from: PublicKey,
    },
    /// The answer to an `Output::Commit` that ends its epoch.
    NextEpoch(NextEpoch),
    /// The answer to `Output::Execute`.
    Executed {
        /// The block.
        block: Hash,
        /// How it went.
        outcome: Execution,
    },
}

/// How the execution of a block on its parent went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// Every transaction is valid and every root is the header's.
    Valid,
    /// The payload is not the one that the header commits to (`tx_root`, or it does not decode): says
    /// something about the sender and nothing about the block.
    WrongBody,
    /// The payload is the header's, and the block breaks a rule.
    Invalid(String),
    /// We failed, not the block: the disk is full, a bug.
    Failed(String),
}

/// The epoch that the state after the last block of the one before names (E3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextEpoch {
    /// Its number, one above the last.
    pub epoch: Epoch,
    /// Its authorities.
    pub authorities: AuthoritySet,
    /// The height of its last block (E1).
    pub last_height: Height,
    /// The timing that holds in it.
    pub config: Config,
    /// Whether the key may vote in it, if it is one of the authorities'. Not where it may have voted in it
    /// before and the log may not hold that (D7).
    pub may_vote: bool,
}
