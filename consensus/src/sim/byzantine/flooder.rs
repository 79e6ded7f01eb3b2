//! Votes for views that nobody will reach, so that the others hold as much as they let themselves.

use evchain_protocol::primitives::View;

use super::{Behaviour, Forge, Target};
use crate::message::Message;
use evchain_protocol::finality::Subject;

/// Votes with each message that is sent.
const VOTES: u64 = 50;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Flooder {
    ahead: u64,
}

impl Behaviour for Flooder {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        let mut messages = Vec::new();
        if let Message::Vote(vote) = &message {
            let (epoch, view) = (vote.subject.epoch(), vote.subject.view().get());
            for _ in 0..VOTES {
                self.ahead += 1;
                let far = Subject::nullify(epoch, View::new(view.saturating_add(self.ahead)));
                messages.push((Target::All, Message::Vote(forge.vote(far))));
            }
        }
        messages.push((target, message));
        messages
    }
}
