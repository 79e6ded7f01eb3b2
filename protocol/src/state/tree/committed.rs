//! The tree of the committed state, in memory.

use super::node::{Entry, NodeId, TreeDepth};
use super::view::{NotAChild, TreeDelta, TreeView};
use crate::crypto::Hash;

/// The tree of the committed state.
///
/// It takes `64 * 2^depth` bytes for the hashes, `16 * 2^depth` for the buckets and 64 for each
/// entry. The hashes' memory is only touched where there are entries.
#[derive(Debug, Clone)]
pub struct Tree {
    depth: TreeDepth,
    /// The hashes of all nodes by number. Plain bytes, not [`Hash`], since the allocator hands out
    /// those as untouched zero pages.
    nodes: Vec<[u8; Hash::LEN]>,
    /// Each sorted by key.
    buckets: Vec<Box<[Entry]>>,
}

impl Tree {
    /// The tree of the empty state.
    pub fn empty(depth: TreeDepth) -> Self {
        let buckets = depth.buckets() as usize;
        Self {
            depth,
            nodes: vec![[0; Hash::LEN]; buckets.saturating_mul(2)],
            buckets: vec![Box::default(); buckets],
        }
    }

    /// The tree of a state with these keys and values. Of several values of a key the last counts.
    pub fn from_entries<K, V>(depth: TreeDepth, entries: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut tree = Self::empty(depth);
        let delta = tree.unchanged().update(entries.into_iter().map(|(key, value)| (key, Some(value))));
        tree.write(delta);
        tree
    }

    /// Its depth.
    pub fn depth(&self) -> TreeDepth {
        self.depth
    }

    /// What a header commits to as `state_root`.
    pub fn root(&self) -> Hash {
        self.node(NodeId::ROOT)
    }

    /// The committed state itself.
    pub fn unchanged(&self) -> TreeView<'_> {
        TreeView::of_tree(self)
    }

    /// The state after these blocks, of which the first stands on the committed state and each
    /// further one on the block before it.
    ///
    /// # Errors
    /// [`NotAChild`] where one does not stand on the state before it.
    pub fn view<'a>(
        &'a self,
        deltas: impl IntoIterator<Item = &'a TreeDelta>,
    ) -> Result<TreeView<'a>, NotAChild> {
        deltas.into_iter().try_fold(self.unchanged(), TreeView::then)
    }

    /// Commits a block.
    ///
    /// # Errors
    /// [`NotAChild`] if it does not stand on the committed state, which then stays as it is.
    pub fn apply(&mut self, delta: TreeDelta) -> Result<(), NotAChild> {
        self.unchanged().then(&delta)?;
        self.write(delta);
        Ok(())
    }

    pub(super) fn node(&self, id: NodeId) -> Hash {
        self.nodes.get(id.index()).copied().map(Hash::from_bytes).unwrap_or_default()
    }

    pub(super) fn bucket(&self, id: NodeId) -> &[Entry] {
        self.buckets.get(id.bucket_index(self.depth)).map(Box::as_ref).unwrap_or_default()
    }

    fn write(&mut self, delta: TreeDelta) {
        for (id, hash) in delta.nodes {
            if let Some(slot) = self.nodes.get_mut(id.index()) {
                *slot = *hash.as_bytes();
            }
        }
        for (id, entries) in delta.buckets {
            if let Some(slot) = self.buckets.get_mut(id.bucket_index(self.depth)) {
                *slot = entries;
            }
        }
    }
}
