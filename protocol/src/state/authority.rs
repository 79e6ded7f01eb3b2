//! Who runs the chain, as the state says.

use serde::{Deserialize, Serialize};

use crate::authority::AuthoritySet;
use crate::codec::{Decode, Encode};
use crate::crypto::Hash;
use crate::primitives::Epoch;

/// The authorities of the current epoch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Authorities {
    /// The epoch.
    pub epoch: Epoch,
    /// Its authorities.
    pub set: AuthoritySet,
}

impl Authorities {
    /// What headers commit to as their `authority_root`, see [`AuthoritySet::root`].
    pub fn root(&self) -> Hash {
        self.set.root(self.epoch)
    }
}
