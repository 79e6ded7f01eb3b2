//! Tells of every finalization before anybody else can, and answers nobody who catches up. For that it keeps
//! its own votes to finalize, without which the others have a quorum later, or none.

use std::cell::Cell;
use std::rc::Rc;

use evchain_protocol::finality::Subject;

use super::{Behaviour, Forge, Target};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone)]
pub struct SilentTeller {
    victim: usize,
    /// From now on it tells the victim alone, so that nobody else has anything to tell it.
    tells_victim_only: Rc<Cell<bool>>,
}

impl SilentTeller {
    /// One that tells everybody until the flag is set, then this node only.
    pub const fn of(victim: usize, tells_victim_only: Rc<Cell<bool>>) -> Self {
        Self { victim, tells_victim_only }
    }
}

impl Behaviour for SilentTeller {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        match message {
            Message::Vote(vote) if matches!(vote.subject, Subject::Finalize(_)) => Vec::new(),
            Message::Finalized(_) | Message::Blocks(_) | Message::Certificates(_) | Message::Status(_) => {
                Vec::new()
            }
            Message::Certificate(ref certificate)
                if matches!(certificate.subject, Subject::Finalize(_)) && self.tells_victim_only.get() =>
            {
                vec![(Target::Node(self.victim), message)]
            }
            message => vec![(target, message)],
        }
    }
}
