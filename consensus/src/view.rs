//! What an engine knows about one view.

use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{Hash, Signature};
use evchain_protocol::finality::{Certificate, Signers, Subject, Vote};
use evchain_protocol::primitives::View;

use crate::block::Block;

/// One view's votes, certificates and proposal.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct ViewState {
    /// Verified votes, the first of each signer and kind.
    votes: BTreeMap<(Kind, AuthorityIndex), Vote>,
    notarization: Option<Arc<Certificate>>,
    nullification: Option<Arc<Certificate>>,
    finalization: Option<Arc<Certificate>>,
    /// What the leader proposed first.
    pub(crate) proposal: Option<Proposed>,
    /// The notarization is held, and the block and its ancestors are executed and durable.
    pub(crate) certified: bool,
}

/// What kind of vote it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Notarize,
    Nullify,
    Finalize,
}

impl Kind {
    pub(crate) const fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Notarize(_) => Self::Notarize,
            Subject::Nullify(_) => Self::Nullify,
            Subject::Finalize(_) => Self::Finalize,
        }
    }
}

/// A leader's first proposal.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) enum Proposed {
    /// Well formed, with a valid justification.
    Sound(Arc<Block>),
    /// The epoch's last block again, which is notarized in this earlier view (E2).
    Again { block: Hash, notarized_in: View },
    /// Signed by the leader, and wrong.
    Unsound,
}

/// Certificates that can only exist together if more than f authorities are faulty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

impl ViewState {
    pub(crate) fn notarization(&self) -> Option<&Arc<Certificate>> {
        self.notarization.as_ref()
    }

    pub(crate) fn nullification(&self) -> Option<&Arc<Certificate>> {
        self.nullification.as_ref()
    }

    pub(crate) fn finalization(&self) -> Option<&Arc<Certificate>> {
        self.finalization.as_ref()
    }

    /// All certificates held.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        [&self.finalization, &self.notarization, &self.nullification].into_iter().flatten()
    }

    /// The certificate held of the subject's kind.
    pub(crate) fn certificate_like(&self, subject: &Subject) -> Option<&Arc<Certificate>> {
        match Kind::of(subject) {
            Kind::Notarize => self.notarization.as_ref(),
            Kind::Nullify => self.nullification.as_ref(),
            Kind::Finalize => self.finalization.as_ref(),
        }
    }

    /// The block that a quorum notarized or finalized.
    pub(crate) fn quorum_block(&self) -> Option<Hash> {
        let certificate = self.finalization.as_ref().or(self.notarization.as_ref())?;
        certificate.subject.block()
    }

    /// Stores a verified certificate. Tells whether it is new.
    pub(crate) fn insert_certificate(&mut self, certificate: &Arc<Certificate>) -> Result<bool, Conflict> {
        let subject = &certificate.subject;
        if let Some(held) = self.certificate_like(subject) {
            return if held.subject == *subject { Ok(false) } else { Err(Conflict) };
        }
        let excluded = match subject {
            Subject::Nullify(_) => self.finalization.is_some(),
            Subject::Finalize(_) if self.nullification.is_some() => true,
            Subject::Notarize(_) | Subject::Finalize(_) => {
                self.quorum_block().is_some_and(|block| Some(block) != subject.block())
            }
        };
        if excluded {
            return Err(Conflict);
        }
        let slot = match Kind::of(subject) {
            Kind::Notarize => &mut self.notarization,
            Kind::Nullify => &mut self.nullification,
            Kind::Finalize => &mut self.finalization,
        };
        *slot = Some(certificate.clone());
        Ok(true)
    }

    /// Whether a vote of this signer and kind is stored, for whatever block.
    pub(crate) fn has_vote_like(&self, subject: &Subject, signer: AuthorityIndex) -> bool {
        self.votes.contains_key(&(Kind::of(subject), signer))
    }

    /// The verified signature of this very subject by this signer.
    pub(crate) fn signature(&self, subject: &Subject, signer: AuthorityIndex) -> Option<Signature> {
        let vote = self.votes.get(&(Kind::of(subject), signer))?;
        (vote.subject == *subject).then_some(vote.signature)
    }

    /// Stores a verified vote and gives the certificate if there is a quorum now.
    pub(crate) fn insert_vote(&mut self, vote: Vote, quorum: usize) -> Option<Certificate> {
        let kind = Kind::of(&vote.subject);
        self.votes.entry((kind, vote.signer)).or_insert(vote);
        let agreeing = || {
            self.votes
                .range((kind, AuthorityIndex::new(0))..=(kind, AuthorityIndex::new(u8::MAX)))
                .filter(|(_, other)| other.subject == vote.subject)
                .take(quorum)
        };
        let signers: Signers = agreeing().map(|((_, index), _)| *index).collect();
        if signers.count() < quorum {
            return None;
        }
        let signatures = List::new(agreeing().map(|(_, vote)| vote.signature).collect()).ok()?;
        Some(Certificate { subject: vote.subject, signers, signatures })
    }

    /// The number of votes stored.
    pub(crate) fn vote_count(&self) -> usize {
        self.votes.len()
    }
}
