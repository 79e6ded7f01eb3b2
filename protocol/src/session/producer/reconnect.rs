//! After a new connection: what the consumer may not have heard (P1, P10).

use crate::session::messages::{Message, Resume};
use crate::session::terms::{PaymentKind, after};

use super::io::ProducerOutput;
use super::machine::ProducerSession;

impl ProducerSession {
    /// P1. Nothing but its `Open` asks for a channel's deposit, which takes no release (S3).
    pub(super) fn accept_again(&self, out: &mut Vec<ProducerOutput>) {
        out.push(ProducerOutput::Send(Message::Accept(self.policy.claim_lead)));
        if self.terms.kind == PaymentKind::Channel && self.progress.is_delivered() {
            out.push(self.delivered_message());
        }
    }

    /// P10.
    pub(super) fn resume(&self, out: &mut Vec<ProducerOutput>) {
        out.push(ProducerOutput::Send(Message::Resume(Resume {
            payment: self.terms.payment,
            released: after(self.progress.last),
            delivered: after(self.progress.delivered),
        })));
        if self.progress.last.is_some() && self.progress.is_delivered() {
            out.push(self.delivered_message());
        }
    }
}
