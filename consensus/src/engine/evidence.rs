//! Finding out who signed what no honest authority signs (W1 to W5).

use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::finality::{Certificate, Evidence, Vote};
use evchain_protocol::primitives::Height;

use super::{Engine, Step};
use crate::block::Block;
use crate::mutations::{Breakage, broken};
use crate::output::{HaltReason, Output, Rejection};
use crate::watch::votes_of;

impl Engine {
    /// W1, W2: a vote whose signature is valid.
    pub(super) fn watch(&mut self, vote: Vote, step: &mut Step<'_>) {
        if broken(Breakage::NoSignatures) {
            return; // There is nothing that could prove anything.
        }
        for (held, evidence) in self.watch.contradicted_by(&vote) {
            if held.verified || self.holds_up(&held.vote) {
                self.tell(evidence, step);
            } else {
                self.watch.forget(&held.vote);
            }
        }
        if let Some(evidence) = self.watch.unjustified(&vote) {
            self.tell(evidence, step);
        }
        self.watch.remember(vote, true);
    }

    /// W1: the votes of a certificate that is valid.
    pub(super) fn watch_certificate(&mut self, certificate: &Certificate, step: &mut Step<'_>) {
        for vote in votes_of(certificate) {
            self.watch(vote, step);
        }
    }

    /// W1, W4: a vote of which the pool has no use, because its place is taken or its view is final. Its
    /// signature matters only if it contradicts another one. Tells whether it does.
    pub(super) fn watch_late(
        &mut self,
        from: PublicKey,
        vote: Vote,
        step: &mut Step<'_>,
    ) -> Result<bool, Rejection> {
        let Some(sender) = self.committee.index_of(&from) else { return Ok(false) };
        let contradicted = self.watch.contradicted_by(&vote);
        if broken(Breakage::NoSignatures) || !self.doubts.is_worth_verifying(&from) {
            return Ok(false);
        }
        if contradicted.is_empty() {
            // Only a signer's own word takes the place of a vote that nobody verified.
            if sender == vote.signer {
                self.watch.remember(vote, false);
            }
            return Ok(false);
        }
        if contradicted.iter().any(|(_, evidence)| self.watch.is_told(evidence)) {
            return Ok(true);
        }
        if self.watch.is_enough(vote.signer) {
            return Ok(false);
        }
        if !self.holds_up(&vote) {
            return Err(Rejection::BadVote(vote.subject.view()));
        }
        self.watch(vote, step);
        Ok(contradicted.iter().any(|(_, evidence)| self.watch.is_told(evidence)))
    }

    /// W5: a certificate of a view that is final here. If what it says contradicts what more than f
    /// authorities signed, there is a second history.
    pub(super) fn watch_past_certificate(
        &mut self,
        from: PublicKey,
        certificate: &Certificate,
        step: &mut Step<'_>,
    ) -> Result<(), Rejection> {
        let mut contradictions = 0_usize;
        for vote in votes_of(certificate) {
            contradictions = contradictions.saturating_add(usize::from(self.watch_late(from, vote, step)?));
        }
        if contradictions > self.committee.authorities().max_faulty() {
            self.halt(HaltReason::ConflictingCertificates(certificate.subject.view()), step);
        }
        Ok(())
    }

    /// W3: a leader's vote for its block, which is not justified.
    pub(super) fn watch_unjustified(&mut self, vote: Vote, block: &Block, step: &mut Step<'_>) {
        if broken(Breakage::NoSignatures) || self.watch.is_enough(vote.signer) {
            return;
        }
        let electorate = self.committee.electorate();
        let first_height = self.committee.root().height.next().unwrap_or(Height::MAX);
        let evidence =
            Evidence::of_justification(vote, block.header(), block.just(), electorate, first_height);
        let Some(Evidence::Justification(unjustified)) = evidence else { return };
        for accomplice in self.watch.add_unjustified(block.hash(), *unjustified) {
            self.watch(accomplice, step);
        }
    }

    /// W5: a stretch of a final chain that is not this node's: more than f authorities are faulty. What
    /// they signed is in what justifies its blocks.
    pub(super) fn watch_fork(
        &mut self,
        blocks: &[Arc<Block>],
        finalization: &Arc<Certificate>,
        step: &mut Step<'_>,
    ) {
        let certificates = blocks.iter().flat_map(|block| block.just().certificates());
        for certificate in certificates.chain([finalization]) {
            if self.check_certificate(certificate).is_ok() {
                self.watch_certificate(certificate, step);
            }
        }
        let (block, last) = (finalization.subject.block().unwrap_or_default(), blocks.last());
        let height = last.map_or(self.tip.height, |block| block.header().height);
        self.halt(HaltReason::FinalForks { block, height }, step);
    }

    /// W4: each piece once, and no more than the chain records.
    fn tell(&mut self, evidence: Evidence, step: &mut Step<'_>) {
        if self.watch.tell(&evidence) {
            step.emit(Output::Evidence(evidence));
        }
    }

    fn holds_up(&self, vote: &Vote) -> bool {
        broken(Breakage::AccuseUnverified) || self.check_vote(vote).is_ok()
    }
}
