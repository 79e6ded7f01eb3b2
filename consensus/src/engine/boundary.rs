//! The end of an epoch: its last block is proposed again until it is final, and nothing above it (E1
//! to E3).

use std::sync::Arc;

use evchain_protocol::block::Header;
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::finality::{Justification, ParentProof, Subject};
use evchain_protocol::primitives::View;

use super::{Engine, Phase, Step};
use crate::block::{Block, BlockRef};
use crate::message::{Message, Proposal};
use crate::mutations::{Breakage, broken};
use crate::output::Output;
use crate::view::Proposed;
use crate::wal::LogRecord;

impl Engine {
    /// E2: what a leader sends when its parent is the epoch's last block. There is nothing to wait
    /// for but the finalization that would make it needless.
    pub(super) fn propose_again(
        &mut self,
        parent: BlockRef,
        just: Justification,
        step: &mut Step<'_>,
    ) -> bool {
        if broken(Breakage::NeverProposeAgain) {
            return false;
        }
        let due = self.entered.after(self.config.idle);
        if step.now.monotonic < due {
            self.again_due = Some(due);
            return false;
        }
        let Some(block) = self.blocks.get(&parent.hash).map(|entry| entry.block.clone()) else {
            return false;
        };
        let subject = Subject::notarize(self.committee.epoch(), self.view, parent.hash);
        let Some(Ok(vote)) = self.signer.as_mut().map(|signer| signer.vote(&self.committee, subject)) else {
            return false;
        };
        let again = Proposed::Again { block: parent.hash, notarized_in: parent.view };
        self.views.entry(self.view).or_default().proposal = Some(again);
        step.emit(Output::Persist(LogRecord::Vote(vote))); // D1; the block is in the log
        step.emit(Output::Broadcast(Message::Proposal(Proposal { block, again: Some(just), vote })));
        self.count(vote, step);
        true
    }

    /// E2: takes a block proposed again, if what comes with it justifies that. `None` if it does not.
    pub(super) fn take_again(
        &mut self,
        from: PublicKey,
        view: View,
        block: Arc<Block>,
        just: &Justification,
        step: &mut Step<'_>,
    ) -> Option<Proposed> {
        let ParentProof::Certificate(proof) = &just.parent else { return None };
        let (hash, notarized_in) = (block.hash(), proof.subject.view());
        // What would justify a child of the block in this view justifies the block again.
        let child = Header { view, parent_view: notarized_in, parent_hash: hash, ..block.header().clone() };
        let is_trusted = broken(Breakage::TrustEnvelopes);
        if !is_trusted
            && (block.header().height != self.committee.last_height()
                || just.check_shape(&child, self.committee.epoch(), self.committee.root().hash).is_err()
                || just.certificates().any(|certificate| self.check_certificate(certificate).is_err()))
        {
            return None;
        }
        // A quorum vouches for the block, so its body is good for the view in which they did.
        self.hold(block, true, Some(from), step);
        Some(Proposed::Again { block: hash, notarized_in })
    }

    /// E2: vote for the epoch's last block in a further view, once it is certified in an earlier one.
    pub(super) fn notarize_again(&mut self, block: Hash, notarized_in: View, step: &mut Step<'_>) -> bool {
        match self.certified_block(notarized_in, block) {
            Some(_) if self.lacks_skip(notarized_in) => false, // N5
            Some(_) => self.cast(Subject::notarize(self.committee.epoch(), self.view, block), step),
            None => notarized_in <= self.tip.view && self.reject_proposal(), // as N5
        }
    }

    /// E3: a commit that reaches the epoch's last height ends the engine.
    pub(super) fn end_if_last(&mut self, step: &mut Step<'_>) {
        if self.tip.height == self.committee.last_height() && !broken(Breakage::VoteAfterTheEnd) {
            self.cancel_build(step);
            self.phase = Phase::Ended;
        }
    }
}
