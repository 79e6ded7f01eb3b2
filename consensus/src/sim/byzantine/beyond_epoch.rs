//! A leader that goes on where the epoch ends: it builds a new block on the last one, justified like
//! the last one itself.

use std::sync::Arc;

use super::{Behaviour, Forge, Target};
use crate::block::{Block, BlockRef, Payload};
use crate::message::{Message, Proposal};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct BeyondEpoch;

impl BeyondEpoch {
    fn child(forge: &mut Forge<'_>, proposal: &Proposal) -> Option<Arc<Block>> {
        let (again, last) = (proposal.again.as_ref()?, &proposal.block);
        let view = again.certificates().next()?.subject.view();
        let parent = BlockRef { view, ..last.reference() };
        let payload = Payload::new(forge.rng.next().to_le_bytes().to_vec()).ok()?;
        let contents = forge.ledger.contents(parent, last.header().time_ms, payload, forge.plan)?;
        let mut header = last.header().clone();
        header.height = parent.height.next().ok()?;
        header.view = proposal.vote.subject.view();
        header.parent_hash = parent.hash;
        header.parent_view = parent.view;
        header.proposer = forge.key.public_key();
        header.just_root = again.root();
        header.time_ms = contents.time_ms;
        header.tx_root = contents.tx_root;
        header.state_root = contents.state_root;
        header.next_authority_root = contents.next_authority_root;
        Block::new(header, again.clone(), contents.payload).ok().map(Arc::new)
    }
}

impl Behaviour for BeyondEpoch {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        let Message::Proposal(proposal) = &message else { return vec![(target, message)] };
        match Self::child(forge, proposal) {
            Some(block) => {
                let proposal = Proposal { again: None, ..forge.propose_instead(proposal, block) };
                vec![(target, Message::Proposal(proposal))]
            }
            None => vec![(target, message)],
        }
    }
}
