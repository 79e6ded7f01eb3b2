//! Merkle trees over lists: a block's transactions and its events.
//!
//! The tree has the shape of RFC 6962: a level's last node without a sibling moves up as it is.
//! Leaves, inner nodes and the root are hashed for purposes of their own, and the root is over the
//! list's length too, so a root has one list and a node can never pass for a leaf. The top of an
//! empty list is [`Hash::ZERO`].

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};
use crate::crypto::{Hash, Purpose};

/// The most siblings that a proof can have: a list's length is a `u32`.
const MAX_LEVELS: usize = 32;

/// The Merkle tree of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleTree {
    /// From the leaves to the top, which is the one node of the last level.
    levels: Vec<Vec<Hash>>,
}

impl MerkleTree {
    /// The tree of this list of items, each given as its bytes. It must have less than 2^32, as
    /// every list that was decoded has.
    pub fn new<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Self {
        let mut level: Vec<Hash> =
            items.into_iter().map(|item| Hash::of(Purpose::MerkleLeaf, item.as_ref())).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let parents = level.chunks(2).map(parent).collect();
            levels.push(std::mem::replace(&mut level, parents));
        }
        levels.push(level);
        Self { levels }
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// Whether the list has no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a header commits to.
    pub fn root(&self) -> Hash {
        let top = self.levels.last().and_then(|level| level.first()).copied();
        root(self.len() as u64, top.unwrap_or(Hash::ZERO))
    }

    /// The proof that the list has the item that it has at `index`, counted from 0. None if it is
    /// not that long.
    pub fn prove(&self, index: usize) -> Option<InclusionProof> {
        if index >= self.len() {
            return None;
        }
        let mut place = index;
        let mut siblings = Vec::new();
        for level in &self.levels {
            siblings.extend(level.get(place ^ 1));
            place /= 2;
        }
        Some(InclusionProof {
            index: u32::try_from(index).ok()?,
            len: u32::try_from(self.len()).ok()?,
            siblings: List::new(siblings).ok()?,
        })
    }
}

/// The proof that a list has an item at an index.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct InclusionProof {
    index: u32,
    len: u32,
    /// From the leaf's to the one below the top, without those of nodes that have none.
    siblings: List<Hash, MAX_LEVELS>,
}

/// Why an inclusion proof shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// An item behind the end of the list.
    #[error("item {index} of a list of {len}")]
    OutOfRange {
        /// The item's index, counted from 0.
        index: u32,
        /// The list's length.
        len: u32,
    },
    /// Too few or too many siblings for the index and the length.
    #[error("{given} siblings do not lead from item {index} of {len} to the root")]
    WrongLength {
        /// The item's index, counted from 0.
        index: u32,
        /// The list's length.
        len: u32,
        /// How many siblings the proof has.
        given: usize,
    },
    /// Another item, or another list.
    #[error("the proof leads to the root {computed}, not {expected}")]
    WrongRoot {
        /// The root that the proof leads to.
        computed: Hash,
        /// The root that it was checked against.
        expected: Hash,
    },
}

impl InclusionProof {
    /// The item's place in the list, counted from 0. True only once the proof is verified.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The list's length. True only once the proof is verified.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the list has no items. True only of a proof that shows nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Checks that the list with this root has an item of these bytes at the proof's index.
    ///
    /// # Errors
    /// See [`InclusionError`]; nothing is proven in every case.
    pub fn verify(&self, expected: Hash, item: &[u8]) -> Result<(), InclusionError> {
        let Self { index, len, .. } = *self;
        if index >= len {
            return Err(InclusionError::OutOfRange { index, len });
        }
        let wrong_length = InclusionError::WrongLength { index, len, given: self.siblings.len() };
        let mut siblings = self.siblings.iter();
        let mut hash = Hash::of(Purpose::MerkleLeaf, item);
        // The place of the node on the way up, and that of its level's last node.
        let (mut place, mut last) = (index, len.saturating_sub(1));
        while last > 0 {
            if place ^ 1 <= last {
                let sibling = siblings.next().ok_or(wrong_length)?;
                let pair = if place.is_multiple_of(2) { [hash, *sibling] } else { [*sibling, hash] };
                hash = parent(&pair);
            }
            place /= 2;
            last /= 2;
        }
        if siblings.next().is_some() {
            return Err(wrong_length);
        }
        let computed = root(u64::from(len), hash);
        if computed == expected { Ok(()) } else { Err(InclusionError::WrongRoot { computed, expected }) }
    }
}

/// The node over one or two others.
fn parent(nodes: &[Hash]) -> Hash {
    match nodes {
        [] => Hash::ZERO,
        [only] => *only,
        [left, right, ..] => Hash::of_parts(Purpose::MerkleNode, &[left.as_bytes(), right.as_bytes()]),
    }
}

fn root(len: u64, top: Hash) -> Hash {
    Hash::of_parts(Purpose::MerkleRoot, &[&len.to_le_bytes(), top.as_bytes()])
}
