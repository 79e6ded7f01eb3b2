//! The simulated ledger: the state is a hash chain over the payloads, so that a wrong root shows.

use std::collections::BTreeMap;

use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::primitives::Timestamp;

use super::plan::Plan;
use crate::block::{Block, BlockRef, Payload};
use crate::input::Execution;
use crate::output::Contents;

/// The states after the blocks that a node executed.
#[derive(Debug, Clone)]
pub struct Ledger {
    states: BTreeMap<Hash, Hash>,
}

impl Ledger {
    /// The ledger in which only the root is executed.
    pub fn new(root: BlockRef) -> Self {
        Self { states: BTreeMap::from([(root.hash, Hash::ZERO)]) }
    }

    /// Executes a block on its parent. That no block stands above its epoch's last height is left to
    /// the engines.
    pub fn execute(&mut self, block: &Block, plan: &Plan) -> Execution {
        let header = block.header();
        if header.tx_root != tx_root(block.payload()) {
            return Execution::WrongBody;
        }
        let Some(parent) = self.states.get(&header.parent_hash) else {
            return Execution::Failed("the parent was not executed".to_owned());
        };
        let state = state_after(*parent, block.payload());
        if state != header.state_root {
            return Execution::Invalid("wrong state root".to_owned());
        }
        if plan.next_authority_root(header.height) != header.next_authority_root {
            return Execution::Invalid("wrong next authorities".to_owned());
        }
        self.states.insert(block.hash(), state);
        Execution::Valid
    }

    /// What a block with this payload on this parent holds; `None` if the parent was not executed.
    pub fn contents(
        &self,
        parent: BlockRef,
        time_ms: Timestamp,
        payload: Payload,
        plan: &Plan,
    ) -> Option<Contents> {
        let state_root = state_after(*self.states.get(&parent.hash)?, &payload);
        let time_ms = time_ms.max(Timestamp::new(parent.time_ms.get() + 1));
        Some(Contents {
            time_ms,
            tx_root: tx_root(&payload),
            event_root: Hash::ZERO,
            state_root,
            next_authority_root: plan.next_authority_root(parent.height.next().ok()?),
            payload,
        })
    }
}

fn tx_root(payload: &Payload) -> Hash {
    Hash::of(Purpose::MerkleRoot, payload.as_bytes())
}

fn state_after(parent: Hash, payload: &Payload) -> Hash {
    Hash::of_parts(Purpose::StateNode, &[parent.as_bytes(), payload.as_bytes()])
}
