//! Where things lie in the tree, and what their hashes are.

use crate::codec::{Decode, Encode};
use crate::crypto::{Hash, Purpose};

/// How many levels lie below the root: the tree has `2^depth` buckets. A parameter of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeDepth(u8);

/// A depth for which nobody should have to find the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state tree of depth {0}, but at most {max} is accepted", max = TreeDepth::MAX)]
pub struct DepthTooLarge(pub u8);

impl TreeDepth {
    /// The greatest depth: 1 GiB of hashes.
    pub const MAX: u8 = 24;
    /// Good for some 10^6 entries: 64 MiB of hashes.
    pub const DEFAULT: Self = Self(20);

    /// This many levels.
    ///
    /// # Errors
    /// [`DepthTooLarge`] above [`Self::MAX`].
    pub const fn new(levels: u8) -> Result<Self, DepthTooLarge> {
        if levels > Self::MAX { Err(DepthTooLarge(levels)) } else { Ok(Self(levels)) }
    }

    /// The number of levels.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number of buckets.
    pub(super) const fn buckets(self) -> u32 {
        2u32.saturating_pow(self.0 as u32)
    }
}

/// A node's number: the root is 1, the children of n are 2n and 2n + 1, so a level's numbers are
/// above those of all levels over it, and the buckets' are the last `2^depth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

impl NodeId {
    pub(super) const ROOT: Self = Self(1);

    /// The bucket of the entry with this key hash.
    pub(super) fn bucket_of(key: &Hash, depth: TreeDepth) -> Self {
        let [a, b, c, d, ..] = *key.as_bytes();
        let unused_bits = 32u32.saturating_sub(u32::from(depth.0));
        // No shift at all is defined for a depth of 0, which uses none of the 32 bits.
        let index = u32::from_be_bytes([a, b, c, d]).checked_shr(unused_bits).unwrap_or(0);
        Self(depth.buckets() | index)
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its place among the buckets, if it is one.
    pub(super) const fn bucket_index(self, depth: TreeDepth) -> usize {
        (self.0 ^ depth.buckets()) as usize
    }

    pub(super) const fn parent(self) -> Self {
        Self(self.0 / 2)
    }

    pub(super) const fn sibling(self) -> Self {
        Self(self.0 ^ 1)
    }

    const fn is_left(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// What a bucket holds of one entry of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The hash of its key, which says where it lies.
    pub key: Hash,
    /// The hash of its value.
    pub value: Hash,
}

impl Entry {
    /// The hash of a key.
    pub fn key_hash(key: &[u8]) -> Hash {
        Hash::of(Purpose::StateKey, key)
    }

    /// The hash of a value.
    pub fn value_hash(value: &[u8]) -> Hash {
        Hash::of(Purpose::StateValue, value)
    }
}

/// The hash of a bucket with these entries.
pub(super) fn bucket_hash(entries: &[Entry]) -> Hash {
    if entries.is_empty() {
        return Hash::ZERO;
    }
    let mut bytes = Vec::with_capacity(entries.len().saturating_mul(2 * Hash::LEN));
    for entry in entries {
        bytes.extend_from_slice(entry.key.as_bytes());
        bytes.extend_from_slice(entry.value.as_bytes());
    }
    Hash::of(Purpose::StateBucket, &bytes)
}

/// The hash of the node over `id` and its sibling, on whichever side each of them is.
pub(super) fn parent_hash(id: NodeId, hash: Hash, sibling: Hash) -> Hash {
    if hash == Hash::ZERO && sibling == Hash::ZERO {
        return Hash::ZERO;
    }
    let (left, right) = if id.is_left() { (hash, sibling) } else { (sibling, hash) };
    Hash::of_parts(Purpose::StateNode, &[left.as_bytes(), right.as_bytes()])
}
