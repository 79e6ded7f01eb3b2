//! The engine: one epoch of Simplex as a state machine without clock, randomness or I/O.
//!
//! The rules are numbered in `docs/protocol.md`. A step takes one input, then applies the rules until
//! none has anything left to do.

mod bodies;
mod boundary;
mod catch_up;
mod evidence;
#[cfg(test)]
mod fingerprint;
mod receive;
mod recover;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::finality::Certificate;
use evchain_protocol::primitives::{Epoch, Span, View};

use crate::authority_set::Committee;
use crate::block::{Block, BlockRef};
use crate::blocks::BlockTree;
use crate::config::Config;
use crate::doubts::Doubts;
use crate::input::{Execution, Input, Moment, Now};
use crate::message::Message;
use crate::mutations::{Breakage, broken};
use crate::output::{BuildRequest, HaltReason, Output};
use crate::signer::{Signer, VoteRecord};
use crate::sync::{BlockFetches, ChainFetch};
use crate::view::ViewState;
use crate::wal::{Recovered, RecoveryError};
use crate::watch::Watch;
#[cfg(test)]
pub(crate) use fingerprint::Fingerprint;

/// B1: votes and proposals are taken up to this many views ahead of the current one.
pub const VIEWS_AHEAD: u64 = 16;

/// One node's part in the consensus of one epoch.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Engine {
    config: Config,
    committee: Committee,
    /// `None` for an observer.
    signer: Option<Signer>,
    /// The place of the node's key, whether it signs or only observes.
    own: Option<AuthorityIndex>,
    phase: Phase,
    view: View,
    entered: Moment,
    next_retry: Moment,
    /// The highest view that is known to be over (R1).
    over: View,
    /// The last committed block and its finalization, `None` for the epoch's root.
    tip: BlockRef,
    tip_finalization: Option<Arc<Certificate>>,
    /// The finalization of the highest view known. Above the tip's while blocks are missing.
    best: Option<Arc<Certificate>>,
    /// The views from the tip's on.
    views: BTreeMap<View, ViewState>,
    /// Views about which something was learned that the rules have not looked at.
    unreviewed: BTreeSet<View>,
    /// What the authorities were seen to sign.
    watch: Watch,
    /// Who sent what no honest node sends.
    doubts: Doubts,
    blocks: BlockTree,
    block_fetches: BlockFetches,
    chain_fetch: ChainFetch,
    building: Option<BuildRequest>,
    /// When a proposal's time comes into the accepted range (N7).
    clock_due: Option<Moment>,
    /// When the epoch's last block is to be proposed again (E2).
    again_due: Option<Moment>,
    /// The highest view of which a certificate is missing that a vote waits for (P3, N5).
    missing: Option<View>,
    /// Up to which view certificates were asked for, and when to ask again.
    certificates_asked: Option<(View, Moment)>,
    attempts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    Running,
    /// The epoch's last block is committed (E3).
    Ended,
    Halted,
}

/// What a step may use: the time, and where its outputs go.
struct Step<'a> {
    now: Now,
    out: &'a mut Vec<Output>,
}

impl Step<'_> {
    fn emit(&mut self, output: Output) {
        self.out.push(output);
    }
}

/// How much an engine holds, for metrics and to check that it is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Views above the last committed one.
    pub views: usize,
    /// Votes in them.
    pub votes: usize,
    /// Blocks that are not committed.
    pub blocks: usize,
    /// Blocks that are being fetched.
    pub fetches: usize,
    /// Messages of the next epoch.
    pub early: usize,
    /// Their size, in bytes.
    pub early_bytes: usize,
    /// Votes remembered of the views watched.
    pub watched: usize,
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
        let own = key.as_ref().and_then(|key| committee.index_of(&key.public_key()));
        let signs = recovered.may_vote || broken(Breakage::VoteAfterWipe);
        let tip = recover::checked_tip(&committee, recovered.tip, recovered.finalization.as_deref())?;
        let signer = key.filter(|_| signs).and_then(|key| Signer::new(key, &committee, tip.view));
        let mut engine = Self {
            config,
            committee,
            signer,
            own,
            phase: Phase::Created,
            view: View::ZERO,
            entered: Moment::default(),
            next_retry: Moment::default(),
            over: tip.view,
            tip,
            best: recovered.finalization.clone(),
            tip_finalization: recovered.finalization,
            views: BTreeMap::new(),
            unreviewed: BTreeSet::new(),
            watch: Watch::default(),
            doubts: Doubts::default(),
            blocks: BlockTree::default(),
            block_fetches: BlockFetches::default(),
            chain_fetch: ChainFetch::default(),
            building: None,
            clock_due: None,
            again_due: None,
            missing: None,
            certificates_asked: None,
            attempts: 0,
        };
        engine.view = engine.replay(recovered.records)?;
        Ok(engine)
    }

    /// Takes one input and appends what it wants done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let mut step = Step { now, out };
        match (self.phase, input) {
            (Phase::Created, Input::Start) => self.start(&mut step),
            (Phase::Running, Input::Tick) => {}
            // E4: what is final can be asked for between two epochs too.
            (Phase::Running, Input::Message { from, message })
            | (
                Phase::Ended,
                Input::Message {
                    from,
                    message: message @ (Message::GetFinalized(_) | Message::GetBlocks(_)),
                },
            ) => self.receive(from, message, &mut step),
            (Phase::Running, Input::Built { epoch, view, block }) => {
                self.built(epoch, view, block, &mut step);
            }
            (Phase::Running, Input::Unanswered { from }) => self.chain_fetch.unanswered(from),
            (Phase::Running, Input::Executed { block, outcome }) => {
                self.executed(block, outcome, &mut step);
            }
            // Before the start, after the end or a halt, or a second start: nothing is listed, nothing
            // happens. Epochs are not an engine's business.
            (Phase::Created | Phase::Ended | Phase::Halted, _)
            | (Phase::Running, Input::Start | Input::NextEpoch(_)) => return,
        }
        self.apply_rules(&mut step);
        if broken(Breakage::SendBeforePersist) {
            out.sort_by_key(|output| matches!(output, Output::Persist(_)));
        }
    }

    /// When to step with `Input::Tick`, unless something else comes first. `None` before
    /// `Input::Start` and after `Output::Halt`.
    pub fn next_deadline(&self) -> Option<Moment> {
        if self.phase != Phase::Running {
            return None;
        }
        let others = [self.nullify_deadline(), self.clock_due, self.again_due, self.fetch_deadline()];
        std::iter::once(self.next_retry)
            .chain(others.into_iter().flatten())
            .chain(self.certificates_asked.map(|(_, due)| due))
            .min()
    }

    /// The current view.
    pub const fn view(&self) -> View {
        self.view
    }

    /// The last committed block.
    pub const fn tip(&self) -> BlockRef {
        self.tip
    }

    /// The finalization of the last committed block; none for the epoch's root.
    pub const fn tip_finalization(&self) -> Option<&Arc<Certificate>> {
        self.tip_finalization.as_ref()
    }

    /// Whether the epoch's last block is committed: the engine does nothing any more (E3).
    pub fn has_ended(&self) -> bool {
        let is_at_end = self.tip.height == self.committee.last_height();
        self.phase == Phase::Ended || is_at_end && broken(Breakage::VoteAfterTheEnd)
    }

    /// The view of the best finalization known, above the tip's while this node catches up.
    pub fn best_final_view(&self) -> View {
        self.best.as_ref().map_or(self.tip.view, |best| best.subject.view().max(self.tip.view))
    }

    /// The committee.
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The leader of the current view.
    pub fn leader(&self) -> Option<PublicKey> {
        self.committee.leader_key(self.view)
    }

    /// Whether the node signs votes.
    pub const fn is_voting(&self) -> bool {
        self.signer.is_some()
    }

    /// How much it holds.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            views: self.views.len(),
            votes: self.views.values().map(ViewState::vote_count).fold(0, usize::saturating_add),
            blocks: self.blocks.len(),
            fetches: self.block_fetches.len(),
            early: 0,
            early_bytes: 0,
            watched: self.watch.vote_count(),
        }
    }

    fn start(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Running;
        self.entered = step.now.monotonic;
        self.unreviewed.extend(self.views.keys());
        let held: Vec<_> = self.views.values().flat_map(ViewState::certificates).cloned().collect();
        for certificate in held {
            self.watch_certificate(&certificate, step);
        }
        self.execute_children(self.tip.hash, step);
        self.retry(step);
    }

    /// The answer to a build request, if it is still wanted (P4).
    fn built(&mut self, epoch: Epoch, view: View, block: Option<Arc<Block>>, step: &mut Step<'_>) {
        let is_of_epoch = |of: Epoch| of == epoch || broken(Breakage::TakeBuiltOfAnyEpoch);
        let Some(request) =
            self.building.take_if(|request| request.view == view && is_of_epoch(request.epoch))
        else {
            return;
        };
        match block {
            Some(block) if answers(&request, &block) => self.propose_built(block, step),
            Some(_) => self.building = Some(request),
            None => self.give_up_view(step),
        }
    }

    /// The answer to an execution request.
    fn executed(&mut self, hash: Hash, outcome: Execution, step: &mut Step<'_>) {
        let Some(entry) = self.blocks.get_mut(&hash) else { return };
        if entry.progress != crate::blocks::Progress::Executing {
            return;
        }
        match outcome {
            Execution::Valid => self.block_is_valid(hash, step),
            Execution::WrongBody => self.body_is_wrong(hash, step),
            Execution::Invalid(reason) => self.block_is_invalid(hash, reason, step),
            Execution::Failed(reason) => {
                self.halt(HaltReason::ExecutionFailed { block: hash, reason }, step);
            }
        }
    }

    /// S8: whom to ask first for the final chain in the next epoch: who gave all that it could in this one.
    pub(crate) const fn proven_source(&self) -> Option<PublicKey> {
        self.chain_fetch.proven()
    }

    /// S8: asks this peer first for the final chain.
    pub(crate) const fn prefer_source(&mut self, peer: Option<PublicKey>) {
        self.chain_fetch.prefer(peer);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    fn halt(&mut self, reason: HaltReason, step: &mut Step<'_>) {
        if self.phase != Phase::Halted {
            self.phase = Phase::Halted;
            step.emit(Output::Halt(reason));
        }
    }

    /// What this node signed in a view; nothing if it observes.
    fn record(&self, view: View) -> VoteRecord {
        self.signer.as_ref().map(|signer| signer.record(view)).unwrap_or_default()
    }

    /// T4: the views that are over since the last finalization. One of them is normal, since a
    /// finalization takes a hop longer than the next view's start.
    fn failed_views(&self) -> u64 {
        let since = if broken(Breakage::BackOffForever) { View::ZERO } else { self.best_final_view() };
        self.view.get().saturating_sub(since.get()).saturating_sub(2)
    }

    fn leader_deadline(&self) -> Moment {
        self.entered.after(self.config.leader_timeout(self.failed_views()))
    }

    fn view_deadline(&self) -> Moment {
        self.entered.after(self.config.view_timeout(self.failed_views()))
    }

    fn retry_interval(&self) -> Span {
        self.config.retry_interval()
    }
}

fn answers(request: &BuildRequest, block: &Block) -> bool {
    let header = block.header();
    header.chain == request.chain
        && header.epoch == request.epoch
        && header.view == request.view
        && header.height == request.height
        && header.parent_hash == request.parent.hash
        && header.parent_view == request.parent.view
        && header.proposer == request.proposer
        && header.authority_root == request.authority_root
        && header.time_ms > request.parent.time_ms
        && *block.just() == request.just
}
