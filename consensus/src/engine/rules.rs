//! The rules of voting (P, N, U, C1, F), of views and commits (R), and of aggregation (A).

use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::{
    Certificate, Justification, MAX_SKIPS, ParentProof, Subject, Vote, lowest_skip,
};
use evchain_protocol::primitives::{Span, View};

use super::recover::following;
use super::{Engine, Phase, Step};
use crate::block::{Block, BlockRef};
use crate::blocks::{Entry, Progress};
use crate::message::{GetCertificates, Message, Proposal};
use crate::mutations::{Breakage, broken};
use crate::output::{BuildRequest, HaltReason, Output};
use crate::view::Proposed;
use crate::wal::LogRecord;

/// What a leader can build on, or what keeps it from knowing.
enum Parent {
    Found(BlockRef, Justification),
    /// The highest view of which neither the one nor the other certificate is held.
    Missing(View),
}

impl Engine {
    /// Applies the rules until none has anything left to do. Each application of a rule uses up a
    /// vote, a certificate, a block or a view, so this ends.
    pub(super) fn apply_rules(&mut self, step: &mut Step<'_>) {
        while self.phase == Phase::Running {
            if let Some(view) = self.unreviewed.pop_first() {
                self.review(view, step);
            } else if self.over >= self.view {
                self.enter(following(self.over), step);
            } else {
                self.missing = None;
                if !(self.notarize(step) || self.nullify(step) || self.propose(step)) {
                    break;
                }
            }
        }
        if self.phase == Phase::Running {
            if step.now.monotonic >= self.next_retry {
                self.retry(step);
            }
            self.ask_for_certificates(step);
            self.fetch(step);
        }
    }

    /// Commit, C and F for a view about which something was learned.
    fn review(&mut self, view: View, step: &mut Step<'_>) {
        let Some(state) = self.views.get(&view).filter(|_| view > self.tip.view) else { return };
        let Some(hash) = state.quorum_block() else { return };
        if let Some(reason) = self.why_wrong(hash) {
            return self.halt(reason, step);
        }
        if let Some(finalization) = state.finalization()
            && self.blocks.is_executed(&hash)
        {
            return self.commit(&finalization.clone(), step);
        }
        let Some(notarization) = state.notarization().filter(|_| !state.certified).cloned() else { return };
        if !self.blocks.is_executed(&hash) {
            return self.obtain_body(&notarization, step);
        }
        // C1: the block and its ancestors are executed, hence durable (D4).
        if let Some(state) = self.views.get_mut(&view) {
            state.certified = true;
        }
        self.over = self.over.max(view);
        self.finalize(view, hash, step);
    }

    /// Commit: a finalization commits its block and all its ancestors, in order.
    fn commit(&mut self, finalization: &Arc<Certificate>, step: &mut Step<'_>) {
        let Some(hash) = finalization.subject.block() else { return };
        let Some(reference) = self.blocks.get(&hash).map(|entry| entry.block.reference()) else { return };
        let Some(blocks) = self.blocks.commit(self.tip.hash, hash) else {
            return self.halt(HaltReason::FinalForks { block: hash, height: reference.height }, step);
        };
        let ends_epoch = reference.height == self.committee.last_height();
        step.emit(Output::Commit { blocks, finalization: finalization.clone(), ends_epoch });
        // Not the block's own view, if it was proposed again (E2).
        let view = finalization.subject.view();
        self.tip = BlockRef { view, ..reference };
        self.tip_finalization = Some(finalization.clone());
        self.over = self.over.max(view);
        // The tip's own view stays, so that its notarization is recognized in justifications.
        self.views = self.views.split_off(&view);
        self.unreviewed = self.unreviewed.split_off(&following(view));
        self.block_fetches.prune(view);
        if let Some(signer) = &mut self.signer {
            signer.raise_floor(view);
        }
        self.end_if_last(step);
    }

    /// R1: enter the view after one that is certified, nullified or finalized.
    fn enter(&mut self, view: View, step: &mut Step<'_>) {
        self.view = view;
        self.entered = step.now.monotonic;
        self.next_retry = step.now.monotonic.after(self.retry_interval());
        self.clock_due = None;
        self.again_due = None;
        self.cancel_build(step);
    }

    /// N: vote for the current view's proposal once everything about it is known to be right.
    fn notarize(&mut self, step: &mut Step<'_>) -> bool {
        self.clock_due = None;
        let record = self.record(self.view);
        if self.signer.is_none() || record.notarize.is_some() || record.nullify.is_some() {
            return false; // N2
        }
        match self.views.get(&self.view).and_then(|state| state.proposal.as_ref()) {
            Some(Proposed::Sound(block)) => self.notarize_new(&block.clone(), step),
            Some(&Proposed::Again { block, notarized_in }) => self.notarize_again(block, notarized_in, step),
            Some(Proposed::Unsound) | None => false, // N1, N3, N4
        }
    }

    fn notarize_new(&mut self, block: &Arc<Block>, step: &mut Step<'_>) -> bool {
        let (hash, header) = (block.hash(), block.header());
        if header.height > self.committee.last_height() && !broken(Breakage::NotarizeAboveLast) {
            return self.reject_proposal(); // E1
        }
        let Some(parent) = self.certified_block(header.parent_view, header.parent_hash) else {
            // N5: below the tip's view nothing but the tip can ever be certified.
            return header.parent_view <= self.tip.view && self.reject_proposal();
        };
        if self.lacks_skip(header.parent_view) {
            return false; // N5
        }
        if parent.height.next() != Ok(header.height) || header.time_ms <= parent.time_ms {
            return self.reject_proposal(); // N6
        }
        match self.blocks.get(&hash).map(|entry| &entry.progress) {
            None => {
                let source = self.committee.leader_key(self.view);
                self.hold(block.clone(), false, source, step)
            }
            Some(Progress::Waiting | Progress::Executing) => false,
            Some(Progress::Invalid(_)) => self.reject_proposal(), // N8
            Some(Progress::Executed) => {
                let ahead = header.time_ms.since(step.now.wall).saturating_sub(self.config.max_clock_drift);
                if ahead > Span::ZERO {
                    self.clock_due = Some(step.now.monotonic.after(ahead)); // N7
                    return false;
                }
                self.cast(Subject::notarize(self.committee.epoch(), self.view, hash), step)
            }
        }
    }

    /// U: give up the current view.
    fn nullify(&mut self, step: &mut Step<'_>) -> bool {
        if !self.may_nullify() {
            return false; // U5
        }
        let now = step.now.monotonic;
        let subject = Subject::nullify(self.committee.epoch(), self.view);
        let state = self.views.get(&self.view);
        let leader_gave_up =
            state.is_some_and(|state| state.has_vote_like(&subject, self.committee.leader(self.view)));
        let due = match state.and_then(|state| state.proposal.as_ref()) {
            None => now >= self.leader_deadline() && !broken(Breakage::WaitForLeader), // U1
            Some(Proposed::Sound(_) | Proposed::Again { .. }) => now >= self.view_deadline(), // U2
            Some(Proposed::Unsound) => true,                                           // U3
        };
        if !due && !leader_gave_up {
            return false; // U4
        }
        self.give_up_view(step);
        true
    }

    pub(super) fn give_up_view(&mut self, step: &mut Step<'_>) {
        self.cancel_build(step);
        if self.may_nullify() {
            self.cast(Subject::nullify(self.committee.epoch(), self.view), step);
        }
    }

    fn may_nullify(&self) -> bool {
        let record = self.record(self.view);
        self.signer.is_some() && record.nullify.is_none() && record.finalize.is_none()
    }

    /// When U1 or U2 applies to the current view.
    pub(super) fn nullify_deadline(&self) -> Option<crate::input::Moment> {
        let proposed = self.views.get(&self.view).is_some_and(|state| state.proposal.is_some());
        let deadline = if proposed { self.view_deadline() } else { self.leader_deadline() };
        self.may_nullify().then_some(deadline)
    }

    /// F: vote to finalize a certified block, in a past view too.
    fn finalize(&mut self, view: View, hash: Hash, step: &mut Step<'_>) {
        let record = self.record(view);
        let allowed = view > self.best_final_view()
            && (record.nullify.is_none() || broken(Breakage::ForgetNullify))
            && record.finalize.is_none()
            && (record.notarized().is_none_or(|own| own == hash) || broken(Breakage::FinalizeOtherBlock));
        if allowed && self.signer.is_some() {
            self.cast(Subject::finalize(self.committee.epoch(), view, hash), step);
        }
    }

    /// Whether P applies as soon as a parent is known.
    pub(super) fn wants_to_propose(&self) -> bool {
        let record = self.record(self.view);
        self.signer.as_ref().is_some_and(|signer| signer.index() == self.committee.leader(self.view))
            && record.notarize.is_none()
            && record.nullify.is_none()
            && self.building.is_none()
    }

    /// P: as leader, ask for a block on the highest certified view that can be reached.
    fn propose(&mut self, step: &mut Step<'_>) -> bool {
        self.again_due = None;
        if !self.wants_to_propose() {
            return false;
        }
        match self.find_parent() {
            Parent::Found(parent, just)
                if parent.height >= self.committee.last_height() && !broken(Breakage::BuildAboveLast) =>
            {
                self.propose_again(parent, just, step)
            }
            Parent::Found(parent, just) => {
                let (Ok(height), Some(proposer)) =
                    (parent.height.next(), self.committee.leader_key(self.view))
                else {
                    return false;
                };
                let request = BuildRequest {
                    chain: self.committee.chain(),
                    epoch: self.committee.epoch(),
                    view: self.view,
                    height,
                    parent,
                    just,
                    proposer,
                    authority_root: self.committee.authority_root(),
                    idle: self.config.idle,
                };
                self.building = Some(request.clone());
                step.emit(Output::Build(request));
                true
            }
            Parent::Missing(view) => {
                self.missing = Some(view);
                false
            }
        }
    }

    /// P1: the highest certified u below the current view with a nullification for every view between.
    fn find_parent(&self) -> Parent {
        let mut skips = Vec::new();
        for (view, state) in self.views.range(following(self.tip.view)..self.view).rev() {
            let expected = self.view.get().checked_sub(1).and_then(|v| v.checked_sub(skips.len() as u64));
            if expected != Some(view.get()) {
                break;
            }
            if let Some(notarization) = state.notarization().filter(|_| state.certified)
                && let Some(entry) = notarization.subject.block().and_then(|hash| self.blocks.get(&hash))
            {
                // Not the block's own view, if it was proposed again (E2).
                let parent = BlockRef { view: *view, ..entry.block.reference() };
                return justified(parent, Some(notarization), skips);
            }
            let Some(nullification) = state.nullification() else { break };
            skips.push(nullification.clone());
        }
        let reached = self.view.get().saturating_sub(1).saturating_sub(skips.len() as u64);
        if reached == self.tip.view.get() {
            return justified(self.tip, self.tip_finalization.as_ref(), skips);
        }
        Parent::Missing(View::new(reached))
    }

    /// N5: whether a view above the parent's, too far back to be in a justification for the current view,
    /// is not known to be nullified.
    pub(super) fn lacks_skip(&mut self, parent: View) -> bool {
        let unlisted = following(parent).get()..lowest_skip(parent, self.view).get();
        let is_nullified =
            |view: &View| self.views.get(view).is_some_and(|state| state.nullification().is_some());
        let missing = unlisted.rev().map(View::new).find(|view| !is_nullified(view));
        self.missing = missing.filter(|_| !broken(Breakage::TrustUnlistedSkips));
        self.missing.is_some()
    }

    /// P3, N5: a missing certificate is asked for, of one authority after the other.
    fn ask_for_certificates(&mut self, step: &mut Step<'_>) {
        let now = step.now.monotonic;
        let Some(hi) = self.missing else {
            self.certificates_asked = None;
            return;
        };
        if self.certificates_asked.is_some_and(|(asked, due)| asked == hi && now < due) {
            return;
        }
        self.certificates_asked = Some((hi, now.after(self.retry_interval())));
        let request = GetCertificates { epoch: self.committee.epoch(), lo: following(self.tip.view), hi };
        if let Some(to) = self.next_peer() {
            step.emit(Output::Send { to, message: Message::GetCertificates(request) });
        }
    }

    /// P4: the leader's own block: durable with its vote, then sent.
    pub(super) fn propose_built(&mut self, block: Arc<Block>, step: &mut Step<'_>) {
        let (epoch, view) = (self.committee.epoch(), self.view);
        let Some(Ok(vote)) = self
            .signer
            .as_mut()
            .map(|signer| signer.vote(&self.committee, Subject::notarize(epoch, view, block.hash())))
        else {
            return;
        };
        self.blocks.insert(Entry {
            block: block.clone(),
            progress: Progress::Executed,
            durable: true,
            vouched: false,
            source: None,
            spare: None,
        });
        self.views.entry(view).or_default().proposal = Some(Proposed::Sound(block.clone()));
        step.emit(Output::Persist(LogRecord::Block(block.clone())));
        step.emit(Output::Persist(LogRecord::Vote(vote)));
        step.emit(Output::Broadcast(Message::Proposal(Proposal { block, again: None, vote })));
        self.count(vote, step);
    }

    /// Signs, logs, sends and counts an own vote. A refusal leaves everything as it was; the caller
    /// checked the same conditions, so it means a defect here, and not voting is the safe answer.
    pub(super) fn cast(&mut self, subject: Subject, step: &mut Step<'_>) -> bool {
        let Some(Ok(vote)) = self.signer.as_mut().map(|signer| signer.vote(&self.committee, subject)) else {
            return false;
        };
        step.emit(Output::Persist(LogRecord::Vote(vote))); // D1
        step.emit(Output::Broadcast(Message::Vote(vote)));
        self.count(vote, step);
        true
    }

    /// A1: takes a verified vote into its pool; a quorum makes a certificate.
    pub(super) fn count(&mut self, vote: Vote, step: &mut Step<'_>) {
        self.watch(vote, step);
        let state = self.views.entry(vote.subject.view()).or_default();
        if state.certificate_like(&vote.subject).is_some() {
            return;
        }
        if let Some(certificate) = state.insert_vote(vote, self.committee.quorum()) {
            self.learn(Arc::new(certificate), step);
        }
    }

    /// A2: takes a valid certificate in, relays it once and logs it.
    pub(super) fn learn(&mut self, certificate: Arc<Certificate>, step: &mut Step<'_>) {
        let (subject, view) = (certificate.subject, certificate.subject.view());
        if view < self.tip.view {
            return;
        }
        self.watch_certificate(&certificate, step);
        match self.views.entry(view).or_default().insert_certificate(&certificate) {
            Err(_) => return self.halt(HaltReason::ConflictingCertificates(view), step),
            Ok(false) => return,
            Ok(true) => {}
        }
        let is_old_news = view <= self.best_final_view();
        if !is_old_news {
            // Before the log entry: a certificate needs no durability to be passed on.
            step.emit(Output::Broadcast(Message::Certificate(certificate.clone())));
        }
        if view == self.tip.view {
            return;
        }
        step.emit(Output::Persist(LogRecord::Certificate(certificate.clone())));
        match subject {
            Subject::Notarize(_) => {}
            Subject::Nullify(_) => self.over = self.over.max(view),
            Subject::Finalize(_) => {
                self.over = self.over.max(view);
                if !is_old_news {
                    self.best = Some(certificate);
                }
            }
        }
        self.unreviewed.insert(view);
    }

    /// The certified block of a view, if it has this hash.
    pub(super) fn certified_block(&self, view: View, hash: Hash) -> Option<BlockRef> {
        if view == self.tip.view {
            return (hash == self.tip.hash).then_some(self.tip);
        }
        let state = self.views.get(&view).filter(|state| state.certified)?;
        let notarized = state.notarization()?.subject.block().filter(|block| *block == hash)?;
        Some(self.blocks.get(&notarized)?.block.reference())
    }

    pub(super) fn reject_proposal(&mut self) -> bool {
        if let Some(state) = self.views.get_mut(&self.view) {
            state.proposal = Some(Proposed::Unsound);
        }
        true
    }

    pub(super) fn cancel_build(&mut self, step: &mut Step<'_>) {
        if let Some(request) = self.building.take() {
            step.emit(Output::CancelBuild { epoch: request.epoch, view: request.view });
        }
    }
}

/// With the last skips, as many as fit. `skips` is descending.
fn justified(parent: BlockRef, proof: Option<&Arc<Certificate>>, mut skips: Vec<Arc<Certificate>>) -> Parent {
    skips.truncate(MAX_SKIPS);
    skips.reverse();
    let proof = proof.map_or(ParentProof::Root, |proof| ParentProof::Certificate(proof.clone()));
    Parent::Found(parent, Justification { parent: proof, skips: List::new(skips).unwrap_or_default() })
}
