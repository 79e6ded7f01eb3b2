//! Sends payloads that are not what the header commits to, when it proposes and when it serves.

use std::sync::Arc;

use evchain_protocol::codec::List;

use super::{Behaviour, Forge, Target};
use crate::block::{Block, Payload};
use crate::message::{Blocks, Finalized, Message, Proposal};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct BadBody;

impl Behaviour for BadBody {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        let message = match message {
            // The others get the right one, so that the block can still be notarized.
            Message::Proposal(proposal) => {
                let victim = forge.rng.below(forge.nodes() as u64);
                let victim = usize::try_from(victim).unwrap_or(0);
                let others = (0..forge.nodes()).filter(|node| *node != victim).collect();
                let bad = Proposal { block: spoiled(&proposal.block), ..proposal.clone() };
                return vec![
                    (Target::Node(victim), Message::Proposal(bad)),
                    (Target::Nodes(others), Message::Proposal(proposal)),
                ];
            }
            Message::Blocks(answer) => {
                let blocks = answer.blocks.iter().map(spoiled).collect();
                Message::Blocks(Blocks { blocks: List::new(blocks).unwrap_or_default() })
            }
            Message::Finalized(answer) => {
                let blocks = answer.blocks.iter().map(spoiled).collect();
                let blocks = List::new(blocks).unwrap_or_default();
                Message::Finalized(Finalized { blocks, finalization: answer.finalization })
            }
            message => message,
        };
        vec![(target, message)]
    }
}

/// The same header with another payload.
pub(super) fn spoiled(block: &Arc<Block>) -> Arc<Block> {
    let mut bytes = block.payload().as_bytes().to_vec();
    bytes.push(0xbb);
    let spoiled = Payload::new(bytes)
        .ok()
        .and_then(|payload| Block::new(block.header().clone(), block.just().clone(), payload).ok());
    spoiled.map_or_else(|| block.clone(), Arc::new)
}
