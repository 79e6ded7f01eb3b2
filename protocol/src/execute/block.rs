//! Whole blocks: the leader builds one, everybody executes it.

use std::borrow::Borrow;

use super::context::BlockContext;
use super::ledger::{ExecuteError, Ledger};
use crate::block::Header;
use crate::codec::encode;
use crate::crypto::{ChainId, Hash};
use crate::event::EventRecord;
use crate::merkle::MerkleTree;
use crate::primitives::{Height, OutOfRange, Timestamp};
use crate::state::authority::Authorities;
use crate::state::changes::Changes;
use crate::state::read::{ReadError, StateRead};
use crate::state::tree::{TreeDelta, TreeView};
use crate::transaction::{RejectReason, VerifiedTransaction};

/// The block that another stands on.
#[derive(Clone, Copy)]
pub struct Parent<'a> {
    /// Its header.
    pub header: &'a Header,
    /// The state after it.
    pub state: &'a dyn StateRead,
    /// The tree over that state.
    pub tree: &'a TreeView<'a>,
}

/// What executing a block gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutedBlock {
    /// What it changes in the state.
    pub changes: Changes,
    /// What it changes in the state's tree.
    pub tree: TreeDelta,
    /// What happened, in order.
    pub events: Vec<EventRecord>,
    /// Merkle root over the transactions' ids.
    pub tx_root: Hash,
    /// Merkle root over the events, see [`event_leaf`].
    pub event_root: Hash,
    /// Root of the state after the block.
    pub state_root: Hash,
    /// The next block's epoch: this block's, or the one after it if this block is its epoch's last.
    pub next_authorities: Authorities,
}

/// A block that a leader can propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltBlock<T> {
    /// What executing it gives.
    pub executed: ExecutedBlock,
    /// Its transactions, in order.
    pub transactions: Vec<T>,
    /// Candidates that break a rule where they would have stood.
    pub rejected: Vec<(T, RejectReason)>,
    /// Candidates for which there was no room.
    pub left_over: Vec<T>,
}

/// Why a block was not executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// No validator may vote for it.
    #[error("the block is invalid: {0}")]
    Invalid(#[from] InvalidBlock),
    /// We could not tell: our state could not be read.
    #[error(transparent)]
    Failed(#[from] ReadError),
}

/// What is wrong with a block. The checks stand in this order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum InvalidBlock {
    #[error("it is of chain {given}, its parent of {chain}")]
    OtherChain { given: ChainId, chain: ChainId },
    #[error("its height is {given}, its parent's {parent}")]
    Height { given: Height, parent: Height },
    #[error("its parent is {given}, not {parent}")]
    Parent { given: Hash, parent: Hash },
    #[error("its time, {given}, is not after its parent's, {parent}")]
    Time { given: Timestamp, parent: Timestamp },
    #[error("it has {given} transactions, but at most {max} are allowed")]
    TooManyTransactions { given: usize, max: u32 },
    #[error("its transactions have {given} bytes, but at most {max} are allowed")]
    TooManyBytes { given: usize, max: u32 },
    #[error("transaction {index}: {reason}")]
    Transaction { index: u32, reason: RejectReason },
    #[error("its header's {name} is {given}, but execution gives {executed}")]
    Root { name: &'static str, given: Hash, executed: Hash },
}

/// The bytes of an event's leaf in the tree over a block's events.
pub fn event_leaf(event: &EventRecord) -> Vec<u8> {
    encode(event)
}

/// What a block under construction holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled {
    /// Its transactions.
    pub transactions: usize,
    /// The bytes of their encodings.
    pub bytes: usize,
}

/// A block has as good as no room left once so many candidates in it did not fit.
const MAX_LEFT_OVER: usize = 64;

/// Builds a block out of as many of these candidates as fit, in their order, see [`fill_block`].
///
/// # Errors
/// As [`fill_block`].
pub fn build_block<T: Borrow<VerifiedTransaction>>(
    parent: &Parent<'_>,
    time: Timestamp,
    candidates: impl IntoIterator<Item = T>,
) -> Result<BuiltBlock<T>, BlockError> {
    let mut candidates = candidates.into_iter();
    let mut built = fill_block(parent, time, |_| candidates.next())?;
    built.left_over.extend(candidates);
    Ok(built)
}

/// Builds a block out of what `next` gives, which learns what the block holds already, until it gives
/// no more or the block is full. A candidate that breaks a rule costs no place in the block, nor does
/// one that is too long for what is left of it; a sender's later ones then break the order of nonces,
/// so that none overtakes an earlier one.
///
/// # Errors
/// [`InvalidBlock::Time`] and [`InvalidBlock::Height`], or [`ReadError`].
pub fn fill_block<T: Borrow<VerifiedTransaction>>(
    parent: &Parent<'_>,
    time: Timestamp,
    mut next: impl FnMut(Filled) -> Option<T>,
) -> Result<BuiltBlock<T>, BlockError> {
    let context = context_on(parent, time)?;
    let mut ledger = Ledger::new(&context, parent.state);
    let (mut transactions, mut rejected, mut left_over) = (Vec::new(), Vec::new(), Vec::new());
    let (mut index, mut bytes) = (0_u32, 0_usize);
    // K3
    while index < context.params.max_block_transactions && left_over.len() < MAX_LEFT_OVER {
        let Some(candidate) = next(Filled { transactions: transactions.len(), bytes }) else { break };
        let transaction: &VerifiedTransaction = candidate.borrow();
        let longer = bytes.saturating_add(transaction.encoded_len());
        if longer > byte_limit(&context) {
            left_over.push(candidate);
            continue;
        }
        match ledger.execute(transaction, index) {
            Ok(()) => {
                bytes = longer;
                index = index.saturating_add(1);
                transactions.push(candidate);
            }
            Err(ExecuteError::Rejected(reason)) => rejected.push((candidate, reason)),
            Err(ExecuteError::Failed(error)) => return Err(error.into()),
        }
    }
    let executed = finish(parent, ledger, tx_root(&transactions))?;
    Ok(BuiltBlock { executed, transactions, rejected, left_over })
}

/// Executes a block and compares what it gives with its header (K1 to K3). Who may propose, the
/// header's `just_root` and the distance of its time to clocks are the consensus's to check.
///
/// # Errors
/// See [`BlockError`].
pub fn execute_block<T: Borrow<VerifiedTransaction>>(
    parent: &Parent<'_>,
    header: &Header,
    transactions: &[T],
) -> Result<ExecutedBlock, BlockError> {
    check_link(parent.header, header)?;
    let context = context_on(parent, header.time_ms)?;
    // K3
    let max = context.params.max_block_transactions;
    if transactions.len() > usize::try_from(max).unwrap_or(usize::MAX) {
        return Err(InvalidBlock::TooManyTransactions { given: transactions.len(), max }.into());
    }
    let bytes = transactions.iter().fold(0_usize, |sum, tx| sum.saturating_add(tx.borrow().encoded_len()));
    if bytes > byte_limit(&context) {
        return Err(InvalidBlock::TooManyBytes { given: bytes, max: context.params.max_block_bytes }.into());
    }
    // K2, the part that needs no execution first
    let tx_root = tx_root(transactions);
    compare("tx_root", header.tx_root, tx_root)?;
    compare("authority_root", header.authority_root, parent.header.next_authority_root)?;

    let mut ledger = Ledger::new(&context, parent.state);
    for (index, transaction) in (0_u32..).zip(transactions) {
        ledger.execute(transaction.borrow(), index).map_err(|error| match error {
            ExecuteError::Rejected(reason) => InvalidBlock::Transaction { index, reason }.into(),
            ExecuteError::Failed(error) => BlockError::Failed(error),
        })?;
    }
    let executed = finish(parent, ledger, tx_root)?;
    // K2
    compare("event_root", header.event_root, executed.event_root)?;
    compare("state_root", header.state_root, executed.state_root)?;
    compare("next_authority_root", header.next_authority_root, executed.next_authorities.root())?;
    Ok(executed)
}

fn check_link(parent: &Header, header: &Header) -> Result<(), InvalidBlock> {
    if header.chain != parent.chain {
        return Err(InvalidBlock::OtherChain { given: header.chain, chain: parent.chain });
    }
    if parent.height.next() != Ok(header.height) {
        return Err(InvalidBlock::Height { given: header.height, parent: parent.height });
    }
    if header.parent_hash != parent.hash() {
        return Err(InvalidBlock::Parent { given: header.parent_hash, parent: parent.hash() });
    }
    Ok(())
}

fn context_on(parent: &Parent<'_>, time: Timestamp) -> Result<BlockContext, BlockError> {
    let Header { chain, height, time_ms, .. } = *parent.header;
    if time <= time_ms {
        return Err(InvalidBlock::Time { given: time, parent: time_ms }.into());
    }
    let next =
        height.next().map_err(|OutOfRange(_)| InvalidBlock::Height { given: height, parent: height })?;
    Ok(BlockContext::new(chain, next, time, parent.state)?)
}

fn byte_limit(context: &BlockContext) -> usize {
    usize::try_from(context.params.max_block_bytes).unwrap_or(usize::MAX)
}

fn tx_root<T: Borrow<VerifiedTransaction>>(transactions: &[T]) -> Hash {
    MerkleTree::new(transactions.iter().map(|transaction| *transaction.borrow().id().as_bytes())).root()
}

/// Settles what is due, ends the epoch where the block is its last, then takes the roots.
fn finish(parent: &Parent<'_>, mut ledger: Ledger<'_>, tx_root: Hash) -> Result<ExecutedBlock, BlockError> {
    // K1
    ledger.settle_due()?;
    // E2
    let next_authorities = ledger.turn_epoch()?;
    let (changes, events) = ledger.finish();
    let tree = parent.tree.update(changes.to_bytes());
    let event_root = MerkleTree::new(events.iter().map(event_leaf)).root();
    let state_root = tree.root();
    Ok(ExecutedBlock { changes, tree, events, tx_root, event_root, state_root, next_authorities })
}

fn compare(name: &'static str, given: Hash, executed: Hash) -> Result<(), InvalidBlock> {
    if given == executed { Ok(()) } else { Err(InvalidBlock::Root { name, given, executed }) }
}
