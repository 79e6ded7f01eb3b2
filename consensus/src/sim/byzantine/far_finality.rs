//! Answers who asks for the final chain with the highest finalization that it knows and none of the
//! blocks, as if so many did not fit; and answers nothing that is asked by hash.

use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::finality::{Certificate, Subject};

use super::{Behaviour, Forge, Target};
use crate::message::{Finalized, Message};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct FarFinality {
    highest: Option<Arc<Certificate>>,
}

impl Behaviour for FarFinality {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        match message {
            Message::Finalized(answer) => {
                let same_epoch = |highest: &Arc<Certificate>| {
                    highest.subject.epoch() == answer.finalization.subject.epoch()
                };
                let finalization = self.highest.clone().filter(same_epoch).unwrap_or(answer.finalization);
                let answer = Finalized { blocks: List::default(), finalization };
                vec![(target, Message::Finalized(answer))]
            }
            Message::Blocks(_) => Vec::new(),
            message => vec![(target, message)],
        }
    }

    fn hear(&mut self, _forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        if let Message::Certificate(certificate) = message
            && matches!(certificate.subject, Subject::Finalize(_))
            && self.highest.as_ref().is_none_or(|held| held.subject.place() < certificate.subject.place())
        {
            self.highest = Some(certificate.clone());
        }
        Vec::new()
    }
}
