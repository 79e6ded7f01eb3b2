//! A leader that builds beside its parent instead of on it, as if the views between were skipped.

use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::{Justification, MAX_SKIPS};
use evchain_protocol::primitives::Height;

use super::{Behaviour, Forge, Target};
use crate::block::{Block, BlockRef};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Forker {
    heard: BTreeMap<Hash, Arc<Block>>,
}

impl Forker {
    /// A block with the parent, height and justification of its own parent.
    fn beside(&self, forge: &mut Forge<'_>, block: &Block) -> Option<Arc<Block>> {
        let beside = self.heard.get(&block.header().parent_hash)?;
        let parent = BlockRef {
            hash: beside.header().parent_hash,
            view: beside.header().parent_view,
            height: beside.header().height.checked_sub(Height::new(1)).ok()?,
            time_ms: beside.header().time_ms,
        };
        let contents =
            forge.ledger.contents(parent, block.header().time_ms, block.payload().clone(), forge.plan)?;
        let mut header = block.header().clone();
        header.parent_hash = parent.hash;
        header.parent_view = parent.view;
        header.height = beside.header().height;
        // Where more views are skipped than fit, those up to the one left out are not in it (N5).
        let own = block.just();
        let skips = if own.skips.len() == MAX_SKIPS { &own.skips } else { &beside.just().skips };
        let just = Justification { parent: beside.just().parent.clone(), skips: skips.clone() };
        header.just_root = just.root();
        header.state_root = contents.state_root;
        header.time_ms = contents.time_ms;
        Block::new(header, just, contents.payload).ok().map(Arc::new)
    }
}

impl Behaviour for Forker {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        let Message::Proposal(proposal) = &message else { return vec![(target, message)] };
        match self.beside(forge, &proposal.block) {
            Some(block) => {
                vec![(target, Message::Proposal(forge.propose_instead(proposal, block)))]
            }
            None => vec![(target, message)],
        }
    }

    fn hear(&mut self, _forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        if let Message::Proposal(proposal) = message {
            self.heard.insert(proposal.block.hash(), proposal.block.clone());
        }
        Vec::new()
    }
}
