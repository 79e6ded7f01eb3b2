//! Who the simulated chain's authorities are in each epoch, as its states would say.

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::finality::Electorate;
use evchain_protocol::primitives::{Epoch, Height};

use super::setup::Schedule;
use crate::authority_set::Committee;
use crate::block::BlockRef;
use crate::config::Config;
use crate::input::NextEpoch;

/// A chain's epochs.
#[derive(Debug, Clone)]
pub struct Plan {
    chain: ChainId,
    genesis: BlockRef,
    length: u64,
    members: Vec<Vec<usize>>,
    sets: Vec<AuthoritySet>,
}

impl Plan {
    /// The plan of a chain with these nodes' keys.
    ///
    /// # Panics
    /// If an epoch has no authorities, or a node that does not exist.
    pub fn new(chain: ChainId, genesis: BlockRef, schedule: Schedule, keys: &[PublicKey]) -> Self {
        let set = |nodes: &Vec<usize>| {
            let keys = nodes.iter().map(|node| keys[*node]).collect();
            AuthoritySet::new(keys).expect("random keys make a set")
        };
        let sets = schedule.sets.iter().map(set).collect();
        Self { chain, genesis, length: schedule.length, members: schedule.sets, sets }
    }

    /// The genesis block.
    pub const fn genesis(&self) -> BlockRef {
        self.genesis
    }

    /// The epoch of the block above this height.
    pub const fn epoch_above(&self, height: Height) -> Epoch {
        Epoch::new(height.get() / self.length)
    }

    /// The height of the block that an epoch builds on.
    pub const fn root_height(&self, epoch: Epoch) -> Height {
        Height::new(epoch.get().saturating_mul(self.length))
    }

    /// The height of an epoch's first block.
    pub const fn first_height(&self, epoch: Epoch) -> Height {
        Height::new(self.root_height(epoch).get() + 1)
    }

    /// L, the height of an epoch's last block.
    pub const fn last_height(&self, epoch: Epoch) -> Height {
        Height::new((epoch.get() + 1).saturating_mul(self.length))
    }

    /// The nodes that are an epoch's authorities.
    pub fn members(&self, epoch: Epoch) -> &[usize] {
        &self.members[self.place(epoch)]
    }

    /// Who votes in an epoch.
    pub fn electorate(&self, epoch: Epoch) -> Electorate {
        Electorate { chain: self.chain, epoch, authorities: self.sets[self.place(epoch)].clone() }
    }

    /// The committee of the epoch that builds on this block.
    pub fn committee_on(&self, root: BlockRef) -> Committee {
        let epoch = self.epoch_above(root.height);
        Committee::new(self.chain, epoch, self.sets[self.place(epoch)].clone(), root)
            .ending_at(self.last_height(epoch))
    }

    /// What the header at this height says of the authorities of the block above.
    pub fn next_authority_root(&self, height: Height) -> Hash {
        let epoch = self.epoch_above(height);
        self.sets[self.place(epoch)].root(epoch)
    }

    /// What the state after the block at this height says of the epoch that it begins.
    pub fn next_epoch(&self, height: Height, config: Config) -> NextEpoch {
        let epoch = self.epoch_above(height);
        NextEpoch {
            epoch,
            authorities: self.sets[self.place(epoch)].clone(),
            last_height: self.last_height(epoch),
            config,
            may_vote: true,
        }
    }

    /// The last set stays.
    fn place(&self, epoch: Epoch) -> usize {
        usize::try_from(epoch.get()).unwrap_or(usize::MAX).min(self.sets.len() - 1)
    }
}
