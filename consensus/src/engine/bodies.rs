//! Block bodies: from whom they come, and what their execution says (C2 to C4, N8, D4).

use std::sync::Arc;

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::finality::Certificate;

use super::{Engine, Step};
use crate::block::Block;
use crate::blocks::{Entry, Progress};
use crate::mutations::{Breakage, broken};
use crate::output::{HaltReason, Output, Rejection};
use crate::view::Proposed;
use crate::wal::LogRecord;

impl Engine {
    /// C2: a body that a quorum vouches for is taken from the proposal, or fetched from the signers.
    pub(super) fn obtain_body(&mut self, notarization: &Arc<Certificate>, step: &mut Step<'_>) {
        let view = notarization.subject.view();
        let Some(hash) = notarization.subject.block() else { return };
        if let Some(entry) = self.blocks.get_mut(&hash) {
            entry.vouched = true;
            if entry.progress == Progress::Waiting {
                self.want_ancestor(hash, view, notarization.signers);
            }
            return;
        }
        let proposed = match self.views.get(&view).and_then(|state| state.proposal.as_ref()) {
            Some(Proposed::Sound(block)) if block.hash() == hash => Some(block.clone()),
            _ => None,
        };
        match proposed {
            Some(block) => {
                let source = self.committee.leader_key(view);
                self.hold(block, true, source, step);
                self.want_ancestor(hash, view, notarization.signers);
            }
            None => self.block_fetches.want(hash, view, notarization.signers),
        }
    }

    /// Takes a block into the tree and has it executed as soon as its parent is.
    pub(super) fn hold(
        &mut self,
        block: Arc<Block>,
        vouched: bool,
        source: Option<PublicKey>,
        step: &mut Step<'_>,
    ) -> bool {
        let (hash, parent) = (block.hash(), block.header().parent_hash);
        let entry =
            Entry { block, progress: Progress::Waiting, durable: false, vouched, source, spare: None };
        if !self.blocks.insert(entry) {
            return false;
        }
        if parent == self.tip.hash || self.blocks.is_executed(&parent) {
            self.execute(hash, step);
        } else if matches!(self.blocks.get(&parent).map(|entry| &entry.progress), Some(Progress::Invalid(_)))
        {
            self.unreviewed.extend(self.views.keys()); // C3: somebody may vouch for this one.
        }
        true
    }

    /// C3, E1: why a block with a quorum's votes can be no valid one.
    pub(super) fn why_wrong(&self, hash: Hash) -> Option<HaltReason> {
        let entry = self.blocks.get(&hash)?;
        let height = entry.block.header().height;
        if height > self.committee.last_height() {
            return Some(HaltReason::BeyondEpoch { block: hash, height });
        }
        if entry.progress == Progress::Executed {
            return None;
        }
        // Whoever votes for a block votes for its ancestors.
        self.blocks.ancestry(hash).find_map(|block| match &self.blocks.get(&block.hash())?.progress {
            Progress::Invalid(reason) => Some(HaltReason::CertifiedBlockInvalid {
                block: block.hash(),
                height: block.header().height,
                reason: reason.clone(),
            }),
            Progress::Waiting | Progress::Executing | Progress::Executed => None,
        })
    }

    pub(super) fn execute_children(&mut self, parent: Hash, step: &mut Step<'_>) {
        for child in self.blocks.children_of(parent) {
            self.execute(child, step);
        }
    }

    fn execute(&mut self, hash: Hash, step: &mut Step<'_>) {
        if let Some(entry) = self.blocks.get_mut(&hash)
            && entry.progress == Progress::Waiting
        {
            entry.progress = Progress::Executing;
            step.emit(Output::Execute(entry.block.clone()));
        }
    }

    pub(super) fn block_is_valid(&mut self, hash: Hash, step: &mut Step<'_>) {
        let best_final_view = self.best_final_view();
        let Some(entry) = self.blocks.get_mut(&hash) else { return };
        entry.progress = Progress::Executed;
        let (view, height) = (entry.block.header().view, entry.block.header().height);
        // D4: what is about to be committed goes into the store and not into the log.
        if !entry.durable && view > best_final_view && !broken(Breakage::ForgetBodies) {
            entry.durable = true;
            step.emit(Output::Persist(LogRecord::Block(entry.block.clone())));
        }
        self.unreviewed.insert(view);
        if height == self.committee.last_height() {
            // E2: it can be notarized and final in further views.
            let further = self.views.iter().filter(|(_, state)| state.quorum_block() == Some(hash));
            self.unreviewed.extend(further.map(|(view, _)| *view));
        }
        self.execute_children(hash, step);
    }

    /// C4: says something about who sent it, and nothing about the block. Another body takes its place, if
    /// one has come meanwhile.
    pub(super) fn body_is_wrong(&mut self, hash: Hash, step: &mut Step<'_>) {
        let Some(entry) = self.blocks.get_mut(&hash) else { return };
        let (body, source) = (entry.block.clone(), entry.source);
        entry.progress = Progress::Waiting;
        let is_replaced = entry.use_spare();
        if !is_replaced {
            self.blocks.remove(&hash);
        }
        let mut is_gone = !is_replaced;
        if let Some(from) = source {
            self.reject(from, Rejection::BadBlocks, step);
            self.doubts.spoiled(from, self.committee.index_of(&from).is_some());
            is_gone |= self.blocks.remove_waiting_from(from);
        }
        if is_replaced {
            self.execute(hash, step);
        }
        if let Some(state) = self.views.get_mut(&body.header().view)
            && matches!(&state.proposal, Some(Proposed::Sound(block)) if *block == body)
        {
            state.proposal = Some(Proposed::Unsound);
        }
        // Whatever a quorum vouches for and is gone now is fetched again.
        self.unreviewed.extend(self.views.keys());
        if is_gone {
            self.chain_fetch.failed();
        }
    }

    /// N8, C3: an invalid proposal ends its view; with a quorum's votes it ends the node.
    pub(super) fn block_is_invalid(&mut self, hash: Hash, reason: String, step: &mut Step<'_>) {
        let Some(entry) = self.blocks.get_mut(&hash) else { return };
        let height = entry.block.header().height;
        if entry.vouched {
            return self.halt(HaltReason::CertifiedBlockInvalid { block: hash, height, reason }, step);
        }
        entry.progress = Progress::Invalid(reason);
        self.unreviewed.extend(self.views.keys());
    }
}
