//! A quorum's votes in one piece.

use serde::{Deserialize, Serialize};

use super::electorate::Electorate;
use super::vote::Subject;
use crate::authority::{AuthorityIndex, MAX_AUTHORITIES};
use crate::codec::{Decode, Encode, List};
use crate::crypto::Signature;
use crate::primitives::{Epoch, View};

/// A set of authorities, one bit for each index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(try_from = "Vec<AuthorityIndex>", into = "Vec<AuthorityIndex>")]
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

/// An index that no authority of any chain has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authority {0}, but a set has at most {MAX_AUTHORITIES}")]
pub struct NoSuchAuthority(AuthorityIndex);

impl TryFrom<Vec<AuthorityIndex>> for Signers {
    type Error = NoSuchAuthority;

    fn try_from(indices: Vec<AuthorityIndex>) -> Result<Self, NoSuchAuthority> {
        match indices.iter().find(|index| usize::from(index.get()) >= MAX_AUTHORITIES) {
            Some(index) => Err(NoSuchAuthority(*index)),
            None => Ok(indices.into_iter().collect()),
        }
    }
}

impl From<Signers> for Vec<AuthorityIndex> {
    fn from(signers: Signers) -> Self {
        signers.iter().collect()
    }
}

/// The votes of exactly q = n - f distinct authorities for one subject: a notarization, a
/// nullification or a finalization.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
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
        /// The other's.
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
        electorate: &Electorate,
        known: impl Fn(AuthorityIndex) -> Option<Signature>,
    ) -> Result<(), CertificateError> {
        let (found, expected) = (self.subject.epoch(), electorate.epoch);
        if found != expected {
            return Err(CertificateError::WrongEpoch { found, expected });
        }
        if self.subject.view() == View::ZERO {
            return Err(CertificateError::ViewZero);
        }
        let (found, expected) = (self.signers.count(), electorate.quorum());
        if found != expected {
            return Err(CertificateError::WrongSignerCount { found, expected });
        }
        if self.signatures.len() != found {
            return Err(CertificateError::WrongSignatureCount {
                signatures: self.signatures.len(),
                signers: found,
            });
        }
        if let Some(stranger) = self.signers.iter().find(|index| electorate.key(*index).is_none()) {
            return Err(CertificateError::UnknownSigner(stranger));
        }
        for (index, signature) in self.signers.iter().zip(self.signatures.iter()) {
            if known(index) != Some(*signature) {
                electorate
                    .verify(&self.subject, index, signature)
                    .map_err(|_| CertificateError::BadSignature(index))?;
            }
        }
        Ok(())
    }

    /// Its size on the wire without its signatures, in bytes, or a little more.
    pub const FIXED_BYTES: usize = 80;

    /// Its size on the wire, in bytes, or a little more.
    pub fn size_hint(&self) -> usize {
        self.signatures.len().saturating_mul(Signature::LEN).saturating_add(Self::FIXED_BYTES)
    }
}
