//! A leader whose justification misses a certificate, repeats one, adds one, or has a forged signature.

use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::Signature;
use evchain_protocol::finality::{Certificate, Justification, ParentProof, Subject};

use super::{Behaviour, Forge, Target};
use crate::block::Block;
use crate::message::{Message, Proposal};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct BogusJustification;

impl Behaviour for BogusJustification {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        let Message::Proposal(proposal) = &message else { return vec![(target, message)] };
        if let Some(again) = &proposal.again {
            let again = Some(distort(again, forge.rng.below(4)));
            return vec![(target, Message::Proposal(Proposal { again, ..proposal.clone() }))];
        }
        let just = distort(proposal.block.just(), forge.rng.below(4));
        let mut header = proposal.block.header().clone();
        header.just_root = just.root();
        let Ok(block) = Block::new(header, just, proposal.block.payload().clone()) else {
            return Vec::new();
        };
        vec![(target, Message::Proposal(forge.propose_instead(proposal, Arc::new(block))))]
    }
}

fn distort(just: &Justification, how: u64) -> Justification {
    let mut skips = just.skips.to_vec();
    let mut parent = just.parent.clone();
    match (how, &just.parent) {
        (0, _) if !skips.is_empty() => _ = skips.pop(),
        (1, _) if !skips.is_empty() => skips.extend(skips.first().cloned()),
        (2, ParentProof::Certificate(certificate)) => {
            let (epoch, view) = certificate.subject.place();
            let subject = Subject::nullify(epoch, view);
            skips.push(Arc::new(forged(&Certificate { subject, ..Certificate::clone(certificate) })));
        }
        (_, ParentProof::Certificate(certificate)) => {
            parent = ParentProof::Certificate(Arc::new(forged(certificate)));
        }
        (_, ParentProof::Root) => skips = Vec::new(),
    }
    Justification { parent, skips: List::new(skips).unwrap_or_default() }
}

fn forged(certificate: &Certificate) -> Certificate {
    let signatures = certificate.signatures.iter().map(|_| Signature::from_bytes([7; Signature::LEN]));
    let signatures = List::new(signatures.collect()).unwrap_or_default();
    Certificate { signatures, ..certificate.clone() }
}
