//! Who runs the chain, as the state says.

use serde::{Deserialize, Serialize};

use crate::authority::AuthoritySet;
use crate::codec::{Decode, Encode};
use crate::crypto::{ChainId, Hash};
use crate::finality::Electorate;
use crate::primitives::{Epoch, Height};

/// An epoch and its authorities (E1). The state after an epoch's last block has the next epoch's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Authorities {
    /// The epoch.
    pub epoch: Epoch,
    /// Its authorities.
    pub set: AuthoritySet,
    /// The height of its first block.
    pub first_height: Height,
    /// L, the height of its last block.
    pub last_height: Height,
}

impl Authorities {
    /// The epoch of `length` blocks that starts with the block at `first_height`.
    pub fn new(epoch: Epoch, set: AuthoritySet, first_height: Height, length: u64) -> Self {
        let last_height = Height::new(first_height.get().saturating_add(length.saturating_sub(1)));
        Self { epoch, set, first_height, last_height }
    }

    /// What headers commit to as their `authority_root`, see [`AuthoritySet::root`].
    pub fn root(&self) -> Hash {
        self.set.root(self.epoch)
    }

    /// What checks the authorities' votes on this chain.
    pub fn electorate(&self, chain: ChainId) -> Electorate {
        Electorate { chain, epoch: self.epoch, authorities: self.set.clone() }
    }
}
