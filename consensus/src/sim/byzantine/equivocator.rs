//! A leader that proposes two or three blocks in one view, to overlapping parts of the others.

use super::{Behaviour, Forge, Target};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Equivocator;

impl Behaviour for Equivocator {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        let Message::Proposal(proposal) = &message else { return vec![(target, message)] };
        let mut proposals = vec![proposal.clone()];
        for _ in 0..forge.rng.between(1, 2) {
            if let Some(block) = forge.sibling(&proposal.block) {
                proposals.push(forge.propose_instead(proposal, block));
            }
        }
        let parts = proposals.len() as u64;
        let mut receivers = vec![Vec::new(); proposals.len()];
        for node in 0..forge.nodes() {
            for (part, receivers) in receivers.iter_mut().enumerate() {
                // One part for sure, the others now and then.
                if node as u64 % parts == part as u64 || forge.rng.chance(300) {
                    receivers.push(node);
                }
            }
        }
        let send = |(proposal, nodes)| (Target::Nodes(nodes), Message::Proposal(proposal));
        proposals.into_iter().zip(receivers).map(send).collect()
    }
}
