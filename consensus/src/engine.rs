//! The engine: one epoch of Simplex as a state machine without clock, randomness or I/O.

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::primitives::View;

use crate::authority_set::Committee;
use crate::block::BlockRef;
use crate::config::Config;
use crate::input::{Input, Moment, Now};
use crate::output::Output;
use crate::wal::{Recovered, RecoveryError};

/// One node's part in the consensus of one epoch.
pub struct Engine {
    config: Config,
    committee: Committee,
    key: Option<KeyPair>,
    view: View,
    tip: BlockRef,
}

impl Engine {
    /// The engine of a node that found `recovered` when it started. Without `key`, or with one that is
    /// not the committee's, it observes: it aggregates votes, follows and commits, and signs nothing.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub fn new(
        config: Config,
        committee: Committee,
        key: Option<KeyPair>,
        recovered: Recovered,
    ) -> Result<Self, RecoveryError> {
        Ok(Self { config, committee, key, view: View::new(1), tip: recovered.tip })
    }

    /// Takes one input and appends what it wants done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let _ = (now, input, out, &self.config, &self.committee, &self.key);
    }

    /// When to step with `Input::Tick`, unless something else comes first. `None` before
    /// `Input::Start` and after `Output::Halt`.
    pub const fn next_deadline(&self) -> Option<Moment> {
        None
    }

    /// The current view.
    pub const fn view(&self) -> View {
        self.view
    }

    /// The last committed block.
    pub const fn tip(&self) -> BlockRef {
        self.tip
    }

    /// The leader of the current view.
    pub fn leader(&self) -> Option<PublicKey> {
        self.committee.leader_key(self.view)
    }
}
