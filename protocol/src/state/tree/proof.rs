//! Proofs of what the state holds, and their verification.

use super::node::{Entry, NodeId, TreeDepth, bucket_hash, parent_hash};
use crate::codec::{Decode, Encode, List, TooManyItems};
use crate::crypto::Hash;

/// The most entries that a bucket in a proof may have: a proof stays below 257 KiB. Keys can be
/// ground to fall into one bucket, but at depth 20 it takes 2^32 hashes, and the fees for as many
/// accounts, to make a bucket too large to prove.
pub const MAX_BUCKET_ENTRIES: usize = 4096;

/// The proof of what the state holds under a key: the key's bucket and the way up to the root.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StateProof {
    entries: List<Entry, MAX_BUCKET_ENTRIES>,
    /// The siblings of the bucket, of its parent, and so on up to those below the root.
    siblings: List<Hash, { TreeDepth::MAX as usize }>,
}

/// A proof of another state than the one asked for, or no proof at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof leads to the state root {computed}, not {expected}")]
pub struct WrongRoot {
    /// The root that the proof leads to.
    pub computed: Hash,
    /// The root that it was checked against.
    pub expected: Hash,
}

impl StateProof {
    pub(super) fn new(entries: Vec<Entry>, siblings: Vec<Hash>) -> Result<Self, TooManyItems> {
        Ok(Self { entries: List::new(entries)?, siblings: List::new(siblings)? })
    }

    /// The hash of the value under this key in the state with this root, or none if the state has
    /// no such key.
    ///
    /// The tree's depth need not be known. Buckets and inner nodes are hashed for purposes of their
    /// own, so with another number of siblings the way up meets the root only through
    /// [`Hash::ZERO`], below which there is nothing at any depth.
    ///
    /// # Errors
    /// [`WrongRoot`] if this proves nothing about this key and root.
    pub fn verify(&self, root: Hash, key: &[u8]) -> Result<Option<Hash>, WrongRoot> {
        let key = Entry::key_hash(key);
        let computed = self.root(&key);
        if computed != root {
            return Err(WrongRoot { computed, expected: root });
        }
        // The root fixes the bucket, and a bucket holds a key once.
        Ok(self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value))
    }

    fn root(&self, key: &Hash) -> Hash {
        // The list admits no more siblings than a tree may have levels.
        let depth = u8::try_from(self.siblings.len()).ok().and_then(|levels| TreeDepth::new(levels).ok());
        let mut id = NodeId::bucket_of(key, depth.unwrap_or(TreeDepth::DEFAULT));
        let mut hash = bucket_hash(&self.entries);
        for sibling in self.siblings.iter() {
            hash = parent_hash(id, hash, *sibling);
            id = id.parent();
        }
        hash
    }
}
