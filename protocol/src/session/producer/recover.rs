//! Going on after a crash from what was persisted (D4).

use crate::crypto::KeyPair;
use crate::primitives::Timestamp;
use crate::session::outcome::RecoverError;
use crate::session::terms::later;

use super::io::{ProducerOutput, ProducerPolicy, ProducerRecord};
use super::machine::{Phase, ProducerSession};

impl ProducerSession {
    /// The session that persisted these records, in their order. What the valve and the chain were
    /// told before is told again.
    ///
    /// # Errors
    /// [`RecoverError`]: the records are damaged. What they hold can still be settled by hand.
    pub fn recover(
        key: KeyPair,
        policy: ProducerPolicy,
        records: &[ProducerRecord],
        now: Timestamp,
        out: &mut Vec<ProducerOutput>,
    ) -> Result<Self, RecoverError> {
        let (first, rest) = records.split_first().ok_or(RecoverError::Empty)?;
        let ProducerRecord::Accepted(acceptance) = first else { return Err(RecoverError::OutOfPlace(0)) };
        let mut session = Self::begin(key, policy, acceptance.terms, acceptance.locks.clone());
        for (place, record) in (1..).zip(rest) {
            session.replay(record).ok_or(RecoverError::OutOfPlace(place))?;
        }
        if session.end.is_none() {
            session.go_on(now, out);
        } else {
            out.push(ProducerOutput::StopEnergy);
            session.phase = Phase::Closing;
            session.timer = Some(later(now, policy.answer_timeout));
            if session.receipt.is_some() || session.settled_below > 0 {
                session.settle(out);
            }
        }
        Ok(session)
    }

    /// Books one record; `None` if it does not follow from those before it.
    fn replay(&mut self, record: &ProducerRecord) -> Option<()> {
        match record {
            ProducerRecord::Released(release) if self.end.is_none() && self.progress.is_delivered() => {
                self.verifier.accept(release.index, &release.proof).ok()?;
                self.take(*release);
            }
            ProducerRecord::Delivered((index, reading))
                if self.end.is_none()
                    && !self.progress.is_delivered()
                    && self.progress.last == Some(*index) =>
            {
                self.progress.deliver();
                self.meter = self.meter.max(*reading);
            }
            ProducerRecord::Ended(reason) if self.end.is_none() => self.end = Some(*reason),
            ProducerRecord::Receipted(record) if self.end.is_some() => self.receipt = Some(*record),
            ProducerRecord::Settled(below) => self.book_settled(*below),
            ProducerRecord::Binding => self.is_binding = true,
            _ => return None,
        }
        Some(())
    }
}
