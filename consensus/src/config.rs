//! The engine's parameters and the timeouts that follow from them.

use evchain_protocol::primitives::Span;

use crate::mutations::{Breakage, broken};

/// An engine's parameters. They are local: nodes with different ones still agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// D, the assumed bound on one hop through the network, with execution and sync.
    pub hop_bound: Span,
    /// How long a leader waits for transactions before it proposes an empty block. At most D.
    pub idle: Span,
    /// How far ahead of this node's clock a proposal's time may be.
    pub max_clock_drift: Span,
}

/// Parameters that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A hop takes time.
    #[error("the hop bound must be above 0 ms")]
    NoHopBound,
    /// The others would give up on a leader that waits for transactions.
    #[error(
        "the idle interval of {idle} is above the hop bound of {hop_bound}, so that views would time out"
    )]
    IdleTooLong {
        /// What was given.
        idle: Span,
        /// Its limit.
        hop_bound: Span,
    },
}

/// A slow network never makes D larger than this many times its configured value.
const MAX_BACKOFF: u64 = 16;

impl Config {
    /// Checks the parameters.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.hop_bound == Span::ZERO {
            return Err(ConfigError::NoHopBound);
        }
        if self.idle > self.hop_bound {
            return Err(ConfigError::IdleTooLong { idle: self.idle, hop_bound: self.hop_bound });
        }
        Ok(())
    }

    /// T4: D, times 1.5 for each of these consecutive views without finalization, at most times 16.
    pub fn backed_off_hop_bound(&self, failed_views: u64) -> Span {
        let max = self.hop_bound.get().saturating_mul(MAX_BACKOFF);
        let mut hop_bound = self.hop_bound.get();
        for _ in 0..failed_views {
            if hop_bound >= max || broken(Breakage::NeverBackOff) {
                break;
            }
            // At least 1 more, so that 1 ms grows too.
            hop_bound = hop_bound.saturating_add((hop_bound / 2).max(1)).min(max);
        }
        Span::new(hop_bound)
    }

    /// T1: 2D, how long a view may go without a proposal.
    pub fn leader_timeout(&self, failed_views: u64) -> Span {
        times(self.backed_off_hop_bound(failed_views), 2)
    }

    /// T2: 4D, how long a view may take.
    pub fn view_timeout(&self, failed_views: u64) -> Span {
        times(self.backed_off_hop_bound(failed_views), 4)
    }

    /// T3: 2D, how long a stuck view waits between two retries, and a request for its answer. Not
    /// backed off: repeating costs little, and a healed network is noticed soon.
    pub fn retry_interval(&self) -> Span {
        times(self.hop_bound, 2)
    }
}

fn times(span: Span, factor: u64) -> Span {
    Span::new(span.get().saturating_mul(factor))
}
