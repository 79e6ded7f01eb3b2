//! Repeating what may be lost, fetching what is missing, and serving both to others (S1 to S8).

use std::sync::Arc;

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::finality::{Signers, Subject, Vote};
use evchain_protocol::primitives::{Span, View};

use super::{Engine, Step};
use crate::block::Block;
use crate::blocks::{MAX_HELD_BLOCKS, Progress};
use crate::input::Moment;
use crate::message::{
    ANSWER_BYTES, Blocks, Certificates, Finalized, GetBlocks, GetCertificates, GetFinalized,
    MAX_BLOCKS_PER_MESSAGE, MAX_CERTIFICATES_PER_MESSAGE, Message, Status,
};
use crate::mutations::{Breakage, broken};
use crate::output::{Output, Rejection};
use crate::view::ViewState;

/// Own votes of past views that a retry repeats, at most.
const MAX_REPEATED_VOTES: usize = 64;

/// Bodies are fetched by hash up to this many heights above the tip, so that there is room for those
/// below them.
const MAX_HEIGHTS_AHEAD: u64 = MAX_HELD_BLOCKS as u64 / 2;

/// What is fetched now. Bodies by hash wait until the final chain is there, since most of them are in
/// it.
enum Fetching {
    FinalChain,
    /// A stretch of the final chain is being executed.
    Nothing,
    Bodies,
}

impl Engine {
    /// S1: what a stuck node repeats. Own votes also enter the own pool again.
    pub(super) fn retry(&mut self, step: &mut Step<'_>) {
        self.next_retry = step.now.monotonic.after(self.retry_interval());
        for vote in self.votes_to_repeat() {
            step.emit(Output::Broadcast(Message::Vote(vote)));
            if !broken(Breakage::ForgetOwnVotes) {
                self.count(vote, step);
            }
        }
        let previous = View::new(self.view.get().saturating_sub(1));
        if let Some(state) = self.views.get(&previous).filter(|_| previous > self.tip.view) {
            for certificate in [state.notarization(), state.nullification()].into_iter().flatten() {
                step.emit(Output::Broadcast(Message::Certificate(certificate.clone())));
            }
        }
        step.emit(Output::Broadcast(Message::Status(self.status())));
    }

    /// The current view's votes, and earlier ones to finalize what is not final yet; newest first.
    fn votes_to_repeat(&self) -> Vec<Vote> {
        let best = self.best_final_view();
        let Some(signer) = &self.signer else { return Vec::new() };
        let mut votes: Vec<Vote> = signer
            .records()
            .flat_map(|(view, record)| {
                let current = view >= self.view;
                record.votes().filter(move |vote| {
                    current || view > best && matches!(vote.subject, Subject::Finalize(_))
                })
            })
            .collect();
        votes.reverse();
        votes.truncate(MAX_REPEATED_VOTES);
        votes
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            epoch: self.committee.epoch(),
            view: self.view,
            height: self.tip.height,
            finalization: self.best.clone(),
        }
    }

    /// S2: learn from who is ahead, help who is behind.
    pub(super) fn receive_status(
        &mut self,
        from: PublicKey,
        status: Status,
        step: &mut Step<'_>,
    ) -> Result<(), Rejection> {
        if status.epoch != self.committee.epoch() {
            return Ok(());
        }
        let their_final_view =
            status.finalization.as_ref().map_or(View::ZERO, |finalization| finalization.subject.view());
        if let Some(finalization) = status.finalization
            && matches!(finalization.subject, Subject::Finalize(_))
        {
            self.receive_certificate(from, finalization, step)?;
        }
        if status.view > self.view {
            step.emit(Output::Send { to: from, message: Message::Status(self.status()) });
        } else if status.view < self.view || their_final_view < self.best_final_view() {
            let previous = View::new(self.view.get().saturating_sub(1));
            let held = self.views.get(&previous).filter(|_| status.view < self.view);
            let useful = self
                .best
                .iter()
                .filter(|best| best.subject.view() > their_final_view)
                .chain(held.into_iter().flat_map(ViewState::certificates))
                .cloned();
            let answer = Certificates::gather(useful);
            step.emit(Output::Send { to: from, message: Message::Certificates(answer) });
        }
        Ok(())
    }

    /// S3: the certificates held in a range of views, the highest views first.
    pub(super) fn serve_certificates(&self, from: PublicKey, request: GetCertificates, step: &mut Step<'_>) {
        if request.epoch != self.committee.epoch() || request.lo > request.hi {
            return;
        }
        let final_instead = self.tip_finalization.iter().filter(|_| request.lo <= self.tip.view);
        let held = self.views.range(request.lo..=request.hi).rev();
        let found = final_instead
            .chain(held.flat_map(|(_, state)| state.certificates()))
            .take(MAX_CERTIFICATES_PER_MESSAGE)
            .cloned();
        let answer = Certificates::gather(found);
        if !answer.certificates.is_empty() {
            step.emit(Output::Send { to: from, message: Message::Certificates(answer) });
        }
    }

    /// S4: a block that is not final comes from here, a final one from the shell's store.
    pub(super) fn serve_blocks(&self, from: PublicKey, request: GetBlocks, step: &mut Step<'_>) {
        let is_sound = self
            .blocks
            .get(&request.newest)
            .is_some_and(|entry| matches!(entry.progress, Progress::Executed));
        if is_sound {
            let blocks = self
                .blocks
                .ancestry(request.newest)
                .take_while(|block| block.header().height > request.above)
                .cloned();
            let message = Message::Blocks(Blocks::gather(blocks));
            step.emit(Output::Send { to: from, message });
        } else if request.above < self.tip.height {
            step.emit(Output::ServeBlocks { to: from, request });
        }
    }

    /// S5: bodies are taken only if they are wanted, and from whom was asked; each makes its parent wanted.
    pub(super) fn receive_blocks(&mut self, from: PublicKey, answer: Blocks, step: &mut Step<'_>) {
        let newest = answer.blocks.first().map(|block| block.hash());
        if !newest.is_some_and(|newest| self.block_fetches.is_answer(&newest, from)) {
            return;
        }
        for block in answer.blocks.into_vec() {
            if self.block_fetches.wants(&block.hash()).is_some() {
                self.take_wanted(from, block, step);
            }
        }
    }

    pub(super) fn take_wanted(&mut self, from: PublicKey, block: Arc<Block>, step: &mut Step<'_>) {
        let hash = block.hash();
        let Some((view, holders)) = self.block_fetches.wants(&hash) else { return };
        if block.header().height.get().saturating_sub(self.tip.height.get()) > MAX_HEIGHTS_AHEAD {
            // It would take the place of those below it, with which it comes again (S6).
            return self.chain_fetch.give_up_hashes();
        }
        self.chain_fetch.go_on_by_hash(step.now.monotonic.after(self.patience()));
        self.block_fetches.satisfied(&hash);
        self.hold(block, true, Some(from), step);
        self.want_ancestor(hash, view, holders);
    }

    /// C2: the first missing ancestor of a held block, which the same authorities must have had.
    pub(super) fn want_ancestor(&mut self, newest: Hash, view: View, holders: Signers) {
        let Some(oldest) = self.blocks.ancestry(newest).last() else { return };
        let (missing, height) = (oldest.header().parent_hash, oldest.header().height);
        // At the height above the tip there is nothing missing, or a branch that is dead.
        if missing != self.tip.hash && height.get() > self.tip.height.get().saturating_add(1) {
            self.block_fetches.want(missing, view, holders);
        }
    }

    /// S6: a stretch of the final chain on top of the tip. It is judged as a whole before any of it is
    /// kept: the blocks follow from the tip, and a quorum finalized the last.
    pub(super) fn receive_finalized(
        &mut self,
        from: PublicKey,
        answer: Finalized,
        step: &mut Step<'_>,
    ) -> Result<(), Rejection> {
        if !self.chain_fetch.is_answer(from) {
            return Ok(()); // S8
        }
        let is_full = self.is_full(&answer);
        let Finalized { blocks, finalization } = answer;
        let view = finalization.subject.view();
        let (Some(hash), true) =
            (finalization.subject.block(), matches!(finalization.subject, Subject::Finalize(_)))
        else {
            return Ok(());
        };
        let is_next = blocks.first().is_none_or(|first| Ok(first.header().height) == self.tip.height.next());
        let is_of_epoch = finalization.subject.epoch() == self.committee.epoch();
        if !is_of_epoch || view <= self.tip.view || !is_next || self.blocks.is_executed(&hash) {
            return Ok(()); // An answer that came too late.
        }
        if !are_linked(&blocks, hash) || self.check_certificate(&finalization).is_err() {
            self.doubts.spoiled(from, self.committee.index_of(&from).is_some());
            self.chain_fetch.failed();
            return Err(Rejection::BadBlocks);
        }
        if blocks.first().is_some_and(|first| first.header().parent_hash != self.tip.hash) {
            self.watch_fork(&blocks, &finalization, step);
            return Ok(());
        }
        let signers = finalization.signers;
        self.learn(finalization, step);
        if blocks.is_empty() {
            // S7: too long a stretch for one answer; its blocks are fetched by hash instead.
            self.chain_fetch.start_by_hash(view, step.now.monotonic.after(self.patience()));
            self.block_fetches.want(hash, view, signers);
        } else {
            self.chain_fetch.answered(from, is_full, hash);
        }
        for block in blocks.into_vec() {
            self.block_fetches.satisfied(&block.hash());
            match self.blocks.get_mut(&block.hash()) {
                Some(entry) => {
                    entry.vouched = true;
                    entry.keep_spare(block, from);
                }
                None => _ = self.hold(block, true, Some(from), step),
            }
        }
        self.unreviewed.insert(view);
        Ok(())
    }

    /// S8: whether there could not be more in this answer.
    fn is_full(&self, answer: &Finalized) -> bool {
        let Finalized { blocks, finalization } = answer;
        let bytes = blocks.iter().map(|block| block.size_hint()).fold(0, usize::saturating_add);
        let height = blocks.last().map(|block| block.header().height);
        blocks.len() == MAX_BLOCKS_PER_MESSAGE
            || bytes >= ANSWER_BYTES
            || height == Some(self.committee.last_height())
            || finalization.subject.view() >= self.best_final_view()
    }

    /// S8: sends what is due of the requests for missing blocks.
    pub(super) fn fetch(&mut self, step: &mut Step<'_>) {
        let (now, interval) = (step.now.monotonic, self.retry_interval());
        self.chain_fetch.expire(now);
        match self.fetching() {
            Fetching::Nothing => {}
            Fetching::FinalChain => {
                let above = self.tip.height;
                let (committee, doubts) = (&self.committee, &self.doubts);
                let to = self.chain_fetch.due(now, interval, above, committee, self.own, doubts);
                if let Some(to) = to {
                    let message = Message::GetFinalized(GetFinalized { above });
                    step.emit(Output::Send { to, message });
                }
            }
            Fetching::Bodies => {
                self.chain_fetch.idle();
                let (committee, doubts) = (&self.committee, &self.doubts);
                for (newest, to) in self.block_fetches.due(now, interval, committee, self.own, doubts) {
                    let message = Message::GetBlocks(GetBlocks { newest, above: self.tip.height });
                    step.emit(Output::Send { to, message });
                }
            }
        }
    }

    pub(super) fn fetch_deadline(&self) -> Option<Moment> {
        match self.fetching() {
            Fetching::Nothing => None,
            Fetching::FinalChain => self.chain_fetch.next_deadline(),
            Fetching::Bodies => self.block_fetches.next_deadline(),
        }
    }

    fn fetching(&self) -> Fetching {
        let best = self.best.as_ref().filter(|best| best.subject.view() > self.tip.view);
        let Some(hash) = best.and_then(|best| best.subject.block()) else { return Fetching::Bodies };
        let by_hash = self.chain_fetch.is_by_hash_above(self.tip.view);
        if self.chain_fetch.executing.is_some_and(|last| self.blocks.contains(&last)) {
            Fetching::Nothing
        } else if by_hash || self.blocks.first_missing(hash) == self.tip.hash {
            Fetching::Bodies
        } else {
            Fetching::FinalChain
        }
    }

    /// S7: how long blocks are fetched by hash although none comes: everybody is asked once.
    fn patience(&self) -> Span {
        let peers = u64::try_from(self.committee.len()).unwrap_or(u64::MAX);
        Span::new(self.retry_interval().get().saturating_mul(peers.saturating_add(1)))
    }

    /// The next of the other authorities, in turn.
    pub(super) fn next_peer(&mut self) -> Option<PublicKey> {
        let others: Vec<_> = self.committee.indices().filter(|index| Some(*index) != self.own).collect();
        self.attempts = self.attempts.wrapping_add(1);
        let index = others.get(self.attempts.checked_rem(others.len())?)?;
        self.committee.key(*index)
    }
}

/// Whether each block is the parent of the next one, and the last has this hash. None at all are, too.
fn are_linked(blocks: &[Arc<Block>], last: Hash) -> bool {
    let children = blocks.iter().skip(1);
    blocks.iter().zip(children).all(|(parent, child)| child.header().parent_hash == parent.hash())
        && blocks.last().is_none_or(|block| block.hash() == last)
}
