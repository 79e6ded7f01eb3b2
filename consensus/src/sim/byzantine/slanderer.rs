//! Passes on, in the name of whoever it hears, votes that contradict what was heard, alone and as
//! certificates. It has nobody's key but its own, so the signatures are those of what was heard.

use std::collections::BTreeSet;
use std::sync::Arc;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::finality::{Certificate, Subject, Vote};

use super::{Behaviour, Forge, Target};
use crate::message::Message;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Slanderer {
    /// Whose votes of which kind and view it has contradicted, `None` for certificates. Two of its kind
    /// would contradict each other for ever without this.
    contradicted: BTreeSet<(Option<AuthorityIndex>, Subject)>,
}

impl Behaviour for Slanderer {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        vec![(target, message)]
    }

    fn hear(&mut self, _forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        let (signer, heard) = match message {
            Message::Vote(vote) => (Some(vote.signer), vote.subject),
            Message::Certificate(certificate) => (None, certificate.subject),
            _ => return Vec::new(),
        };
        if !self.contradicted.insert((signer, without_block(&heard))) {
            return Vec::new();
        }
        let forged = |subject| match message {
            Message::Vote(vote) => Message::Vote(Vote { subject, ..*vote }),
            Message::Certificate(heard) => {
                Message::Certificate(Arc::new(Certificate { subject, ..Certificate::clone(heard) }))
            }
            other => other.clone(),
        };
        contradictions(&heard).into_iter().map(|subject| (Target::All, forged(subject))).collect()
    }
}

/// What nobody may sign who signed this.
fn contradictions(subject: &Subject) -> Vec<Subject> {
    let (epoch, view) = subject.place();
    let other = Hash::of(Purpose::BlockId, subject.block().unwrap_or_default().as_bytes());
    match subject {
        Subject::Notarize(_) => {
            vec![Subject::notarize(epoch, view, other), Subject::finalize(epoch, view, other)]
        }
        Subject::Nullify(_) => vec![Subject::finalize(epoch, view, other)],
        Subject::Finalize(_) => vec![Subject::finalize(epoch, view, other), Subject::nullify(epoch, view)],
    }
}

fn without_block(subject: &Subject) -> Subject {
    let (epoch, view) = subject.place();
    match subject {
        Subject::Notarize(_) => Subject::notarize(epoch, view, Hash::ZERO),
        Subject::Nullify(_) => Subject::nullify(epoch, view),
        Subject::Finalize(_) => Subject::finalize(epoch, view, Hash::ZERO),
    }
}
