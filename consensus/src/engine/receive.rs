//! Messages from peers. Whatever they hold, they cost at most a bounded amount of work and memory.

use std::sync::Arc;

use evchain_protocol::crypto::{BadSignature, PublicKey};
use evchain_protocol::finality::{Certificate, CertificateError, JustificationError, Subject, Vote};
use evchain_protocol::primitives::View;

use super::{Engine, Step, VIEWS_AHEAD};
use crate::block::Block;
use crate::message::{Message, Proposal};
use crate::mutations::{Breakage, broken};
use crate::output::{Output, Rejection};
use crate::view::Proposed;

impl Engine {
    pub(super) fn receive(&mut self, from: PublicKey, message: Message, step: &mut Step<'_>) {
        if let Err(reason) = self.take_message(from, message, step) {
            self.reject(from, reason, step);
        }
    }

    /// W4: whoever sends what no honest node sends is doubted and named to the shell.
    pub(super) fn reject(&mut self, from: PublicKey, reason: Rejection, step: &mut Step<'_>) {
        self.doubts.sent_bad(from, self.committee.index_of(&from).is_some());
        step.emit(Output::Reject { from, reason });
    }

    /// W4: nothing in a message is looked at after the first thing in it that is bad.
    fn take_message(
        &mut self,
        from: PublicKey,
        message: Message,
        step: &mut Step<'_>,
    ) -> Result<(), Rejection> {
        match message {
            Message::Proposal(proposal) => return self.receive_proposal(from, proposal, step),
            Message::Vote(vote) => return self.receive_vote(from, vote, step),
            Message::Certificate(certificate) => return self.receive_certificate(from, certificate, step),
            Message::Certificates(answer) => {
                let mut certificates = answer.certificates.into_vec().into_iter();
                return certificates
                    .try_for_each(|certificate| self.receive_certificate(from, certificate, step));
            }
            Message::Status(status) => return self.receive_status(from, status, step),
            Message::GetCertificates(request) => self.serve_certificates(from, request, step),
            Message::GetBlocks(request) => self.serve_blocks(from, request, step),
            Message::Blocks(answer) => self.receive_blocks(from, answer, step),
            Message::GetFinalized(request) => {
                if request.above < self.tip.height {
                    step.emit(Output::ServeFinalized { to: from, request });
                }
            }
            Message::Finalized(answer) => return self.receive_finalized(from, answer, step),
        }
        Ok(())
    }

    /// B1, A1: at most one vote of each signer and kind is verified for each view, and what contradicts
    /// it (W2). Only authorities vote, and none of them for another one, so nobody else is listened to.
    fn receive_vote(&mut self, from: PublicKey, vote: Vote, step: &mut Step<'_>) -> Result<(), Rejection> {
        let view = vote.subject.view();
        let is_of_epoch = vote.subject.epoch() == self.committee.epoch() && view != View::ZERO;
        if !is_of_epoch || self.committee.index_of(&from).is_none() {
            return Ok(());
        }
        let is_decided = self.views.get(&view).is_some_and(|state| {
            state.certificate_like(&vote.subject).is_some() || state.has_vote_like(&vote.subject, vote.signer)
        });
        if is_decided || view <= self.tip.view {
            return self.watch_late(from, vote, step).map(|_| ());
        }
        if !self.is_near(view) || !self.doubts.is_worth_verifying(&from) {
            return Ok(());
        }
        self.check_vote(&vote).map_err(|_| Rejection::BadVote(view))?;
        self.count(vote, step);
        Ok(())
    }

    /// A2: a certificate that was not known.
    pub(super) fn receive_certificate(
        &mut self,
        from: PublicKey,
        certificate: Arc<Certificate>,
        step: &mut Step<'_>,
    ) -> Result<(), Rejection> {
        let (subject, view) = (certificate.subject, certificate.subject.view());
        if subject.epoch() != self.committee.epoch() {
            return Ok(());
        }
        if view < self.tip.view {
            return self.watch_past_certificate(from, &certificate, step);
        }
        let held = self.views.get(&view).and_then(|state| state.certificate_like(&subject));
        let is_held = held.is_some_and(|held| held.subject == subject);
        if !is_held {
            if !self.doubts.is_worth_verifying(&from) {
                return Ok(());
            }
            let checked = self.check_certificate(&certificate);
            checked.map_err(|error| Rejection::BadCertificate { view, error })?;
        }
        if matches!(subject, Subject::Finalize(_)) && view > self.tip.view {
            self.chain_fetch.tell(from, &self.committee, &self.doubts);
            if !is_held && broken(Breakage::AskFirstTeller) {
                self.chain_fetch.prefer(Some(from));
            }
        }
        // Whatever it is made of, a further certificate of the same subject says nothing new.
        if !is_held {
            self.learn(certificate, step);
        }
        Ok(())
    }

    pub(super) fn check_vote(&self, vote: &Vote) -> Result<(), BadSignature> {
        if broken(Breakage::NoSignatures) {
            return Ok(());
        }
        self.committee.electorate().verify(&vote.subject, vote.signer, &vote.signature)
    }

    /// Verifies what was not verified before: neither a certificate with the very same bytes, nor the
    /// same signatures as votes.
    pub(super) fn check_certificate(&self, certificate: &Arc<Certificate>) -> Result<(), CertificateError> {
        let subject = &certificate.subject;
        let state = self.views.get(&subject.view());
        let held = state.and_then(|state| state.certificate_like(subject));
        let known = |index| state?.signature(subject, index);
        if held == Some(certificate)
            || broken(Breakage::DedupeBySubject) && held.is_some_and(|held| held.subject == *subject)
            || broken(Breakage::CacheBySigner)
                && certificate.signers.iter().all(|index| known(index).is_some())
            || broken(Breakage::TrustCertificates)
            || broken(Breakage::NoSignatures)
        {
            return Ok(());
        }
        certificate.verify(self.committee.electorate(), known)
    }

    /// N1, N3, N4: the first proposal that a view's leader signed, with its justification.
    fn receive_proposal(
        &mut self,
        from: PublicKey,
        proposal: Proposal,
        step: &mut Step<'_>,
    ) -> Result<(), Rejection> {
        let Proposal { block, again, vote } = proposal;
        let view = vote.subject.view();
        let subject = Subject::notarize(self.committee.epoch(), view, block.hash());
        let fits = match &again {
            None => block.header().view == view,
            Some(_) => block.header().view < view,
        };
        if vote.subject != subject || !fits || !self.is_near(view) {
            return Ok(());
        }
        let is_leader = vote.signer == self.committee.leader(view);
        // N1: nobody signs the payload and `again`, so whoever passes a proposal on may have spoiled it.
        let is_second_hand = is_leader && Some(from) != self.committee.key(vote.signer);
        let is_own = is_leader && !is_second_hand && !self.doubts.has_spoiled(&from); // S5
        if is_own && self.block_fetches.wants(&block.hash()).is_some() {
            self.take_wanted(from, block.clone(), step);
            if again.is_none() {
                return Ok(());
            }
        }
        let is_known = self.views.get(&view).is_some_and(|state| state.proposal.is_some());
        // Of past views only bodies that are wanted are of use; of others the first proposal counts.
        if view < self.view || is_known || is_second_hand && !broken(Breakage::TakeSecondHand) {
            return self.receive_vote(from, vote, step);
        }
        if !self.doubts.is_worth_verifying(&from) {
            return Ok(());
        }
        let known = self.views.get(&view).and_then(|state| state.signature(&subject, vote.signer));
        if !is_leader || (known != Some(vote.signature) && self.check_vote(&vote).is_err()) {
            return Err(Rejection::UnsignedProposal(view));
        }
        let proposed = match &again {
            None if self.check_proposal(&block).is_ok() => Proposed::Sound(block.clone()),
            None => {
                self.watch_unjustified(vote, &block, step);
                Proposed::Unsound
            }
            Some(just) => self.take_again(from, view, block.clone(), just, step).unwrap_or(Proposed::Unsound),
        };
        if !matches!(proposed, Proposed::Unsound) && !broken(Breakage::IgnoreJustification) {
            // Each as if it had come alone, so that this node too can be where the proposal builds on.
            for certificate in again.as_ref().unwrap_or(block.just()).certificates() {
                self.learn(certificate.clone(), step);
            }
        }
        let is_sound = !matches!(proposed, Proposed::Unsound);
        self.views.entry(view).or_default().proposal = Some(proposed);
        self.count(vote, step);
        if is_sound { Ok(()) } else { Err(Rejection::UnsoundProposal(view)) }
    }

    /// What can be said of a proposal without its parent.
    fn check_proposal(&self, block: &Block) -> Result<(), Unsound> {
        let header = block.header();
        let committee = &self.committee;
        if header.chain != committee.chain()
            || header.epoch != committee.epoch()
            || header.authority_root != committee.authority_root()
            || Some(header.proposer) != committee.leader_key(header.view)
            || block.just().check_shape(header, committee.epoch(), committee.root().hash).is_err_and(
                |error| {
                    !(broken(Breakage::SkipGapCheck)
                        && matches!(error, JustificationError::WrongSkips { .. }))
                },
            )
        {
            return Err(Unsound);
        }
        let mut certificates = block.just().certificates();
        certificates.try_for_each(|certificate| self.check_certificate(certificate).map_err(|_| Unsound))
    }

    /// B1: neither final nor too far ahead.
    fn is_near(&self, view: View) -> bool {
        view > self.tip.view
            && (view.get() <= self.view.get().saturating_add(VIEWS_AHEAD) || broken(Breakage::TakeFarVotes))
    }
}

/// A proposal that its leader signed and that no honest leader makes.
struct Unsound;
