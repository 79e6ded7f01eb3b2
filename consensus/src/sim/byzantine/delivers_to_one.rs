//! Sends everything to one node only, another one for each message.

use super::{Behaviour, Forge, Target};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliversToOne;

impl Behaviour for DeliversToOne {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        match target {
            Target::All => {
                let one = forge.rng.below(forge.nodes() as u64);
                vec![(Target::Node(usize::try_from(one).unwrap_or(0)), message)]
            }
            target => vec![(target, message)],
        }
    }
}
