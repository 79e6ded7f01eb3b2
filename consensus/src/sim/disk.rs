//! The simulated disk: one journal, as in a database with one write-ahead log. What is not synced may
//! be lost in a crash, from any entry on; a torn entry counts as lost.

use std::collections::VecDeque;
use std::sync::Arc;

use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::{Certificate, Vote};
use evchain_protocol::primitives::{Epoch, Height, View};

use super::plan::Plan;
use super::rng::Rng;
use crate::authority_set::Committee;
use crate::block::{Block, BlockRef};
use crate::message::{Blocks, Finalized};
use crate::wal::{LogRecord, Recovered};

/// One node's disk.
#[derive(Debug, Clone)]
pub struct Disk {
    root: BlockRef,
    chain: Vec<(Arc<Block>, Option<Arc<Certificate>>)>,
    records: VecDeque<LogRecord>,
    unsynced: Vec<Entry>,
    /// Whether it is full, or a sync fails.
    fails: bool,
}

/// A write that did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFailed;

#[derive(Debug, Clone)]
enum Entry {
    Record(LogRecord),
    Commit(Vec<Arc<Block>>, Arc<Certificate>),
}

impl Disk {
    /// An empty disk.
    pub const fn new(root: BlockRef) -> Self {
        Self { root, chain: Vec::new(), records: VecDeque::new(), unsynced: Vec::new(), fails: false }
    }

    /// Appends a record.
    pub fn persist(&mut self, record: LogRecord) {
        self.unsynced.push(Entry::Record(record));
    }

    /// Appends final blocks.
    pub fn commit(&mut self, blocks: Vec<Arc<Block>>, finalization: Arc<Certificate>) {
        self.unsynced.push(Entry::Commit(blocks, finalization));
    }

    /// From now on it takes nothing more, or takes everything again.
    pub const fn set_failing(&mut self, fails: bool) {
        self.fails = fails;
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// [`DiskFailed`]: some of it may be durable, and some not.
    pub fn sync(&mut self) -> Result<(), DiskFailed> {
        if self.fails {
            return Err(DiskFailed);
        }
        self.write_out();
        Ok(())
    }

    /// Whether there is something to sync.
    pub const fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    fn write_out(&mut self) {
        for entry in std::mem::take(&mut self.unsynced) {
            match entry {
                Entry::Record(record) => self.records.push_back(record),
                Entry::Commit(blocks, finalization) => {
                    let count = blocks.len();
                    for (place, block) in blocks.into_iter().enumerate() {
                        let last = place + 1 == count;
                        self.chain.push((block, last.then(|| finalization.clone())));
                    }
                    let final_place = finalization.subject.place();
                    while self.records.front().is_some_and(|record| record.place() <= final_place) {
                        self.records.pop_front();
                    }
                }
            }
        }
    }

    /// Loses a suffix of what is not synced, at random all or nothing of it too.
    pub fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.unsynced.len() as u64 + 1);
        self.unsynced.truncate(usize::try_from(kept).unwrap_or(0));
        self.write_out();
    }

    /// What a restarting node finds, and the committee of the epoch that it is in.
    pub fn recovered(&self, plan: &Plan) -> (Committee, Recovered) {
        let (tip, finalization) = self.at(self.height());
        let epoch = plan.epoch_above(tip.height);
        let (root, boundary) = self.at(plan.root_height(epoch));
        let records = self.records.iter().cloned().collect();
        let of_epoch = finalization.filter(|_| tip.height > root.height);
        let fresh = Recovered::fresh(root);
        (plan.committee_on(root), Recovered { tip, finalization: of_epoch, boundary, records, ..fresh })
    }

    /// The block at a height of the durable final chain, with its own finalization.
    fn at(&self, height: Height) -> (BlockRef, Option<Arc<Certificate>>) {
        let below = usize::try_from(height.get()).ok().and_then(|height| height.checked_sub(1));
        below
            .and_then(|place| self.chain.get(place))
            .map_or((self.root, None), |(block, finalization)| (block.reference(), finalization.clone()))
    }

    /// The durable committed height.
    pub fn height(&self) -> Height {
        Height::new(self.chain.len() as u64)
    }

    /// The answer to `Output::ServeBoundary`.
    pub fn serve_boundary(&self, plan: &Plan, epoch: Epoch) -> Option<Arc<Certificate>> {
        let last = plan.last_height(epoch);
        self.at(last).1.filter(|_| last <= self.height())
    }

    /// Whether this vote is durable, or final and forgotten.
    pub fn holds_vote(&self, vote: &Vote) -> bool {
        vote.subject.place() <= self.final_place()
            || self.records.iter().any(|record| matches!(record, LogRecord::Vote(held) if held == vote))
    }

    /// Whether this vote to nullify a view is durable.
    pub fn holds_nullify(&self, view: View) -> bool {
        self.records.iter().any(|record| match record {
            LogRecord::Vote(vote) => vote.subject.view() == view && vote.subject.block().is_none(),
            _ => false,
        })
    }

    /// Whether this block's body is durable.
    pub fn holds_block(&self, hash: Hash) -> bool {
        self.records.iter().any(|record| matches!(record, LogRecord::Block(block) if block.hash() == hash))
            || self.chain.iter().rev().any(|(block, _)| block.hash() == hash)
    }

    /// The durable final chain, oldest first.
    pub fn chain(&self) -> impl DoubleEndedIterator<Item = &Arc<Block>> {
        self.chain.iter().map(|(block, _)| block)
    }

    /// The height up to which blocks were given to it, durable or not.
    pub fn height_given(&self) -> Height {
        let unsynced = self.unsynced.iter().map(|entry| match entry {
            Entry::Record(_) => 0,
            Entry::Commit(blocks, _) => blocks.len(),
        });
        Height::new((self.chain.len() + unsynced.sum::<usize>()) as u64)
    }

    /// The number of records that are kept.
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// The answer to `Output::ServeFinalized`.
    pub fn serve_finalized(&self, above: Height) -> Option<Finalized> {
        let start = usize::try_from(above.get()).ok()?;
        Finalized::gather(self.chain.iter().skip(start).cloned())
    }

    /// The answer to `Output::ServeBlocks`.
    pub fn serve_blocks(&self, newest: Hash, above: Height) -> Option<Blocks> {
        let place = self.chain.iter().rposition(|(block, _)| block.hash() == newest)?;
        let blocks = self.chain[..=place].iter().rev().map(|(block, _)| block.clone());
        Some(Blocks::gather(blocks.take_while(|block| block.header().height > above)))
    }

    fn final_place(&self) -> (Epoch, View) {
        let last = self.chain.last().and_then(|(_, finalization)| finalization.as_ref());
        last.map_or((Epoch::ZERO, View::ZERO), |finalization| finalization.subject.place())
    }
}
