//! The blocks above the last committed one, as a tree by parent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evchain_protocol::crypto::{Hash, PublicKey};

use crate::block::Block;
use crate::mutations::{Breakage, broken};

/// The most blocks held. Only quorum-certified blocks and one proposal a view get in, so this is
/// reached only if so many views pass without a finalization.
pub(crate) const MAX_HELD_BLOCKS: usize = 8192;

/// Blocks by hash.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct BlockTree {
    entries: BTreeMap<Hash, Entry>,
    /// (parent, child).
    children: BTreeSet<(Hash, Hash)>,
}

/// A block and how far it got.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Entry {
    pub(crate) block: Arc<Block>,
    pub(crate) progress: Progress,
    /// The body is in the log.
    pub(crate) durable: bool,
    /// A quorum vouches for the block: a certificate names it or one of its descendants.
    pub(crate) vouched: bool,
    /// Who sent the body; `None` if we made it or read it from the log.
    pub(crate) source: Option<PublicKey>,
    /// Another body with the same header and who sent it, in case that the first is spoiled (C4).
    pub(crate) spare: Option<(Arc<Block>, PublicKey)>,
}

impl Entry {
    /// C4: keeps another body beside one that nobody has looked into yet.
    pub(crate) fn keep_spare(&mut self, body: Arc<Block>, source: PublicKey) {
        let is_open = matches!(self.progress, Progress::Waiting | Progress::Executing);
        if is_open && self.spare.is_none() && self.block != body {
            self.spare = Some((body, source));
        }
    }

    /// C4: goes on with the other body. Tells whether there is one.
    pub(crate) fn use_spare(&mut self) -> bool {
        let Some((body, source)) = self.spare.take() else { return false };
        self.block = body;
        self.source = Some(source);
        true
    }
}

/// How far a block got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its parent is not executed.
    Waiting,
    /// The shell was asked to execute it.
    Executing,
    /// It and all its ancestors are valid.
    Executed,
    /// It breaks a rule.
    Invalid(String),
}

impl BlockTree {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<&Entry> {
        self.entries.get(hash)
    }

    pub(crate) fn get_mut(&mut self, hash: &Hash) -> Option<&mut Entry> {
        self.entries.get_mut(hash)
    }

    pub(crate) fn contains(&self, hash: &Hash) -> bool {
        self.entries.contains_key(hash)
    }

    pub(crate) fn is_executed(&self, hash: &Hash) -> bool {
        self.get(hash).is_some_and(|entry| entry.progress == Progress::Executed)
    }

    /// Adds a block, unless it is there or the tree is full. Tells whether it was added.
    pub(crate) fn insert(&mut self, entry: Entry) -> bool {
        let hash = entry.block.hash();
        if self.entries.len() >= MAX_HELD_BLOCKS || self.contains(&hash) {
            return false;
        }
        self.children.insert((entry.block.header().parent_hash, hash));
        self.entries.insert(hash, entry);
        true
    }

    /// Removes one block; its children stay.
    pub(crate) fn remove(&mut self, hash: &Hash) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        self.children.remove(&(entry.block.header().parent_hash, *hash));
        Some(entry)
    }

    /// Removes what this peer sent and what nobody has looked into yet, where no other body is at hand.
    /// Tells whether something is gone.
    pub(crate) fn remove_waiting_from(&mut self, source: PublicKey) -> bool {
        let waiting: Vec<Hash> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.source == Some(source) && entry.progress == Progress::Waiting)
            .filter_map(|(hash, entry)| (!entry.use_spare()).then_some(*hash))
            .collect();
        for hash in &waiting {
            self.remove(hash);
        }
        !waiting.is_empty()
    }

    /// The held children of a block.
    pub(crate) fn children_of(&self, parent: Hash) -> Vec<Hash> {
        let zero = Hash::ZERO;
        self.children
            .range((parent, zero)..)
            .take_while(|(of, _)| *of == parent)
            .map(|(_, child)| *child)
            .collect()
    }

    /// The blocks held.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The block and its held ancestors, newest first.
    pub(crate) fn ancestry(&self, newest: Hash) -> impl Iterator<Item = &Arc<Block>> {
        let mut next = newest;
        std::iter::from_fn(move || {
            let block = &self.get(&next)?.block;
            next = block.header().parent_hash;
            Some(block)
        })
    }

    /// The first ancestor of a block that is not held, the block itself if it is not.
    pub(crate) fn first_missing(&self, newest: Hash) -> Hash {
        self.ancestry(newest).last().map_or(newest, |block| block.header().parent_hash)
    }

    /// Takes out the path from above `tip` to `newest`, oldest first, with all that forks off it.
    /// `None`, and nothing changes, if `newest` does not descend from `tip`.
    pub(crate) fn commit(&mut self, tip: Hash, newest: Hash) -> Option<Vec<Arc<Block>>> {
        let mut path: Vec<Arc<Block>> = self.ancestry(newest).cloned().collect();
        path.reverse();
        if path.first()?.header().parent_hash != tip {
            return None;
        }
        for block in &path {
            let mut dead = self.children_of(block.header().parent_hash);
            dead.retain(|sibling| *sibling != block.hash());
            while let Some(hash) = dead.pop() {
                dead.extend(self.children_of(hash));
                self.remove(&hash);
            }
        }
        for block in &path {
            self.remove(&block.hash());
        }
        if broken(Breakage::CommitBackwards) {
            path.reverse();
        }
        if broken(Breakage::LeaveOutAncestors) {
            path.drain(..path.len().saturating_sub(1));
        }
        Some(path)
    }
}
