//! Passes the leaders' proposals on at once, with what the leader did not sign spoiled: the payload, or
//! why the epoch's last block is proposed again.

use std::collections::BTreeSet;
use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::Justification;
use evchain_protocol::primitives::View;

use super::bad_body::spoiled;
use super::{Behaviour, Forge, Target};
use crate::message::{Message, Proposal};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Spoiler {
    /// What it passed on. Two of its kind would echo each other forever without this.
    passed: BTreeSet<(View, Hash)>,
}

impl Behaviour for Spoiler {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        vec![(target, message)]
    }

    fn hear(&mut self, _forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        let Message::Proposal(Proposal { block, again, vote }) = message else { return Vec::new() };
        if !self.passed.insert((vote.subject.view(), block.hash())) {
            return Vec::new();
        }
        let again = again.as_ref().map(|just| Justification { skips: List::default(), ..just.clone() });
        let block: Arc<_> = if again.is_some() { block.clone() } else { spoiled(block) };
        vec![(Target::All, Message::Proposal(Proposal { block, again, vote: *vote }))]
    }
}
