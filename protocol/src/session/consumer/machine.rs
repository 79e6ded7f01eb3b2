//! The consumer's machine: pays one installment ahead of its energy (`docs/session.md`, C1-C19).

use crate::crypto::{BadSignature, KeyPair, Signature};
use crate::primitives::{Energy, Span, Timestamp};
use crate::session::messages::{Delivered, Message, Open, ReceiptMessage, RejectReason, Release, StopReason};
use crate::session::outcome::{EndReason, Outcome, Settlement, Unexpected};
use crate::session::proof::{Releaser, channel_state};
use crate::session::receipt::{Receipt, ReceiptRecord, SignedReceipt};
use crate::session::terms::{PaymentKind, Progress, Terms, later, reaches};
use crate::state::channel::SignedChannelState;

use super::io::{Beginning, ConsumerInput, ConsumerOutput, ConsumerPolicy, ConsumerRecord, DeliveredRecord};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ready,
    Opening,
    Waiting,
    Charging,
    Metering(Delivered),
    Closing,
    Settling,
    Done,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Ready => "not connected yet",
            Self::Opening => "waiting to be accepted",
            Self::Waiting => "waiting for a block",
            Self::Charging => "charging",
            Self::Metering(_) => "waiting for the meter",
            Self::Closing => "waiting for the receipt",
            Self::Settling => "settling",
            Self::Done => "over",
        }
    }
}

/// The consumer's side of one session.
#[derive(Clone)]
pub struct ConsumerSession {
    pub(super) key: KeyPair,
    pub(super) beginning: Beginning,
    pub(super) releaser: Releaser,
    pub(super) policy: ConsumerPolicy,
    pub(super) phase: Phase,
    /// When [`ConsumerInput::Timeout`] is due.
    pub(super) timer: Option<Timestamp>,
    pub(super) claim_lead: Span,
    pub(super) progress: Progress,
    pub(super) meter: Energy,
    pub(super) chain_time: Timestamp,
    /// The release that a producer with an older disk needs next (C17).
    pub(super) missed: Option<u32>,
    /// The channel's newest state that the producer signed.
    pub(super) cosigned: Option<SignedChannelState>,
    pub(super) end: Option<EndReason>,
    pub(super) receipt: Option<ReceiptRecord>,
}

impl ConsumerSession {
    /// A session that begins with the first connection. The secrets are those of the payment's
    /// locks; the wallet had them on disk before the locks went to the chain.
    pub fn new(
        key: KeyPair,
        beginning: Beginning,
        policy: ConsumerPolicy,
        out: &mut Vec<ConsumerOutput>,
    ) -> Self {
        out.push(ConsumerOutput::Persist(ConsumerRecord::Begun(beginning.clone()))); // C1
        Self::begin(key, beginning, policy)
    }

    pub(super) fn begin(key: KeyPair, beginning: Beginning, policy: ConsumerPolicy) -> Self {
        let terms = &beginning.terms;
        Self {
            timer: Some(terms.plan.window.end),
            key,
            releaser: Releaser::new(&beginning.secrets, terms),
            progress: Progress::default(),
            policy,
            phase: Phase::Ready,
            claim_lead: Span::ZERO,
            meter: Energy::ZERO,
            chain_time: Timestamp::ZERO,
            missed: None,
            cosigned: None,
            end: None,
            receipt: None,
            beginning,
        }
    }

    /// What the session is about.
    pub const fn terms(&self) -> &Terms {
        &self.beginning.terms
    }

    /// How far it is.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Done
    }

    /// When to call [`Self::step`] with [`ConsumerInput::Timeout`], unless something comes before.
    pub const fn deadline(&self) -> Option<Timestamp> {
        self.timer
    }

    /// Takes one input at this moment of the own clock and appends what is to be done.
    ///
    /// # Errors
    /// [`Unexpected`] for an input that no line lists; nothing changed.
    pub fn step(
        &mut self,
        now: Timestamp,
        input: ConsumerInput,
        out: &mut Vec<ConsumerOutput>,
    ) -> Result<(), Unexpected> {
        use ConsumerInput as Input;
        use Phase::{Charging, Closing, Done, Metering, Opening, Ready, Settling, Waiting};

        match (self.phase, input) {
            (Ready | Opening, Input::Connected) => self.open(now, out), // C2
            (Opening, Input::Message(Message::Accept(lead))) if lead <= self.policy.max_claim_lead => {
                self.accepted(now, lead, out); // C3
            }
            (Opening, Input::Message(Message::Accept(_))) => {
                self.give_up(now, EndReason::ConsumerStopped(StopReason::OutOfPlace), out); // C4
            }
            (Opening, Input::Message(Message::Reject(reason))) => {
                self.give_up(now, EndReason::Rejected(reason), out); // C4
            }
            (Opening, Input::Message(Message::Stop(reason))) => {
                self.give_up(now, EndReason::ProducerStopped(reason), out); // C4
            }
            (Ready | Opening, Input::Stop(reason)) => {
                self.give_up(now, EndReason::ConsumerStopped(reason), out); // C4
            }
            (Opening, Input::Timeout) if self.is_due(now) && now < self.terms().plan.window.end => {
                self.open(now, out); // C2
            }
            (Ready | Opening, Input::Timeout) if self.is_due(now) => {
                self.give_up(now, EndReason::ConsumerStopped(StopReason::Timeout), out); // C4
            }
            (Charging | Metering(_) | Waiting | Closing, Input::Message(Message::Delivered(delivered))) => {
                self.hear_delivered(now, &delivered, out); // C5, C6, C17, C19
            }
            (phase, Input::Metered(reading)) => {
                self.meter = self.meter.max(reading);
                if let Metering(delivered) = phase {
                    self.delivered(now, &delivered, out); // C8
                }
            }
            (phase, Input::ChainTime(time)) => {
                self.chain_time = self.chain_time.max(time);
                if phase == Waiting {
                    self.release_next(now, out); // C9
                }
            }
            (Metering(_), Input::Timeout) if self.is_due(now) => {
                self.stop(now, StopReason::EnergyShort, out); // C10
            }
            (Charging, Input::Timeout) if self.is_due(now) => {
                self.stop(now, StopReason::Timeout, out); // C10
            }
            (Waiting, Input::Timeout) if self.is_due(now) => self.release_next(now, out), // C9
            (Charging | Metering(_) | Waiting, Input::Stop(reason)) => self.stop(now, reason, out), // C10
            (Charging | Metering(_) | Waiting, Input::Message(Message::Stop(reason))) => {
                self.finish(now, EndReason::ProducerStopped(reason), out); // C11
            }
            (Closing, Input::Message(Message::Receipt(message))) => {
                self.take_receipt(now, &message, out); // C12, C13
            }
            (Closing, Input::Message(Message::Stop(_))) => self.conclude(now, out), // C13
            (Closing, Input::Timeout) if self.is_due(now) => self.conclude(now, out), // C13
            (Settling, Input::Timeout) if self.is_due(now) => self.settle(out),     // C15
            (
                Opening | Waiting | Charging | Metering(_) | Closing | Settling,
                Input::PaidOut | Input::Cancelled,
            ) => {
                self.settled(out); // C15
            }
            (Charging | Metering(_) | Waiting | Closing, Input::Connected) => self.resume(now, out), // C16
            (Charging | Metering(_) | Waiting | Closing, Input::Message(Message::Resume(resume)))
                if resume.payment == self.terms().payment =>
            {
                self.resumed(now, resume, out); // C17
            }
            (Charging | Metering(_) | Waiting, Input::ForceClosed) => {
                self.finish(now, EndReason::ProducerStopped(StopReason::PaymentClosing), out); // C18
            }
            // C19, and timeouts that are not due.
            (_, Input::Timeout)
            | (Ready | Done, Input::PaidOut | Input::Cancelled)
            | (Closing | Settling | Done, Input::ForceClosed | Input::Stop(_))
            | (Settling | Done, Input::Connected | Input::Message(_))
            | (Charging | Metering(_) | Waiting, Input::Message(Message::Accept(_))) => {}
            (phase, input) => {
                return Err(Unexpected { phase: phase.name(), input: input.name() });
            }
        }
        Ok(())
    }

    /// C2.
    fn open(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        let terms = self.terms();
        let open = Open { opening: self.beginning.opening, kind: terms.kind, payment: terms.payment };
        out.push(ConsumerOutput::Send(Message::Open(open)));
        self.phase = Phase::Opening;
        self.timer = Some(later(now, self.policy.answer_timeout));
    }

    /// C3.
    fn accepted(&mut self, now: Timestamp, claim_lead: Span, out: &mut Vec<ConsumerOutput>) {
        out.push(ConsumerOutput::Persist(ConsumerRecord::Accepted(claim_lead)));
        out.push(ConsumerOutput::OpenValve);
        self.claim_lead = claim_lead;
        self.progress = self.terms().start();
        if self.progress.is_delivered() {
            self.release_next(now, out);
        } else {
            self.charge(now); // S3
        }
    }

    /// Waits for the delivery of what was released.
    pub(super) fn charge(&mut self, now: Timestamp) {
        self.phase = Phase::Charging;
        self.timer = Some(self.terms().delivery_deadline(now, self.policy.delivery_grace));
    }

    /// C5, C6, C8.
    pub(super) fn delivered(&mut self, now: Timestamp, delivered: &Delivered, out: &mut Vec<ConsumerOutput>) {
        let Some(index) = self.progress.last else { return };
        if delivered.index < index {
            return; // C19
        }
        if delivered.index > index {
            return self.stop(now, StopReason::OutOfPlace, out);
        }
        if delivered.energy < self.progress.energy {
            return self.stop(now, StopReason::EnergyShort, out);
        }
        let Ok(state) = self.cosigned_state(index, false, delivered.cosignature) else {
            return self.stop(now, StopReason::OutOfPlace, out);
        };
        if !reaches(self.meter, self.progress.energy, self.policy.tolerance_permille) {
            if self.phase == Phase::Charging {
                self.phase = Phase::Metering(*delivered);
                self.timer = Some(later(now, self.policy.meter_grace));
            }
            return;
        }
        let record = DeliveredRecord { index, energy: self.meter, state };
        out.push(ConsumerOutput::Persist(ConsumerRecord::Delivered(record)));
        self.take(&record);
        self.release_next(now, out); // C7
    }

    /// Books an installment that arrived.
    pub(super) fn take(&mut self, record: &DeliveredRecord) {
        self.progress.deliver();
        self.meter = self.meter.max(record.energy);
        self.cosigned = record.state.or(self.cosigned);
    }

    /// The channel state of installment `index` with the producer's signature; none for hashes.
    fn cosigned_state(
        &self,
        index: u32,
        closing: bool,
        signature: Option<Signature>,
    ) -> Result<Option<SignedChannelState>, BadSignature> {
        let terms = self.terms();
        match (terms.kind, signature) {
            (PaymentKind::Channel, Some(signature)) => {
                let signed = SignedChannelState { state: channel_state(terms, index, closing), signature };
                signed.verify(&terms.producer, terms.chain).map(|()| Some(signed))
            }
            (PaymentKind::Channel, None) | (_, Some(_)) => Err(BadSignature),
            (_, None) => Ok(None),
        }
    }

    /// C7 after its record, C9.
    pub(super) fn release_next(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        let Some(index) = self.next_release(now) else {
            return self.finish(now, EndReason::Completed, out);
        };
        if self.is_held_back(index) {
            if self.phase != Phase::Waiting {
                self.phase = Phase::Waiting;
                self.timer = Some(self.terms().plan.window.end.max(now));
            }
            return;
        }
        let Some(proof) = self.releaser.proof(self.terms(), index, &self.key) else {
            return self.stop(now, StopReason::Fault, out);
        };
        out.push(ConsumerOutput::Persist(ConsumerRecord::Released(index)));
        out.push(ConsumerOutput::Send(Message::Release(Release { index, proof })));
        let terms = self.beginning.terms;
        self.progress.release(&terms, index);
        self.charge(now);
    }

    /// S5, S9: the next installment that can still be released.
    fn next_release(&self, now: Timestamp) -> Option<u32> {
        let terms = self.terms();
        if now >= terms.plan.window.end {
            return None;
        }
        let moment = now.max(self.chain_time);
        let lead = self.release_lead();
        let next = self.progress.next();
        let releasable = (next..terms.plan.count.get()).find(|index| !terms.is_late(*index, moment, lead))?;
        // S2: without the deposit charging can't begin.
        (releasable == next || next > 0).then_some(releasable)
    }

    /// S5: until its deadline, an installment needs so long to be released.
    pub(super) fn release_lead(&self) -> Span {
        self.claim_lead.saturating_add(Span::new(self.claim_lead.get() / 2))
    }

    /// S7: whether the link would give away skipped installments that are not home yet.
    fn is_held_back(&self, index: u32) -> bool {
        let terms = self.terms();
        let skips = index > self.progress.next();
        let skipped_until = index.checked_sub(1).and_then(|skipped| terms.deadline(skipped));
        terms.kind == PaymentKind::Chain
            && skips
            && skipped_until.is_some_and(|deadline| self.chain_time < deadline)
    }

    /// C10.
    pub(super) fn stop(&mut self, now: Timestamp, reason: StopReason, out: &mut Vec<ConsumerOutput>) {
        self.finish(now, EndReason::ConsumerStopped(reason), out);
    }

    /// C11.
    fn finish(&mut self, now: Timestamp, reason: EndReason, out: &mut Vec<ConsumerOutput>) {
        out.push(ConsumerOutput::CloseValve);
        self.record_end(reason, out);
        self.propose_receipt(now, out);
    }

    fn record_end(&mut self, reason: EndReason, out: &mut Vec<ConsumerOutput>) {
        self.end = Some(reason);
        out.push(ConsumerOutput::Persist(ConsumerRecord::Ended(reason)));
        if let EndReason::ConsumerStopped(reason) = reason {
            out.push(ConsumerOutput::Send(Message::Stop(reason)));
        }
    }

    pub(super) fn propose_receipt(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        let terms = self.terms();
        let receipt = Receipt::new(terms, &self.progress, self.meter);
        let closing = match (terms.kind, self.progress.last) {
            (PaymentKind::Channel, Some(last)) => {
                Some(channel_state(terms, last, true).sign(&self.key, terms.chain).signature)
            }
            _ => None,
        };
        let signature = receipt.sign(&self.key, terms.chain);
        out.push(ConsumerOutput::Send(Message::Receipt(ReceiptMessage { receipt, signature, closing })));
        self.phase = Phase::Closing;
        self.timer = Some(later(now, self.policy.answer_timeout));
    }

    /// C12, C13.
    fn take_receipt(&mut self, now: Timestamp, message: &ReceiptMessage, out: &mut Vec<ConsumerOutput>) {
        if let Some(record) = self.check_receipt(message) {
            out.push(ConsumerOutput::Persist(ConsumerRecord::Receipted(record)));
            self.receipt = Some(record);
        }
        self.conclude(now, out);
    }

    fn check_receipt(&self, message: &ReceiptMessage) -> Option<ReceiptRecord> {
        let (terms, receipt) = (self.terms(), message.receipt);
        // The meter may have moved between the proposal and now; the producer signed the proposal.
        if receipt != Receipt::new(terms, &self.progress, receipt.energy) || receipt.energy > self.meter {
            return None;
        }
        receipt.verify(&terms.producer, terms.chain, &message.signature).ok()?;
        let last = self.progress.last.unwrap_or(0);
        let closing = self.cosigned_state(last, true, message.closing).ok()?;
        let consumer = receipt.sign(&self.key, terms.chain);
        Some(ReceiptRecord {
            receipt: SignedReceipt { receipt, consumer, producer: message.signature },
            closing,
        })
    }

    /// C14.
    pub(super) fn conclude(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        let terms = self.terms();
        let all_paid = self.progress.next() >= terms.plan.count.get();
        if terms.kind == PaymentKind::Channel && !all_paid {
            self.phase = Phase::Settling;
            self.timer = Some(later(now, self.policy.close_grace));
        } else {
            self.done(out);
        }
    }

    /// C4 and E5: the session never began.
    fn give_up(&mut self, now: Timestamp, reason: EndReason, out: &mut Vec<ConsumerOutput>) {
        self.record_end(reason, out);
        self.settle_unopened(now, out);
    }

    /// E5.
    pub(super) fn settle_unopened(&mut self, now: Timestamp, out: &mut Vec<ConsumerOutput>) {
        let terms = *self.terms();
        if matches!(self.end, Some(EndReason::Rejected(RejectReason::TooEarly(_)))) {
            return self.done(out);
        }
        let can_cancel = now.max(self.chain_time) < terms.cancel_by;
        self.phase = Phase::Settling;
        self.timer = None;
        if can_cancel {
            out.push(ConsumerOutput::Settle(Settlement::Cancel));
            // Should it come too late after all, it ends as if it had not been tried.
            self.timer = Some(later(terms.cancel_by, self.policy.close_grace));
        } else if terms.kind == PaymentKind::Channel {
            self.settle(out);
        } else {
            self.done(out);
        }
    }

    /// C15 and E6.
    fn settle(&mut self, out: &mut Vec<ConsumerOutput>) {
        self.timer = None;
        if self.terms().kind != PaymentKind::Channel {
            return self.done(out);
        }
        let closing = self.receipt.and_then(|record| record.closing);
        out.push(ConsumerOutput::Settle(match closing {
            Some(closing) => Settlement::Close(closing),
            None => Settlement::ForceClose(self.cosigned),
        }));
    }

    /// C15: nothing is left of the payment.
    fn settled(&mut self, out: &mut Vec<ConsumerOutput>) {
        self.end.get_or_insert(EndReason::ClosedOnChain);
        out.push(ConsumerOutput::CloseValve);
        out.push(ConsumerOutput::Persist(ConsumerRecord::Settled));
        self.done(out);
    }

    fn done(&mut self, out: &mut Vec<ConsumerOutput>) {
        self.phase = Phase::Done;
        self.timer = None;
        out.push(ConsumerOutput::Finished(self.outcome()));
    }

    /// What the session came to so far.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            reason: self.end.unwrap_or(EndReason::Completed),
            released: self.progress.released,
            amount: self.progress.amount,
            energy: self.meter,
            receipt: self.receipt.map(|record| record.receipt),
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.timer.is_some_and(|at| at <= now)
    }
}
