//! One epoch's authorities in the consensus: the leader schedule, indices and signature checks.

use std::fmt;

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::codec::{Decode, Encode};
use evchain_protocol::crypto::{BadSignature, ChainId, Hash, PublicKey, Signature};
use evchain_protocol::primitives::{Epoch, View};

use crate::block::BlockRef;
use crate::certificate::Subject;

/// An authority's place in its epoch's set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct AuthorityIndex(u8);

impl AuthorityIndex {
    /// The authority at this place, of which there are at most 256.
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

/// The authorities of one epoch of one chain.
#[derive(Debug, Clone)]
pub struct Committee {
    chain: ChainId,
    epoch: Epoch,
    authorities: AuthoritySet,
    authority_root: Hash,
    root: BlockRef,
    offset: u64,
}

impl Committee {
    /// The committee of an epoch that builds on `root`: the genesis block, or the last block of the
    /// epoch before. Its view counts as 0 here, whatever it was when the block was made.
    pub fn new(chain: ChainId, epoch: Epoch, authorities: AuthoritySet, root: BlockRef) -> Self {
        let authority_root = authorities.root();
        let mut first_bytes = [0; 8];
        for (to, from) in first_bytes.iter_mut().zip(root.hash.as_bytes()) {
            *to = *from;
        }
        let root = BlockRef { view: View::ZERO, ..root };
        Self { chain, epoch, authorities, authority_root, root, offset: u64::from_le_bytes(first_bytes) }
    }

    /// The chain.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The block that the epoch builds on, as view 0.
    pub const fn root(&self) -> BlockRef {
        self.root
    }

    /// The keys.
    pub const fn authorities(&self) -> &AuthoritySet {
        &self.authorities
    }

    /// What the headers of this epoch commit to as `authority_root`.
    pub const fn authority_root(&self) -> Hash {
        self.authority_root
    }

    /// n.
    pub fn len(&self) -> usize {
        self.authorities.len()
    }

    /// Never true: a set has at least one member.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// q = n - f.
    pub fn quorum(&self) -> usize {
        self.authorities.quorum()
    }

    /// `leader(e, v) = authority[(v + offset_e) mod n]`, the offset from the hash of the epoch's root.
    pub fn leader(&self, view: View) -> AuthorityIndex {
        let n = u64::try_from(self.len()).unwrap_or(u64::MAX);
        let modulo_n = |number: u64| number.checked_rem(n).unwrap_or(0);
        // Modulo first, so that the sum cannot overflow.
        let place = modulo_n(modulo_n(view.get()).saturating_add(modulo_n(self.offset)));
        AuthorityIndex(u8::try_from(place).unwrap_or(0))
    }

    /// The leader's key.
    pub fn leader_key(&self, view: View) -> Option<PublicKey> {
        self.key(self.leader(view))
    }

    /// The key at this place.
    pub fn key(&self, index: AuthorityIndex) -> Option<PublicKey> {
        self.authorities.key(usize::from(index.0)).copied()
    }

    /// The place of this key.
    pub fn index_of(&self, key: &PublicKey) -> Option<AuthorityIndex> {
        self.authorities.index_of(key).and_then(|place| u8::try_from(place).ok()).map(AuthorityIndex)
    }

    /// All places, ascending.
    pub fn indices(&self) -> impl Iterator<Item = AuthorityIndex> + use<> {
        (0..u8::try_from(self.len()).unwrap_or(u8::MAX)).map(AuthorityIndex)
    }

    /// Checks an authority's signature of a subject.
    ///
    /// # Errors
    /// [`BadSignature`], for an index outside the set too.
    pub fn verify(
        &self,
        subject: &Subject,
        signer: AuthorityIndex,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let key = self.key(signer).ok_or(BadSignature)?;
        key.verify(subject.purpose(), self.chain, &subject.signed_bytes(), signature)
    }
}
