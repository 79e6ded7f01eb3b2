//! What blocks change in the tree before they are final, and the state as they leave it.

use super::committed::Tree;
use super::node::{Entry, NodeId, TreeDepth, bucket_hash, parent_hash};
use super::proof::StateProof;
use crate::codec::TooManyItems;
use crate::crypto::Hash;

/// What one block changes in the tree. Any number of them may stand on the same state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeDelta {
    depth: TreeDepth,
    parent_root: Hash,
    root: Hash,
    /// Every node with a new hash, buckets included, in ascending order.
    pub(super) nodes: Vec<(NodeId, Hash)>,
    /// The buckets with other entries than before, all of them, in ascending order.
    pub(super) buckets: Vec<(NodeId, Box<[Entry]>)>,
}

impl TreeDelta {
    /// The root of the state before the block.
    pub fn parent_root(&self) -> Hash {
        self.parent_root
    }

    /// The root of the state after the block.
    pub fn root(&self) -> Hash {
        self.root
    }
}

/// A delta that was made on another state than the one it was put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a change of the state with root {parent_root} (depth {depth}) on one with root {root} (depth {tree_depth})"
)]
pub struct NotAChild {
    /// The root of the state that the delta stands on.
    pub parent_root: Hash,
    /// The depth of the delta's tree.
    pub depth: u8,
    /// The root of the state that it was put on.
    pub root: Hash,
    /// The depth of that state's tree.
    pub tree_depth: u8,
}

/// The state after a chain of blocks on top of the committed one.
#[derive(Debug, Clone)]
pub struct TreeView<'a> {
    tree: &'a Tree,
    /// Oldest first.
    deltas: Vec<&'a TreeDelta>,
}

/// A key's new value, or none.
struct Change {
    key: Hash,
    value: Option<Hash>,
}

impl<'a> TreeView<'a> {
    pub(super) fn of_tree(tree: &'a Tree) -> Self {
        Self { tree, deltas: Vec::new() }
    }

    /// The state after one more block.
    ///
    /// # Errors
    /// [`NotAChild`] if the block does not stand on this state.
    pub fn then(mut self, delta: &'a TreeDelta) -> Result<Self, NotAChild> {
        let (root, depth) = (self.root(), self.tree.depth());
        if (delta.parent_root, delta.depth) != (root, depth) {
            return Err(NotAChild {
                parent_root: delta.parent_root,
                depth: delta.depth.get(),
                root,
                tree_depth: depth.get(),
            });
        }
        self.deltas.push(delta);
        Ok(self)
    }

    /// The state's root.
    pub fn root(&self) -> Hash {
        self.deltas.last().map_or_else(|| self.tree.root(), |delta| delta.root)
    }

    /// The change that gives these keys these values, or removes them. Of several values of a key
    /// the last counts; removing an absent key changes nothing.
    pub fn update<K, V>(&self, changes: impl IntoIterator<Item = (K, Option<V>)>) -> TreeDelta
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let depth = self.tree.depth();
        let changes = hash_and_sort(changes);
        let (mut buckets, mut hashes) = (Vec::new(), Vec::new());
        // From the last bucket to the first: the nodes come out in descending order, level by level.
        for group in changes.chunk_by(|a, b| same_bucket(a, b, depth)).rev() {
            let Some(first) = group.first() else { continue };
            let id = NodeId::bucket_of(&first.key, depth);
            let before = self.bucket(id);
            let after = merge(before, group);
            if *after != *before {
                hashes.push((id, bucket_hash(&after)));
                buckets.push((id, after));
            }
        }
        let mut nodes = self.rehash(hashes);
        nodes.reverse();
        buckets.reverse();
        let root = nodes.first().map_or_else(|| self.root(), |(_, hash)| *hash);
        TreeDelta { depth, parent_root: self.root(), root, nodes, buckets }
    }

    /// The proof of what the state holds under this key, be it nothing.
    ///
    /// # Errors
    /// [`TooManyItems`] if its bucket holds more than [`MAX_BUCKET_ENTRIES`](super::MAX_BUCKET_ENTRIES).
    pub fn prove(&self, key: &[u8]) -> Result<StateProof, TooManyItems> {
        let bucket = NodeId::bucket_of(&Entry::key_hash(key), self.tree.depth());
        let way_up = std::iter::successors(Some(bucket), |id| Some(id.parent()));
        let siblings =
            way_up.take_while(|id| *id != NodeId::ROOT).map(|id| self.node(id.sibling())).collect();
        StateProof::new(self.bucket(bucket).to_vec(), siblings)
    }

    /// All nodes that have new hashes, given those of the buckets in descending order. Each is
    /// hashed once, after both of its children.
    fn rehash(&self, mut level: Vec<(NodeId, Hash)>) -> Vec<(NodeId, Hash)> {
        let mut nodes = Vec::new();
        while level.first().is_some_and(|(id, _)| *id != NodeId::ROOT) {
            let mut parents = Vec::with_capacity(level.len());
            let mut children = level.iter().peekable();
            while let Some((id, hash)) = children.next() {
                let sibling = match children.next_if(|(next, _)| *next == id.sibling()) {
                    Some((_, sibling)) => *sibling,
                    None => self.node(id.sibling()),
                };
                parents.push((id.parent(), parent_hash(*id, *hash, sibling)));
            }
            nodes.append(&mut level);
            level = parents;
        }
        nodes.append(&mut level);
        nodes
    }

    fn node(&self, id: NodeId) -> Hash {
        self.newest(|delta| find(&delta.nodes, id)).copied().unwrap_or_else(|| self.tree.node(id))
    }

    fn bucket(&self, id: NodeId) -> &'a [Entry] {
        self.newest(|delta| find(&delta.buckets, id)).map_or_else(|| self.tree.bucket(id), Box::as_ref)
    }

    fn newest<T>(&self, find: impl Fn(&'a TreeDelta) -> Option<&'a T>) -> Option<&'a T> {
        self.deltas.iter().rev().find_map(|delta| find(delta))
    }
}

fn find<T>(sorted: &[(NodeId, T)], id: NodeId) -> Option<&T> {
    let place = sorted.binary_search_by_key(&id, |(other, _)| *other).ok()?;
    sorted.get(place).map(|(_, value)| value)
}

/// The changes by key, one for each.
fn hash_and_sort<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    changes: impl IntoIterator<Item = (K, Option<V>)>,
) -> Vec<Change> {
    let mut changes: Vec<Change> = changes
        .into_iter()
        .map(|(key, value)| Change {
            key: Entry::key_hash(key.as_ref()),
            value: value.map(|value| Entry::value_hash(value.as_ref())),
        })
        .collect();
    // Stable, so that the last change of a key is the last of its run.
    changes.sort_by_key(|change| change.key);
    changes.dedup_by(|later, kept| {
        let same = later.key == kept.key;
        if same {
            kept.value = later.value;
        }
        same
    });
    changes
}

fn same_bucket(a: &Change, b: &Change, depth: TreeDepth) -> bool {
    NodeId::bucket_of(&a.key, depth) == NodeId::bucket_of(&b.key, depth)
}

/// A bucket's entries after these changes, both in the order of their keys.
fn merge(before: &[Entry], changes: &[Change]) -> Box<[Entry]> {
    let untouched =
        before.iter().filter(|entry| changes.binary_search_by_key(&entry.key, |change| change.key).is_err());
    let written =
        changes.iter().filter_map(|change| change.value.map(|value| Entry { key: change.key, value }));
    let mut after: Vec<Entry> = untouched.copied().chain(written).collect();
    after.sort_unstable_by_key(|entry| entry.key);
    after.into_boxed_slice()
}
