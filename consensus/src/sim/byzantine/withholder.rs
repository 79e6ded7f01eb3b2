//! Takes part in votes and keeps to itself what the others need to go on: certificates, bodies.

use super::{Behaviour, Forge, Target};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Withholder;

impl Behaviour for Withholder {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        match message {
            Message::Certificate(_)
            | Message::Certificates(_)
            | Message::Status(_)
            | Message::Blocks(_)
            | Message::Finalized(_) => Vec::new(),
            message => vec![(target, message)],
        }
    }
}
