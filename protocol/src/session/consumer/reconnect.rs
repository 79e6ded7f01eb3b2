//! After a new connection: where both are, and what the producer has forgotten (C16, C17).

use crate::primitives::Timestamp;
use crate::session::messages::{Delivered, Message, Release, Resume, StopReason};
use crate::session::terms::after;

use super::io::ConsumerOutput;
use super::machine::{ConsumerSession, Phase};

impl ConsumerSession {
    /// C16.
    pub(super) fn resume(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        out.push(ConsumerOutput::Send(Message::Resume(Resume {
            payment: self.terms().payment,
            released: after(self.progress.last),
            delivered: after(self.progress.delivered),
        })));
        self.missed = None;
        if self.phase == Phase::Waiting {
            self.release_next(now, out);
        }
    }

    /// C17.
    pub(super) fn resumed(&mut self, now: Timestamp, theirs: Resume, out: &mut Vec<ConsumerOutput>) {
        let (released, is_closing) = (after(self.progress.last), self.phase == Phase::Closing);
        match self.progress.last {
            Some(last) if theirs.released < released => {
                // Where some were skipped the last one is all that the producer can take (S6).
                let skipped = self.progress.released < released;
                self.missed = Some(if skipped { last } else { theirs.released });
                self.remind(now, out);
            }
            _ if is_closing => self.propose_receipt(now, out),
            _ if theirs.released > released => self.stop(now, StopReason::OutOfPlace, out),
            _ => {}
        }
    }

    /// C17: sends again what the producer has forgotten, one after the other.
    fn remind(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        let (Some(missed), Some(last)) = (self.missed, self.progress.last) else { return };
        // The producer takes none that is late, but the one behind it (S6).
        let is_late = |index| self.terms().is_late(index, now.max(self.chain_time), self.release_lead());
        let index = (missed..last).find(|index| !is_late(*index)).unwrap_or(last);
        if let Some(proof) = self.releaser.proof(self.terms(), index, &self.key) {
            out.push(ConsumerOutput::Send(Message::Release(Release { index, proof })));
        }
        self.missed = index.checked_add(1).filter(|next| *next <= last);
        if self.missed.is_none() && self.phase == Phase::Closing {
            out.push(ConsumerOutput::Send(Message::Stop(StopReason::Ended)));
            self.propose_receipt(now, out);
        }
    }

    /// C5, C6, C17, C19: what it says of a delivery depends on whether it is catching up.
    pub(super) fn hear_delivered(
        &mut self,
        now: Timestamp,
        delivered: &Delivered,
        out: &mut Vec<ConsumerOutput>,
    ) {
        if self.missed.is_some_and(|missed| delivered.index < missed) {
            self.remind(now, out);
        } else if matches!(self.phase, Phase::Charging | Phase::Metering(_)) {
            self.delivered(now, delivered, out);
        }
    }
}
