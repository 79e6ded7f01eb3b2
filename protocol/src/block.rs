//! Blocks: what a header commits to.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::{ChainId, Hash, PublicKey, Purpose};
use crate::primitives::{Epoch, Height, Timestamp, View};

/// The header of a block (`consensus/docs/protocol.md`, Words). Its hash is the block's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Header {
    /// The chain that the block belongs to.
    pub chain: ChainId,
    /// The epoch in which it was proposed.
    pub epoch: Epoch,
    /// One above its parent's.
    pub height: Height,
    /// The view in which it was first proposed.
    pub view: View,
    /// The parent's id.
    pub parent_hash: Hash,
    /// The view in which the parent was proposed, 0 for the epoch's root.
    pub parent_view: View,
    /// The leader of the view.
    pub proposer: PublicKey,
    /// The block's time, above its parent's. Every deadline on the chain is compared with it.
    pub time_ms: Timestamp,
    /// Merkle root over the transactions.
    pub tx_root: Hash,
    /// Merkle root over the events of their execution.
    pub event_root: Hash,
    /// Root of the state after this block.
    pub state_root: Hash,
    /// Hash of the justification in the block's body.
    pub just_root: Hash,
    /// The authorities of this epoch.
    pub authority_root: Hash,
    /// The authorities of the next block's epoch, as the state after this block names them.
    pub next_authority_root: Hash,
}

impl Header {
    /// The block's id.
    pub fn hash(&self) -> Hash {
        Hash::of_value(Purpose::BlockId, self)
    }
}
