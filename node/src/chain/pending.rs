use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_consensus::block::Block;
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::event::EventRecord;
use evchain_protocol::execute::ExecutedBlock;
use evchain_protocol::primitives::{Height, Nonce};
use evchain_protocol::state::changes::Changes;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::state::tree::TreeDelta;
use evchain_protocol::transaction::VerifiedTransaction;

/// A block that was executed and is not final.
#[derive(Debug)]
pub(super) struct PendingBlock {
    pub(super) block: Arc<Block>,
    pub(super) transactions: Vec<Arc<VerifiedTransaction>>,
    pub(super) changes: Changes,
    pub(super) events: Vec<EventRecord>,
    pub(super) delta: TreeDelta,
    /// The newest nonce that each sender has used in it.
    pub(super) used: BTreeMap<PublicKey, Nonce>,
}

impl PendingBlock {
    pub(super) fn new(
        block: Arc<Block>,
        transactions: Vec<Arc<VerifiedTransaction>>,
        executed: ExecutedBlock,
    ) -> Self {
        let ExecutedBlock { changes, tree: delta, events, .. } = executed;
        // A sender's come in the order of their nonces, so the last one stays.
        let used =
            transactions.iter().map(|transaction| (*transaction.sender(), transaction.nonce())).collect();
        Self { block, transactions, changes, events, delta, used }
    }
}

/// Whether these blocks, oldest first, leave no room for a transaction: its nonce is used up.
pub(super) fn is_used_up(branch: &[&PendingBlock], transaction: &VerifiedTransaction) -> bool {
    let mut used = branch.iter().rev().filter_map(|pending| pending.used.get(transaction.sender()));
    used.next().is_some_and(|used| *used >= transaction.nonce())
}

/// The blocks that were executed and are not final, which form a tree above the tip. The
/// consensus bounds it: a few views, each with few blocks.
#[derive(Debug, Default)]
pub(super) struct PendingBlocks(BTreeMap<Hash, PendingBlock>);

impl PendingBlocks {
    pub(super) fn insert(&mut self, pending: PendingBlock) {
        self.0.insert(pending.block.hash(), pending);
    }

    pub(super) fn contains(&self, block: &Hash) -> bool {
        self.0.contains_key(block)
    }

    pub(super) fn take(&mut self, block: &Hash) -> Option<PendingBlock> {
        self.0.remove(block)
    }

    /// Forgets what lost against the final block at this height.
    pub(super) fn forget_up_to(&mut self, height: Height) {
        self.0.retain(|_, pending| pending.block.header().height > height);
    }

    /// The blocks from above `tip` to `newest`, oldest first; none if they are not all here.
    pub(super) fn branch(&self, tip: &Hash, newest: &Hash) -> Option<Vec<&PendingBlock>> {
        let mut branch = Vec::new();
        let mut next = newest;
        while next != tip {
            let pending = self.0.get(next)?;
            branch.push(pending);
            next = &pending.block.header().parent_hash;
        }
        branch.reverse();
        Some(branch)
    }
}

/// Calls `work` with the state that these changes, oldest first, make of `base`.
pub(super) fn with_changes<T>(
    base: &dyn StateRead,
    layers: &[&PendingBlock],
    work: impl FnOnce(&dyn StateRead) -> T,
) -> T {
    match layers.split_first() {
        None => work(base),
        Some((oldest, newer)) => with_changes(&oldest.changes.on(base), newer, work),
    }
}
