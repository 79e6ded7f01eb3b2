//! Sends copies of the certificates that it hears with other signatures in them, alone and many in one
//! message, and votes in its own name whose signature is none.

use std::collections::BTreeSet;
use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::Signature;
use evchain_protocol::finality::{Certificate, Subject, Vote};
use evchain_protocol::primitives::{Height, View};

use super::{Behaviour, Forge, Target};
use crate::message::{Certificates, Message, Status};

/// Forgeries in one message.
const BATCH: u64 = 16;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct CopyForger {
    /// What it forged copies of. Two of its kind would copy each other for ever without this.
    copied: BTreeSet<Subject>,
}

impl Behaviour for CopyForger {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        vec![(target, message)]
    }

    fn hear(&mut self, forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        let Message::Certificate(heard) = message else { return Vec::new() };
        if !self.copied.insert(heard.subject) {
            return Vec::new();
        }
        let (epoch, view) = heard.subject.place();
        let copy = spoiled(forge, heard, heard.subject);
        let ahead = (1..=BATCH).map(|by| View::new(view.get().saturating_add(by)));
        let batch: Vec<_> = ahead.map(|view| spoiled(forge, heard, Subject::nullify(epoch, view))).collect();
        let vote = forge.vote(Subject::nullify(epoch, View::new(view.get().saturating_add(2))));
        let mut said = vec![
            Message::Certificate(copy.clone()),
            Message::Certificates(Certificates { certificates: List::new(batch).unwrap_or_default() }),
            Message::Vote(Vote { signature: noise(forge), ..vote }),
        ];
        if let Subject::Finalize(_) = heard.subject {
            let status = Status { epoch, view, height: Height::ZERO, finalization: Some(copy) };
            said.push(Message::Status(status));
        }
        said.into_iter().map(|message| (Target::All, message)).collect()
    }
}

/// As many signatures as in the other one, none of which is any.
fn spoiled(forge: &mut Forge<'_>, of: &Certificate, subject: Subject) -> Arc<Certificate> {
    let signatures = of.signatures.iter().map(|_| noise(forge)).collect();
    let signatures = List::new(signatures).unwrap_or_default();
    Arc::new(Certificate { subject, signers: of.signers, signatures })
}

fn noise(forge: &mut Forge<'_>) -> Signature {
    let mut bytes = [0; 64];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&forge.rng.next().to_le_bytes());
    }
    Signature::from_bytes(bytes)
}
