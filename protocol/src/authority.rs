//! The authorities of an epoch: who runs the validators and what a quorum of them is.

use std::fmt;

use bincode::de::Decoder;
use bincode::error::DecodeError;
use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};
use crate::crypto::{Hash, PublicKey, Purpose};
use crate::primitives::Epoch;

/// The most authorities that one epoch may have.
pub const MAX_AUTHORITIES: usize = 128;

/// An authority's place in its epoch's set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuthorityIndex(u8);

impl AuthorityIndex {
    /// This place. From [`MAX_AUTHORITIES`] on it is nobody's.
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// The place.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for AuthorityIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The keys of an epoch's authorities, in ascending order. An authority's index is its place here.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Serialize, Deserialize)]
#[serde(try_from = "List<PublicKey, MAX_AUTHORITIES>", into = "List<PublicKey, MAX_AUTHORITIES>")]
pub struct AuthoritySet {
    keys: List<PublicKey, MAX_AUTHORITIES>,
}

/// Keys that cannot be a set of authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritySetError {
    /// A chain needs at least one.
    #[error("a chain needs at least one authority")]
    Empty,
    /// More than [`MAX_AUTHORITIES`].
    #[error("{0} authorities, but at most {MAX_AUTHORITIES} can take part")]
    TooMany(usize),
    /// The same key twice.
    #[error("authority {0} is listed twice")]
    Duplicate(PublicKey),
    /// A key under which nothing can be signed.
    #[error("authority {0} is not a usable Ed25519 key")]
    InvalidKey(PublicKey),
    /// An encoded set with its keys in another order: each set has one encoding, and one root.
    #[error("the authorities are not in ascending order")]
    NotSorted,
}

impl AuthoritySet {
    /// The set of these keys, in any order.
    ///
    /// # Errors
    /// See [`AuthoritySetError`].
    pub fn new(mut keys: Vec<PublicKey>) -> Result<Self, AuthoritySetError> {
        if keys.is_empty() {
            return Err(AuthoritySetError::Empty);
        }
        keys.sort_unstable();
        if let Some((twice, _)) = keys.iter().zip(keys.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(AuthoritySetError::Duplicate(*twice));
        }
        if let Some(weak) = keys.iter().find(|key| !key.is_valid()) {
            return Err(AuthoritySetError::InvalidKey(*weak));
        }
        let len = keys.len();
        Ok(Self { keys: List::new(keys).map_err(|_| AuthoritySetError::TooMany(len))? })
    }

    /// The keys, by index.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// n, the number of authorities.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never true: a set has at least one member.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// f = floor((n - 1) / 3), how many may fail in any way.
    pub fn max_faulty(&self) -> usize {
        self.len().saturating_sub(1) / 3
    }

    /// q = n - f, how many votes decide.
    pub fn quorum(&self) -> usize {
        self.len().saturating_sub(self.max_faulty())
    }

    /// The key of the authority with this index.
    pub fn key(&self, index: usize) -> Option<&PublicKey> {
        self.keys.get(index)
    }

    /// The index of the authority with this key.
    pub fn index_of(&self, key: &PublicKey) -> Option<usize> {
        self.keys.binary_search(key).ok()
    }

    /// What the headers of this epoch commit to as `authority_root`, if this is the epoch's set. It
    /// covers the epoch's number, so that a header's `next_authority_root` differs from its
    /// `authority_root` exactly in the last block of an epoch, even where the set stays.
    pub fn root(&self, epoch: Epoch) -> Hash {
        Hash::of_value(Purpose::AuthoritySet, &(epoch, self))
    }
}

/// Takes keys that are in order already. Whether they are usable was checked by those who made the set, whom whoever
/// decodes it knows by its root.
impl TryFrom<List<PublicKey, MAX_AUTHORITIES>> for AuthoritySet {
    type Error = AuthoritySetError;

    fn try_from(keys: List<PublicKey, MAX_AUTHORITIES>) -> Result<Self, AuthoritySetError> {
        if keys.is_empty() {
            return Err(AuthoritySetError::Empty);
        }
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err(AuthoritySetError::NotSorted);
        }
        Ok(Self { keys })
    }
}

impl From<AuthoritySet> for List<PublicKey, MAX_AUTHORITIES> {
    fn from(set: AuthoritySet) -> Self {
        set.keys
    }
}

impl<C> Decode<C> for AuthoritySet {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let keys = List::decode(decoder)?;
        Self::try_from(keys).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(AuthoritySet);
