//! What authorities vote on, and a quorum's votes in one piece.

use evchain_protocol::authority::MAX_AUTHORITIES;
use evchain_protocol::codec::{Decode, Encode, List, encode};
use evchain_protocol::crypto::{Hash, Purpose, Signature};
use evchain_protocol::primitives::{Epoch, View};
use evchain_protocol::tagged_enum;

use crate::authority_set::{AuthorityIndex, Committee};

/// A block in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct BlockSubject {
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// The block's id.
    pub block: Hash,
}

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct ViewSubject {
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
}

/// What a vote says. Each kind has a signing purpose of its own; all are bound to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The block is valid and may be built upon.
    Notarize(BlockSubject),
    /// The view may be skipped.
    Nullify(ViewSubject),
    /// The signer has not nullified the view and never will: the block can be final.
    Finalize(BlockSubject),
}
tagged_enum!(Subject { 0 => Notarize(BlockSubject), 1 => Nullify(ViewSubject), 2 => Finalize(BlockSubject) });

impl Subject {
    /// To notarize a block.
    pub const fn notarize(epoch: Epoch, view: View, block: Hash) -> Self {
        Self::Notarize(BlockSubject { epoch, view, block })
    }

    /// To nullify a view.
    pub const fn nullify(epoch: Epoch, view: View) -> Self {
        Self::Nullify(ViewSubject { epoch, view })
    }

    /// To finalize a block.
    pub const fn finalize(epoch: Epoch, view: View, block: Hash) -> Self {
        Self::Finalize(BlockSubject { epoch, view, block })
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => subject.epoch,
            Self::Nullify(subject) => subject.epoch,
        }
    }

    /// The view.
    pub const fn view(&self) -> View {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => subject.view,
            Self::Nullify(subject) => subject.view,
        }
    }

    /// The block, if it is about one.
    pub const fn block(&self) -> Option<Hash> {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => Some(subject.block),
            Self::Nullify(_) => None,
        }
    }

    /// The signing purpose.
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Notarize(_) => Purpose::VoteNotarize,
            Self::Nullify(_) => Purpose::VoteNullify,
            Self::Finalize(_) => Purpose::VoteFinalize,
        }
    }

    /// The bytes that are signed. The purpose carries the kind.
    pub fn signed_bytes(&self) -> Vec<u8> {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => encode(subject),
            Self::Nullify(subject) => encode(subject),
        }
    }
}

/// A set of authorities, one bit for each index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Signers(u128);

impl Signers {
    /// Whether it holds this index.
    pub fn contains(self, index: AuthorityIndex) -> bool {
        self.0 & Self::bit(index) != 0
    }

    /// Adds an index.
    pub fn insert(&mut self, index: AuthorityIndex) {
        self.0 |= Self::bit(index);
    }

    /// How many it holds.
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = AuthorityIndex> {
        (0..=u8::MAX).map(AuthorityIndex::new).filter(move |index| self.contains(*index))
    }

    fn bit(index: AuthorityIndex) -> u128 {
        1_u128.checked_shl(u32::from(index.get())).unwrap_or(0)
    }
}

impl FromIterator<AuthorityIndex> for Signers {
    fn from_iter<I: IntoIterator<Item = AuthorityIndex>>(indices: I) -> Self {
        let mut signers = Self::default();
        indices.into_iter().for_each(|index| signers.insert(index));
        signers
    }
}

/// The votes of exactly q = n - f distinct authorities for one subject: a notarization, a
/// nullification or a finalization.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Certificate {
    /// What they voted.
    pub subject: Subject,
    /// Who they are.
    pub signers: Signers,
    /// Their signatures, by ascending index.
    pub signatures: List<Signature, MAX_AUTHORITIES>,
}

/// Why a certificate is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Of another epoch than the one it is checked against.
    #[error("a certificate of epoch {found}, checked against epoch {expected}")]
    WrongEpoch {
        /// The certificate's.
        found: Epoch,
        /// The committee's.
        expected: Epoch,
    },
    /// View 0 is the epoch's root, on which nobody votes.
    #[error("a certificate of view 0")]
    ViewZero,
    /// Not exactly q signers.
    #[error("{found} signers, where exactly {expected} are needed")]
    WrongSignerCount {
        /// Bits set.
        found: usize,
        /// q.
        expected: usize,
    },
    /// As many signatures as signers are needed.
    #[error("{signatures} signatures of {signers} signers")]
    WrongSignatureCount {
        /// Signatures given.
        signatures: usize,
        /// Signers named.
        signers: usize,
    },
    /// An index outside the set.
    #[error("authority {0} is not in the set")]
    UnknownSigner(AuthorityIndex),
    /// Not the signer's signature of the subject.
    #[error("the signature of authority {0} is not valid")]
    BadSignature(AuthorityIndex),
}

impl Certificate {
    /// Checks it in full. `known` gives an authority's signature of this very subject that was
    /// verified before; its bytes are not verified again.
    ///
    /// # Errors
    /// See [`CertificateError`]; the checks run in the order of its variants.
    pub fn verify(
        &self,
        committee: &Committee,
        known: impl Fn(AuthorityIndex) -> Option<Signature>,
    ) -> Result<(), CertificateError> {
        let (found, expected) = (self.subject.epoch(), committee.epoch());
        if found != expected {
            return Err(CertificateError::WrongEpoch { found, expected });
        }
        if self.subject.view() == View::ZERO {
            return Err(CertificateError::ViewZero);
        }
        let (found, expected) = (self.signers.count(), committee.quorum());
        if found != expected {
            return Err(CertificateError::WrongSignerCount { found, expected });
        }
        if self.signatures.len() != found {
            return Err(CertificateError::WrongSignatureCount {
                signatures: self.signatures.len(),
                signers: found,
            });
        }
        if let Some(stranger) = self.signers.iter().find(|index| committee.key(*index).is_none()) {
            return Err(CertificateError::UnknownSigner(stranger));
        }
        for (index, signature) in self.signers.iter().zip(self.signatures.iter()) {
            if known(index) != Some(*signature) {
                committee
                    .verify(&self.subject, index, signature)
                    .map_err(|_| CertificateError::BadSignature(index))?;
            }
        }
        Ok(())
    }

    /// Its size on the wire, in bytes, or a little more.
    pub fn size_hint(&self) -> usize {
        const FIXED_BYTES: usize = 80;
        self.signatures.len().saturating_mul(Signature::LEN).saturating_add(FIXED_BYTES)
    }
}
