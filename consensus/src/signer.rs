//! The only place where votes are signed. It knows what it signed in each view and refuses what would
//! contradict it, whatever the engine asks for (`docs/protocol.md`, G1 to G5).

use std::collections::BTreeMap;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::{Hash, KeyPair, PublicKey, Signature};
use evchain_protocol::finality::{Subject, Vote};
use evchain_protocol::primitives::View;

use crate::authority_set::Committee;
use crate::mutations::{Breakage, broken};

/// An authority's key with the record of what it signed.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Signer {
    key: KeyPair,
    index: AuthorityIndex,
    /// Votes at or below this view are neither remembered nor signed.
    floor: View,
    records: BTreeMap<View, VoteRecord>,
}

/// What was signed in one view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VoteRecord {
    /// The vote to notarize.
    pub notarize: Option<Vote>,
    /// The vote to nullify.
    pub nullify: Option<Vote>,
    /// The vote to finalize.
    pub finalize: Option<Vote>,
}

impl VoteRecord {
    /// The votes.
    pub fn votes(&self) -> impl Iterator<Item = Vote> + use<> {
        [self.notarize, self.nullify, self.finalize].into_iter().flatten()
    }

    /// The block that was notarized.
    pub fn notarized(&self) -> Option<Hash> {
        self.notarize.and_then(|vote| vote.subject.block())
    }
}

/// Why a vote was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The epoch's view is already final, and its record forgotten.
    #[error("view {view} is not above view {floor}, which is final")]
    BelowFloor {
        /// The view asked for.
        view: View,
        /// The final view.
        floor: View,
    },
    /// A vote of another key.
    #[error("the vote is of authority {0}")]
    Foreign(AuthorityIndex),
    /// G1: another block was notarized.
    #[error("another block was notarized in view {0}")]
    DoubleNotarize(View),
    /// G2: the view was nullified.
    #[error("view {0} was nullified, so nothing can be notarized")]
    NotarizeAfterNullify(View),
    /// G3: a block was finalized.
    #[error("a block was finalized in view {0}, so the view cannot be nullified")]
    NullifyAfterFinalize(View),
    /// G3: the view was nullified.
    #[error("view {0} was nullified, so nothing can be finalized")]
    FinalizeAfterNullify(View),
    /// G4: another block was finalized.
    #[error("another block was finalized in view {0}")]
    DoubleFinalize(View),
    /// G5: one block was notarized and another one is to be finalized, or the other way round.
    #[error("different blocks to notarize and to finalize in view {0}")]
    Mismatch(View),
}

impl Signer {
    /// The signer of this committee's member, with nothing signed above `floor`. `None` if the key is
    /// not a member's.
    pub fn new(key: KeyPair, committee: &Committee, floor: View) -> Option<Self> {
        let index = committee.index_of(&key.public_key())?;
        Some(Self { key, index, floor, records: BTreeMap::new() })
    }

    /// The place of the key in the committee.
    pub const fn index(&self) -> AuthorityIndex {
        self.index
    }

    /// The key's public half.
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// What was signed in a view.
    pub fn record(&self, view: View) -> VoteRecord {
        self.records.get(&view).copied().unwrap_or_default()
    }

    /// What was signed in each view above the floor.
    pub fn records(&self) -> impl Iterator<Item = (View, &VoteRecord)> {
        self.records.iter().map(|(view, record)| (*view, record))
    }

    /// Signs, or gives the same vote again.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn vote(&mut self, committee: &Committee, subject: Subject) -> Result<Vote, Refusal> {
        self.check(&subject)?;
        let signature = if broken(Breakage::NoSignatures) {
            Signature::from_bytes([0; Signature::LEN])
        } else {
            self.key.sign(subject.purpose(), committee.chain(), &subject.signed_bytes())
        };
        let vote = Vote { subject, signer: self.index, signature };
        self.remember(vote);
        Ok(vote)
    }

    /// Takes a vote from the log into the record.
    ///
    /// # Errors
    /// See [`Refusal`]; the log is damaged or not this key's.
    pub fn restore(&mut self, vote: Vote) -> Result<(), Refusal> {
        if vote.signer != self.index {
            return Err(Refusal::Foreign(vote.signer));
        }
        self.check(&vote.subject)?;
        self.remember(vote);
        Ok(())
    }

    /// Forgets the views up to this one, which is final.
    pub fn raise_floor(&mut self, floor: View) {
        self.floor = self.floor.max(floor);
        self.records.retain(|view, _| *view > floor);
    }

    fn check(&self, subject: &Subject) -> Result<(), Refusal> {
        let view = subject.view();
        if view <= self.floor {
            return Err(Refusal::BelowFloor { view, floor: self.floor });
        }
        let record = self.record(view);
        let finalized = record.finalize.and_then(|vote| vote.subject.block());
        match subject {
            Subject::Notarize(subject) => {
                if record.nullify.is_some() {
                    return Err(Refusal::NotarizeAfterNullify(view));
                }
                if record.notarized().is_some_and(|block| block != subject.block) {
                    return Err(Refusal::DoubleNotarize(view));
                }
                if finalized.is_some_and(|block| block != subject.block) {
                    return Err(Refusal::Mismatch(view));
                }
            }
            Subject::Nullify(_) => {
                if finalized.is_some() {
                    return Err(Refusal::NullifyAfterFinalize(view));
                }
            }
            Subject::Finalize(subject) => {
                if record.nullify.is_some() && !broken(Breakage::ForgetNullify) {
                    return Err(Refusal::FinalizeAfterNullify(view));
                }
                if finalized.is_some_and(|block| block != subject.block) {
                    return Err(Refusal::DoubleFinalize(view));
                }
                if record.notarized().is_some_and(|block| block != subject.block)
                    && !broken(Breakage::FinalizeOtherBlock)
                {
                    return Err(Refusal::Mismatch(view));
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, vote: Vote) {
        let record = self.records.entry(vote.subject.view()).or_default();
        match vote.subject {
            Subject::Notarize(_) => record.notarize = Some(vote),
            Subject::Nullify(_) => record.nullify = Some(vote),
            Subject::Finalize(_) => record.finalize = Some(vote),
        }
    }
}
