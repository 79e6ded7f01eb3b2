use std::sync::Arc;
use std::time::Instant;

use evchain_consensus::block::{Block, MAX_PAYLOAD_BYTES};
use evchain_consensus::input::Execution;
use evchain_consensus::output::Contents;
use evchain_protocol::block::Header;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::Hash;
use evchain_protocol::execute::{BlockError, ExecutedBlock, Filled, Parent, execute_block, fill_block};
use evchain_protocol::finality::Certificate;
use evchain_protocol::light::Checkpoint;
use evchain_protocol::primitives::TxRef;
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::tree::{Tree, TreeDelta};
use evchain_protocol::transaction::VerifiedTransaction;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error};

use super::error::{ChainError, OtherThanTrusted};
use super::handle::{BuildOrder, Built, Command, EntryProof};
use super::pace::Pace;
use super::packing::{failed, pack};
use super::pending::{PendingBlock, PendingBlocks, is_used_up, with_changes};
use super::reader::{ChainReader, FinalBlock, FinalTransaction};
use super::state::CommittedState;
use crate::store::tables::{BLOCKS, EVENTS, FINALIZATIONS, HEIGHTS, STATE, TIP, TRANSACTIONS, Tip};
use crate::store::{Batch, Durability};

/// The thread that owns the ledger: the tree over the committed state, and the blocks that were
/// executed and are not final.
#[derive(Debug)]
pub(super) struct Worker {
    reader: ChainReader,
    tree: Tree,
    tip: Header,
    tip_hash: Hash,
    pending: PendingBlocks,
    pace: Pace,
    tip_sender: watch::Sender<Header>,
    failure: watch::Sender<Option<String>>,
    /// Blocks in whose places no others are final, whoever signed them.
    trust: Vec<Checkpoint>,
}

impl Worker {
    pub(super) fn new(
        reader: ChainReader,
        tree: Tree,
        tip: Header,
        tip_sender: watch::Sender<Header>,
        failure: watch::Sender<Option<String>>,
        trust: Vec<Checkpoint>,
    ) -> Self {
        let tip_hash = tip.hash();
        let (pending, pace) = (PendingBlocks::default(), Pace::default());
        Self { reader, tree, tip, tip_hash, pending, pace, tip_sender, failure, trust }
    }

    /// Runs until the last handle is gone or the store fails.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.blocking_recv() {
            // Whoever no longer waits for a reply has no need of it.
            match command {
                // The view is over: the block was given up before its turn (M15).
                Command::Build { reply, .. } if reply.is_closed() => {}
                Command::Build { order, reply } => {
                    let built = self.build(*order, || reply.is_closed());
                    let _ = reply.send(built);
                }
                Command::Execute { block, transactions, reply } => {
                    let _ = reply.send(self.execute(block, transactions));
                }
                Command::Commit { blocks, finalization, reply } => {
                    if let Err(error) = self.commit(&blocks, &finalization) {
                        // What is final and not written must not be built upon.
                        error!(%error, "chain: final blocks could not be written");
                        self.failure.send_replace(Some(error.to_string()));
                        return;
                    }
                    let _ = reply.send(());
                }
                Command::Prove { key, reply } => {
                    let _ = reply.send(self.prove(key));
                }
            }
        }
    }

    fn build(
        &mut self,
        order: BuildOrder,
        is_abandoned: impl Fn() -> bool,
    ) -> Result<Option<Built>, ChainError> {
        let BuildOrder { request, time, limits, mut candidates, or_empty } = order;
        let started = Instant::now();
        let most = limits.transactions.min(self.pace.within(limits.time));
        let mut tried = 0_usize;
        let packed = self.on_parent(&request.parent.hash, |parent, branch| {
            let built = fill_block(parent, time, |filled: Filled| {
                let took = started.elapsed();
                let is_late = tried > 0 && took >= limits.time;
                if filled.transactions >= most || filled.bytes >= limits.bytes || is_late || is_abandoned() {
                    return None;
                }
                if took >= limits.time / 2 {
                    candidates.end_shares();
                }
                loop {
                    let candidate = candidates.next(filled)?;
                    // The pool follows what is final; the parent is ahead of that (M13).
                    if !is_used_up(branch, &candidate) {
                        tried = tried.saturating_add(1);
                        return Some(candidate);
                    }
                }
            });
            pack(parent, time, built.map_err(|error| failed(&error))?, MAX_PAYLOAD_BYTES)
        })?;
        let (built, payload) = packed?;
        for (transaction, reason) in &built.rejected {
            debug!(id = %transaction.id(), %reason, "chain: a candidate is not valid in this block");
        }
        // The mempool decides by what is final.
        candidates.report(built.rejected.iter().map(|(transaction, _)| &**transaction));
        let transactions = built.transactions.len();
        // What was tried in vain took its time too, and says nothing of how slow the others are.
        self.pace.learn(tried, started.elapsed());
        if transactions == 0 && !or_empty {
            return Ok(None);
        }
        let ExecutedBlock { tx_root, event_root, state_root, next_authorities, .. } = &built.executed;
        let block = request.finish(Contents {
            time_ms: time,
            tx_root: *tx_root,
            event_root: *event_root,
            state_root: *state_root,
            next_authority_root: next_authorities.root(),
            payload,
        });
        self.pending.insert(PendingBlock::new(Arc::clone(&block), built.transactions, built.executed));
        Ok(Some(Built { block, transactions }))
    }

    fn execute(&mut self, block: Arc<Block>, transactions: Vec<Arc<VerifiedTransaction>>) -> Execution {
        if self.pending.contains(&block.hash()) {
            return Execution::Valid;
        }
        let header = block.header();
        let started = Instant::now();
        match self.on_parent(&header.parent_hash, |parent, _| execute_block(parent, header, &transactions)) {
            Ok(Ok(executed)) => {
                self.pace.learn(transactions.len(), started.elapsed());
                self.pending.insert(PendingBlock::new(block, transactions, executed));
                Execution::Valid
            }
            Ok(Err(BlockError::Invalid(reason))) => Execution::Invalid(reason.to_string()),
            Ok(Err(BlockError::Failed(error))) => Execution::Failed(error.to_string()),
            Err(error) => Execution::Failed(error.to_string()),
        }
    }

    /// Calls `work` with the state after this block, which is the tip or pending, and with the pending blocks
    /// up to it.
    fn on_parent<T>(
        &self,
        hash: &Hash,
        work: impl FnOnce(&Parent<'_>, &[&PendingBlock]) -> T,
    ) -> Result<T, ChainError> {
        let branch = self.pending.branch(&self.tip_hash, hash).ok_or(ChainError::UnknownParent)?;
        let committed = CommittedState::new(self.reader.store.snapshot());
        let mut tree = self.tree.unchanged();
        for pending in &branch {
            tree = tree.then(&pending.delta).map_err(|error| ChainError::Internal(error.to_string()))?;
        }
        let header = branch.last().map_or(&self.tip, |newest| newest.block.header());
        Ok(with_changes(&committed, &branch, |state| work(&Parent { header, state, tree: &tree }, &branch)))
    }

    /// One write for all of them: blocks, state, indexes, certificate and tip. It need not be
    /// synced, since the consensus log holds the blocks and the finalization until it is.
    fn commit(&mut self, blocks: &[Arc<Block>], finalization: &Certificate) -> Result<(), ChainError> {
        let mut batch = Batch::default();
        let mut finals = Vec::with_capacity(blocks.len());
        let mut deltas = Vec::with_capacity(blocks.len());
        for block in blocks {
            self.refuse_other_history(block)?;
            let pending = self.pending.take(&block.hash()).ok_or(ChainError::UnknownParent)?;
            let (final_block, delta) = write_block(&mut batch, pending)?;
            finals.push(final_block);
            deltas.push(delta);
        }
        let Some(newest) = finals.last() else { return Ok(()) };
        let tip = Tip { height: newest.header.height, hash: newest.hash };
        batch.put(&FINALIZATIONS, &tip.height, finalization);
        batch.put(&TIP, &(), &tip);
        self.reader.store.write(batch, Durability::Buffered)?;

        for delta in deltas {
            self.tree.apply(delta).map_err(|error| ChainError::Internal(error.to_string()))?;
        }
        self.tip = newest.header.clone();
        self.tip_hash = tip.hash;
        self.pending.forget_up_to(tip.height);
        self.tip_sender.send_replace(self.tip.clone());
        for final_block in finals {
            // Nobody may be following.
            let _ = self.reader.finals.send(Arc::new(final_block));
        }
        Ok(())
    }

    fn refuse_other_history(&self, block: &Block) -> Result<(), OtherThanTrusted> {
        let found = Checkpoint { height: block.header().height, block: block.hash() };
        match self.trust.iter().find(|trusted| trusted.contradicts(found.height, &found.block)) {
            Some(trusted) => Err(OtherThanTrusted { found, trusted: *trusted }),
            None => Ok(()),
        }
    }

    fn prove(&self, key: StateKey) -> Result<EntryProof, ChainError> {
        let bytes = key.to_bytes();
        let proof =
            self.tree.unchanged().prove(&bytes).map_err(|error| ChainError::Internal(error.to_string()))?;
        let value = self.reader.store.get(&STATE, &key)?.map(|value| evchain_protocol::codec::encode(&value));
        Ok(EntryProof { header: self.tip.clone(), value, proof })
    }
}

fn write_block(batch: &mut Batch, pending: PendingBlock) -> Result<(FinalBlock, TreeDelta), ChainError> {
    let PendingBlock { block, transactions, changes, events, delta, used: _ } = pending;
    let (hash, height) = (block.hash(), block.header().height);
    batch.put_changes(changes);
    batch.put(&BLOCKS, &height, block.as_ref());
    batch.put(&HEIGHTS, &hash, &height);
    let mut final_transactions = Vec::with_capacity(transactions.len());
    for (index, transaction) in (0..).zip(&transactions) {
        let place = TxRef::new(height, index).map_err(|error| ChainError::Internal(error.to_string()))?;
        batch.put(&TRANSACTIONS, &transaction.id(), &place);
        final_transactions.push(FinalTransaction {
            id: transaction.id(),
            sender: *transaction.sender(),
            nonce: transaction.nonce(),
            place,
        });
    }
    let listed = List::new(events.clone()).map_err(|error| ChainError::Internal(error.to_string()))?;
    batch.put(&EVENTS, &height, &listed);
    let final_block =
        FinalBlock { hash, header: block.header().clone(), transactions: final_transactions, events };
    Ok((final_block, delta))
}
