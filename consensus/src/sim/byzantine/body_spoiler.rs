//! Sends everybody, unasked and again and again, final blocks with the right headers and other payloads:
//! one at a time, with its finalization, and by hash. To who asks it answers the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::Subject;

use super::bad_body::spoiled;
use super::{Behaviour, Forge, Target};
use crate::block::Block;
use crate::message::{Blocks, Finalized, Message};

/// Blocks that it remembers until it hears of their finalization.
const MAX_BLOCKS: usize = 64;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct BodySpoiler {
    blocks: BTreeMap<Hash, Arc<Block>>,
}

impl Behaviour for BodySpoiler {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        let message = match message {
            Message::Finalized(answer) => {
                // Whoever asks gets the first alone, which is all that it takes to be in the way.
                let blocks = answer.blocks.iter().map(spoiled).collect();
                let blocks = List::new(blocks).unwrap_or_default();
                Message::Finalized(Finalized { blocks, finalization: answer.finalization })
            }
            Message::Blocks(answer) => {
                let blocks = answer.blocks.iter().map(spoiled).collect();
                Message::Blocks(Blocks { blocks: List::new(blocks).unwrap_or_default() })
            }
            message => message,
        };
        vec![(target, message)]
    }

    fn hear(&mut self, _forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        match message {
            Message::Proposal(proposal) => {
                if self.blocks.len() >= MAX_BLOCKS {
                    self.blocks.pop_first();
                }
                let block = spoiled(&proposal.block);
                self.blocks.insert(block.hash(), block.clone());
                let blocks = List::new(vec![block]).unwrap_or_default();
                vec![(Target::All, Message::Blocks(Blocks { blocks }))]
            }
            Message::Certificate(certificate) if matches!(certificate.subject, Subject::Finalize(_)) => {
                let block = certificate.subject.block().and_then(|hash| self.blocks.remove(&hash));
                let Some(block) = block else { return Vec::new() };
                let blocks = List::new(vec![block]).unwrap_or_default();
                let answer = Finalized { blocks, finalization: certificate.clone() };
                vec![(Target::All, Message::Finalized(answer))]
            }
            _ => Vec::new(),
        }
    }
}
