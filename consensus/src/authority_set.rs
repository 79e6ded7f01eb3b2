//! One epoch's authorities in the consensus: the leader schedule and who they are.

use evchain_protocol::authority::{AuthorityIndex, AuthoritySet};
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::finality::Electorate;
use evchain_protocol::primitives::{Epoch, Height, View};

use crate::block::BlockRef;
use crate::mutations::{Breakage, broken};

/// The authorities of one epoch of one chain.
#[derive(Debug, Clone)]
pub struct Committee {
    electorate: Electorate,
    authority_root: Hash,
    root: BlockRef,
    last_height: Height,
    offset: u64,
}

impl Committee {
    /// The committee of an epoch that builds on `root`: the genesis block, or the last block of the
    /// epoch before. Its view counts as 0 here, whatever it was when the block was made.
    pub fn new(chain: ChainId, epoch: Epoch, authorities: AuthoritySet, root: BlockRef) -> Self {
        let authority_root = authorities.root(epoch);
        let mut first_bytes = [0; 8];
        for (to, from) in first_bytes.iter_mut().zip(root.hash.as_bytes()) {
            *to = *from;
        }
        let root = BlockRef { view: View::ZERO, ..root };
        let electorate = Electorate { chain, epoch, authorities };
        let (offset, last_height) = (u64::from_le_bytes(first_bytes), Height::MAX);
        Self { electorate, authority_root, root, last_height, offset }
    }

    /// What checks their votes.
    pub const fn electorate(&self) -> &Electorate {
        &self.electorate
    }

    /// The same committee, whose epoch ends with the block at this height (E1). Without this it does
    /// not end.
    #[must_use]
    pub fn ending_at(self, last_height: Height) -> Self {
        Self { last_height, ..self }
    }

    /// The chain.
    pub const fn chain(&self) -> ChainId {
        self.electorate.chain
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.electorate.epoch
    }

    /// The block that the epoch builds on, as view 0.
    pub const fn root(&self) -> BlockRef {
        self.root
    }

    /// L, the height of the epoch's last block.
    pub const fn last_height(&self) -> Height {
        self.last_height
    }

    /// The keys.
    pub const fn authorities(&self) -> &AuthoritySet {
        &self.electorate.authorities
    }

    /// What the headers of this epoch commit to as `authority_root`.
    pub const fn authority_root(&self) -> Hash {
        self.authority_root
    }

    /// n.
    pub fn len(&self) -> usize {
        self.electorate.authorities.len()
    }

    /// Never true: a set has at least one member.
    pub fn is_empty(&self) -> bool {
        self.electorate.authorities.is_empty()
    }

    /// q = n - f.
    pub fn quorum(&self) -> usize {
        self.electorate.quorum().saturating_sub(usize::from(broken(Breakage::QuorumOffByOne)))
    }

    /// `leader(e, v) = authority[(v + offset_e) mod n]`, the offset from the hash of the epoch's root.
    pub fn leader(&self, view: View) -> AuthorityIndex {
        let n = u64::try_from(self.len()).unwrap_or(u64::MAX);
        let modulo_n = |number: u64| number.checked_rem(n).unwrap_or(0);
        // Modulo first, so that the sum cannot overflow.
        let place = modulo_n(modulo_n(view.get()).saturating_add(modulo_n(self.offset)));
        AuthorityIndex::new(u8::try_from(place).unwrap_or(0))
    }

    /// The leader's key.
    pub fn leader_key(&self, view: View) -> Option<PublicKey> {
        self.key(self.leader(view))
    }

    /// The key at this place.
    pub fn key(&self, index: AuthorityIndex) -> Option<PublicKey> {
        self.electorate.key(index)
    }

    /// The place of this key.
    pub fn index_of(&self, key: &PublicKey) -> Option<AuthorityIndex> {
        self.electorate.index_of(key)
    }

    /// All places, ascending.
    pub fn indices(&self) -> impl Iterator<Item = AuthorityIndex> + use<> {
        (0..u8::try_from(self.len()).unwrap_or(u8::MAX)).map(AuthorityIndex::new)
    }
}
