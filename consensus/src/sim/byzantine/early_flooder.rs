//! Fills the room that others have for messages of the next epoch: proposals with as many skips as fit in
//! what nobody signs, and certificates.

use std::sync::Arc;

use evchain_protocol::block::Header;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::Signature;
use evchain_protocol::finality::{Certificate, Justification, MAX_SKIPS, ParentProof, Signers, Subject};
use evchain_protocol::primitives::{Epoch, View};

use super::{Behaviour, Forge, Target};
use crate::block::Block;
use crate::message::{Message, Proposal};

/// Messages of each kind in each epoch, as many as fill the room of one peer.
const MESSAGES: u64 = 8;

/// See the module.
#[derive(Debug, Clone)]
pub struct EarlyFlooder {
    /// Signatures in each certificate of a proposal, up to as many as there may be authorities.
    signatures: usize,
    /// Its next message, of which epoch.
    sent: (Epoch, u64),
}

impl EarlyFlooder {
    /// One whose proposals hold so many signatures in each of their certificates.
    pub const fn with_signatures(signatures: usize) -> Self {
        Self { signatures, sent: (Epoch::ZERO, 0) }
    }

    fn flood(&mut self, forge: &mut Forge<'_>, block: &Block) -> Option<Message> {
        let next = forge.committee.epoch().next().ok()?;
        if self.sent.0 != next {
            self.sent = (next, 0);
        }
        self.sent.1 += 1;
        let (view, number) = (View::new(self.sent.1 + 1), self.sent.1);
        if number > MESSAGES {
            return Some(Message::Certificate(self.skip(next, view)));
        }
        let skips = (1..=MAX_SKIPS as u64).map(|view| self.skip(next, View::new(view))).collect();
        let again = Justification { parent: ParentProof::Root, skips: List::new(skips).ok()? };
        let header = Header { epoch: next, view: View::new(number), ..block.header().clone() };
        let block = Arc::new(Block::new(header, block.just().clone(), block.payload().clone()).ok()?);
        let vote = forge.vote(Subject::notarize(next, view, block.hash()));
        Some(Message::Proposal(Proposal { block, again: Some(again), vote }))
    }

    fn skip(&self, epoch: Epoch, view: View) -> Arc<Certificate> {
        let signature = Signature::from_bytes([1; 64]);
        let signatures = List::new(vec![signature; self.signatures]).unwrap_or_default();
        Arc::new(Certificate {
            subject: Subject::nullify(epoch, view),
            signers: Signers::default(),
            signatures,
        })
    }
}

impl Behaviour for EarlyFlooder {
    fn send(&mut self, _forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        vec![(target, message)]
    }

    fn hear(&mut self, forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        let Message::Proposal(proposal) = message else { return Vec::new() };
        let flood = self.flood(forge, &proposal.block);
        flood.into_iter().map(|message| (Target::All, message)).collect()
    }
}
