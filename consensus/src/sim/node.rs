//! One simulated node: what it keeps, what it runs, and what is wrong with it.

use evchain_protocol::crypto::KeyPair;
use evchain_protocol::primitives::{Epoch, Timestamp};

use super::byzantine::Behaviour;
use super::disk::Disk;
use super::ledger::Ledger;
use super::plan::Plan;
use super::rng::Rng;
use crate::block::BlockRef;
use crate::config::Config;
use crate::epochs::Epochs;
use crate::output::HaltReason;
use crate::wal::RecoveryError;

/// The wall clock when a simulation starts, in ms since the Unix epoch.
pub(super) const START_MS: u64 = 1_700_000_000_000;

pub(super) struct Node {
    pub(super) key: KeyPair,
    pub(super) engine: Option<Epochs>,
    pub(super) disk: Disk,
    pub(super) ledger: Ledger,
    pub(super) incarnation: u64,
    /// The deadline for which a tick is scheduled.
    pub(super) tick_at: Option<u64>,
    /// Crash after this many further outputs.
    pub(super) outputs_left: Option<u64>,
    pub(super) outputs_done: u64,
    pub(super) halted: Option<HaltReason>,
    pub(super) behaviour: Option<Box<dyn Behaviour>>,
    pub(super) execution_factor: u64,
    pub(super) clock_ahead_ms: i64,
    pub(super) sync_ms: u64,
    pub(super) misled: bool,
    /// What is sent before then leaves then.
    pub(super) disk_busy_until_ms: u64,
    /// The last epoch in which it voted, which is noted beside its disk.
    voted_in: Option<Epoch>,
    votes_from: Epoch,
}

impl Node {
    pub(super) fn new(key: KeyPair, genesis: BlockRef) -> Self {
        Self {
            key,
            engine: None,
            disk: Disk::new(genesis),
            ledger: Ledger::new(genesis),
            incarnation: 0,
            tick_at: None,
            outputs_left: None,
            outputs_done: 0,
            halted: None,
            behaviour: None,
            execution_factor: 1,
            clock_ahead_ms: 0,
            sync_ms: 0,
            misled: false,
            disk_busy_until_ms: 0,
            voted_in: None,
            votes_from: Epoch::ZERO,
        }
    }

    pub(super) const fn is_honest(&self) -> bool {
        self.behaviour.is_none()
    }

    /// What its wall clock shows.
    pub(super) fn wall(&self, now_ms: u64) -> Timestamp {
        Timestamp::new((START_MS + now_ms).saturating_add_signed(self.clock_ahead_ms))
    }

    /// A sync of what is new takes its time, one after the other.
    pub(super) fn wait_for_disk(&mut self, now_ms: u64) {
        if self.disk.is_dirty() {
            self.disk_busy_until_ms = self.disk_busy_until_ms.max(now_ms) + self.sync_ms;
        }
    }

    /// Starts from what is on disk.
    pub(super) fn start(&mut self, plan: &Plan, config: Config) -> Result<(), RecoveryError> {
        let (committee, mut recovered) = self.disk.recovered(plan);
        recovered.may_vote = self.may_vote(committee.epoch());
        self.engine = Some(Epochs::new(config, committee, Some(self.key.clone()), recovered)?);
        self.note_vote();
        self.ledger = Ledger::new(plan.genesis());
        for block in self.disk.chain() {
            self.ledger.execute(block, plan);
        }
        self.incarnation += 1;
        self.tick_at = None;
        Ok(())
    }

    /// D7: whether its disk holds all that it may have signed in this epoch.
    pub(super) fn may_vote(&self, epoch: Epoch) -> bool {
        epoch >= self.votes_from
    }

    /// Before the first vote of an epoch can be sent.
    pub(super) fn note_vote(&mut self) {
        if let Some(engine) = self.engine.as_ref().filter(|engine| engine.is_voting()) {
            self.voted_in = self.voted_in.max(Some(engine.epoch()));
        }
    }

    /// D7: empties the disk; what was signed is known by epoch only.
    pub(super) fn wipe(&mut self, genesis: BlockRef) {
        self.disk = Disk::new(genesis);
        self.votes_from = self.voted_in.map_or(Epoch::ZERO, |epoch| Epoch::new(epoch.get() + 1));
    }
}

pub(super) fn random_key(rng: &mut Rng) -> KeyPair {
    let mut secret = [0; 32];
    for chunk in secret.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes());
    }
    KeyPair::from_secret(&secret)
}
