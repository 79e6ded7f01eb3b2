//! Votes for every block that it hears of, to notarize and to finalize, and nullifies every view.

use std::collections::BTreeSet;

use evchain_protocol::finality::Subject;

use super::{Behaviour, Forge, Target};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct SignsEverything {
    /// What it voted. Two of its kind would echo each other forever without this.
    voted: BTreeSet<Subject>,
}

impl Behaviour for SignsEverything {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        vec![(target, message)]
    }

    fn hear(&mut self, forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        let vote = match message {
            Message::Proposal(proposal) => &proposal.vote,
            Message::Vote(vote) => vote,
            _ => return Vec::new(),
        };
        let (epoch, view) = (vote.subject.epoch(), vote.subject.view());
        let mut subjects = vec![Subject::nullify(epoch, view)];
        if let Some(block) = vote.subject.block() {
            subjects.push(Subject::notarize(epoch, view, block));
            subjects.push(Subject::finalize(epoch, view, block));
        }
        subjects.retain(|subject| self.voted.insert(*subject));
        subjects.into_iter().map(|subject| (Target::All, Message::Vote(forge.vote(subject)))).collect()
    }
}
