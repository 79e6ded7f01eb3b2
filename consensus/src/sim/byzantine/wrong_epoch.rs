//! Floods the others with messages of epochs that are over, of the next one and of far ones.

use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::finality::{Certificate, Subject};
use evchain_protocol::primitives::{Epoch, Height, View};

use super::{Behaviour, Forge, Target};
use crate::message::{GetCertificates, Message, Status};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct WrongEpoch;

impl WrongEpoch {
    fn noise(forge: &mut Forge<'_>) -> Message {
        let epoch = match forge.rng.below(3) {
            0 => Epoch::new(forge.committee.epoch().get() + 1),
            1 => Epoch::new(forge.rng.below(forge.committee.epoch().get() + 1)),
            _ => Epoch::new(forge.rng.next()),
        };
        let view = View::new(forge.rng.below(20));
        let vote = forge.vote(Subject::nullify(epoch, view));
        match forge.rng.below(4) {
            0 => Message::Vote(vote),
            1 => {
                let height = Height::new(forge.rng.next());
                Message::Status(Status { epoch, view, height, finalization: None })
            }
            2 => Message::GetCertificates(GetCertificates { epoch, lo: View::ZERO, hi: View::MAX }),
            _ => Message::Certificate(Arc::new(Certificate {
                subject: vote.subject,
                signers: [vote.signer].into_iter().collect(),
                signatures: List::new(vec![vote.signature]).unwrap_or_default(),
            })),
        }
    }
}

impl Behaviour for WrongEpoch {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        // Not with answers: two of its kind would answer each other's noise for ever.
        if target != Target::All {
            return vec![(target, message)];
        }
        let noise = (0..8).map(|_| (Target::All, Self::noise(forge))).collect();
        [vec![(target, message)], noise].concat()
    }
}
