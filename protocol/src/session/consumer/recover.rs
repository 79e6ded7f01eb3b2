//! Going on after a crash from what was persisted (D4).

use crate::crypto::KeyPair;
use crate::primitives::Timestamp;
use crate::session::outcome::{EndReason, RecoverError};
use crate::session::terms::later;

use super::io::{ConsumerOutput, ConsumerPolicy, ConsumerRecord};
use super::machine::{ConsumerSession, Phase};

impl ConsumerSession {
    /// The session that persisted these records, in their order. It waits for
    /// [`Connected`](super::ConsumerInput::Connected) to take up the conversation.
    ///
    /// # Errors
    /// [`RecoverError`]: the records are damaged. What they hold can still be settled by hand.
    pub fn recover(
        key: KeyPair,
        policy: ConsumerPolicy,
        records: &[ConsumerRecord],
        now: Timestamp,
        out: &mut Vec<ConsumerOutput>,
    ) -> Result<Self, RecoverError> {
        let (first, rest) = records.split_first().ok_or(RecoverError::Empty)?;
        let ConsumerRecord::Begun(beginning) = first else { return Err(RecoverError::OutOfPlace(0)) };
        let mut session = Self::begin(key, beginning.clone(), policy);
        for (place, record) in (1..).zip(rest) {
            session.replay(record).ok_or(RecoverError::OutOfPlace(place))?;
        }
        session.go_on_after_crash(now, out);
        Ok(session)
    }

    /// Books one record; `None` if it does not follow from those before it.
    fn replay(&mut self, record: &ConsumerRecord) -> Option<()> {
        use Phase::{Charging, Closing, Done, Ready, Settling, Waiting};

        let terms = *self.terms();
        self.phase = match (self.phase, record) {
            (Ready, ConsumerRecord::Accepted(claim_lead)) => {
                self.claim_lead = *claim_lead;
                self.progress = terms.start();
                if self.progress.is_delivered() { Waiting } else { Charging }
            }
            (Waiting, ConsumerRecord::Released(index)) => {
                let can_follow = *index >= self.progress.next() && *index < terms.plan.count.get();
                can_follow.then(|| self.progress.release(&terms, *index))?;
                Charging
            }
            (Charging, ConsumerRecord::Delivered(record)) => {
                (Some(record.index) == self.progress.last).then(|| self.take(record))?;
                Waiting
            }
            (Ready, ConsumerRecord::Ended(reason)) => {
                self.end = Some(*reason);
                Settling
            }
            (Charging | Waiting, ConsumerRecord::Ended(reason)) => {
                self.end = Some(*reason);
                Closing
            }
            (Closing, ConsumerRecord::Receipted(record)) => {
                self.receipt = Some(*record);
                Closing
            }
            (_, ConsumerRecord::Settled) => {
                self.end.get_or_insert(EndReason::ClosedOnChain);
                Done
            }
            _ => return None,
        };
        Some(())
    }

    fn go_on_after_crash(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        use Phase::{Charging, Closing, Done, Metering, Opening, Ready, Settling, Waiting};

        let answer = later(now, self.policy.answer_timeout);
        match self.phase {
            Ready | Opening => {}
            Waiting => {
                out.push(ConsumerOutput::OpenValve);
                self.timer = Some(self.terms().plan.window.end.max(answer));
            }
            Charging | Metering(_) => {
                out.push(ConsumerOutput::OpenValve);
                self.charge(now);
            }
            Closing => {
                out.push(ConsumerOutput::CloseValve);
                self.timer = Some(answer);
                if self.receipt.is_some() {
                    self.conclude(now, out);
                }
            }
            Settling => self.settle_unopened(now, out),
            Done => out.push(ConsumerOutput::Finished(self.outcome())),
        }
    }
}
