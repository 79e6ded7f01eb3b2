//! Shows each of two groups of nodes another history: as leader it proposes to each its own block, it
//! votes with each for what its members vote for, and says nothing else. With f + 1 such authorities
//! both groups can finalize.

use std::collections::BTreeSet;

use evchain_protocol::finality::Subject;

use super::{Behaviour, Forge, Target};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone)]
pub struct TwoFaced {
    groups: [Vec<usize>; 2],
    /// What it voted for, and for which group.
    voted: BTreeSet<(usize, Subject)>,
}

impl TwoFaced {
    /// Between these nodes, none of which is two-faced itself.
    pub const fn between(groups: [Vec<usize>; 2]) -> Self {
        Self { groups, voted: BTreeSet::new() }
    }
}

impl Behaviour for TwoFaced {
    fn send(&mut self, forge: &mut Forge<'_>, _target: Target, message: Message) -> Vec<(Target, Message)> {
        let Message::Proposal(proposal) = &message else { return Vec::new() };
        let [first, second] = self.groups.clone();
        let other = forge.sibling(&proposal.block).map(|block| forge.propose_instead(proposal, block));
        let other = other.map(|other| (Target::Nodes(second), Message::Proposal(other)));
        [(Target::Nodes(first), message)].into_iter().chain(other).collect()
    }

    fn hear(&mut self, forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        let vote = match message {
            Message::Proposal(proposal) => &proposal.vote,
            Message::Vote(vote) => vote,
            _ => return Vec::new(),
        };
        // The first epoch's authorities are the nodes in their order.
        let signer = usize::from(vote.signer.get());
        let Some(place) = self.groups.iter().position(|group| group.contains(&signer)) else {
            return Vec::new();
        };
        if !self.voted.insert((place, vote.subject)) {
            return Vec::new();
        }
        vec![(Target::Nodes(self.groups[place].clone()), Message::Vote(forge.vote(vote.subject)))]
    }
}
