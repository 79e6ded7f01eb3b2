//! What is done while nodes give no answer that can be used.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::Nodes;
use crate::agents::event::Warning;
use crate::rpc::{CallError, RpcClient, RpcError};

/// The first pause after all nodes were tried in vain; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a node's answer is of no use.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It misses blocks that are known.
    Behind,
    /// It did not answer, or not now.
    Error(RpcError),
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        Self::Error(error)
    }
}

impl Trouble {
    /// Whether it is an everyday thing, which often passes within a block or two.
    fn is_usual(&self) -> bool {
        match self {
            Self::Behind => true,
            Self::Error(RpcError::Call(error)) => {
                matches!(
                    error,
                    CallError::TimedOut { .. }
                        | CallError::Unwatched { .. }
                        | CallError::Busy(_)
                        | CallError::NotFound(_)
                )
            }
            Self::Error(_) => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind => f.write_str("misses blocks that are known"),
            Self::Error(RpcError::Unreachable(unreachable)) => {
                // The URL stands before it.
                let mut reasons = unreachable.tried.iter().map(|(_, reason)| reason.as_str());
                f.write_str(reasons.next().unwrap_or("no answer"))
            }
            Self::Error(error) => error.fmt(f),
        }
    }
}

/// Goes from node to node with one question, pauses after each round, and says once what it fails of.
pub(super) struct Patience<'a> {
    nodes: &'a Nodes,
    what: &'a str,
    begun: Instant,
    /// What was tried in this round.
    tried: Vec<(String, Trouble)>,
    pause: Duration,
    has_warned: bool,
    /// Whether a whole round found nothing but nodes that are behind, or do not answer.
    are_behind: bool,
}

impl<'a> Patience<'a> {
    pub(super) fn new(nodes: &'a Nodes, what: &'a str) -> Self {
        let (begun, tried) = (Instant::now(), Vec::new());
        Self { nodes, what, begun, tried, pause: FIRST_PAUSE, has_warned: false, are_behind: false }
    }

    /// Whether no node was up to date in the last round.
    pub(super) const fn are_all_behind(&self) -> bool {
        self.are_behind
    }

    /// Leaves this node, at once for one that was not tried yet.
    pub(super) async fn failed(&mut self, node: &RpcClient, trouble: Trouble) {
        node.skip();
        self.tried.push((node.current().to_string(), trouble));
        if self.tried.len() < self.nodes.rpc.count() {
            return;
        }
        self.warn();
        self.are_behind = self.tried.iter().any(|(_, trouble)| matches!(trouble, Trouble::Behind));
        self.tried.clear();
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn warn(&mut self) {
        let is_usual = self.tried.iter().any(|(_, trouble)| trouble.is_usual());
        if self.has_warned || (is_usual && self.begun.elapsed() < self.nodes.slow) {
            return;
        }
        self.has_warned = true;
        let tried: Vec<_> = self.tried.iter().map(|(url, trouble)| format!("{url}: {trouble}")).collect();
        self.nodes.warn(Warning::Unreachable { action: self.what.to_owned(), reason: tried.join("; ") });
    }
}
