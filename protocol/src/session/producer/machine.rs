//! The producer's machine: delivers what is paid, and collects it (`docs/session.md`, P1-P19).

use std::collections::BTreeMap;

use crate::crypto::{KeyPair, Preimage, PublicKey};
use crate::primitives::{Energy, Timestamp};
use crate::session::messages::{Delivered, Message, Open, ReceiptMessage, RejectReason, Release, StopReason};
use crate::session::open::{ChainFacts, OnChain, check_open};
use crate::session::outcome::{EndReason, Outcome, Unexpected};
use crate::session::proof::{Proof, Verifier, channel_state};
use crate::session::receipt::{Receipt, ReceiptRecord, SignedReceipt};
use crate::session::terms::{PaymentKind, Progress, Terms, later, reaches};
use crate::state::channel::SignedChannelState;
use crate::state::payment::HashLocks;

use super::io::{Acceptance, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Paused,
    Delivering,
    Closing,
    Settling,
    Done,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Paused => "waiting for the next installment",
            Self::Delivering => "delivering",
            Self::Closing => "waiting for the receipt",
            Self::Settling => "settling",
            Self::Done => "over",
        }
    }
}

/// The producer's side of one session.
#[derive(Debug, Clone)]
pub struct ProducerSession {
    pub(super) key: KeyPair,
    pub(super) terms: Terms,
    pub(super) policy: ProducerPolicy,
    pub(super) phase: Phase,
    /// When [`ProducerInput::Timeout`] is due for the phase.
    pub(super) timer: Option<Timestamp>,
    pub(super) verifier: Verifier,
    pub(super) progress: Progress,
    pub(super) last_release: Option<Release>,
    /// Whether the valve was told to let the current installment flow.
    pub(super) flowing: bool,
    pub(super) meter: Energy,
    pub(super) chain_time: Timestamp,
    /// Whether it is known that the consumer cannot cancel any more (S8).
    pub(super) is_binding: bool,
    /// Preimages received that the chain has not settled, without a forfeited deposit.
    pub(super) unsettled: BTreeMap<u32, Preimage>,
    /// Preimages below this index were given out in a claim.
    pub(super) claimed_below: u32,
    /// The chain has settled the installments below this index.
    pub(super) settled_below: u32,
    /// The channel's newest state that the consumer signed.
    pub(super) newest_state: Option<SignedChannelState>,
    pub(super) end: Option<EndReason>,
    pub(super) receipt: Option<ReceiptRecord>,
}

impl ProducerSession {
    /// Answers `open` from the consumer `remote`: a session (P2), or why there is none (P3), which
    /// is to be sent as [`Message::Reject`].
    ///
    /// # Errors
    /// The first check of O1 to O7 that fails.
    pub fn open(
        key: KeyPair,
        remote: PublicKey,
        open: &Open,
        facts: &ChainFacts,
        policy: ProducerPolicy,
        now: Timestamp,
        out: &mut Vec<ProducerOutput>,
    ) -> Result<Self, RejectReason> {
        let (terms, locks) = check_open(key.public_key(), remote, open, facts, &policy, now)?;
        out.push(ProducerOutput::Persist(ProducerRecord::Accepted(Acceptance {
            terms,
            locks: locks.clone(),
        })));
        out.push(ProducerOutput::Send(Message::Accept(policy.claim_lead)));
        let settled_below = match &facts.payment {
            Some(OnChain::Installments(payment)) => {
                payment.unsettled().next().unwrap_or(payment.plan.count.get())
            }
            _ => 0,
        };
        let mut session = Self::begin(key, policy, terms, locks);
        session.chain_time = facts.time;
        session.settled_below = settled_below;
        session.go_on(now, out);
        Ok(session)
    }

    pub(super) fn begin(
        key: KeyPair,
        policy: ProducerPolicy,
        terms: Terms,
        locks: Option<HashLocks>,
    ) -> Self {
        Self {
            key,
            terms,
            policy,
            phase: Phase::Paused,
            timer: None,
            verifier: Verifier::new(terms, locks),
            progress: terms.start(),
            last_release: None,
            flowing: false,
            meter: Energy::ZERO,
            chain_time: Timestamp::ZERO,
            is_binding: false,
            unsettled: BTreeMap::new(),
            claimed_below: 0,
            settled_below: 0,
            newest_state: None,
            end: None,
            receipt: None,
        }
    }

    /// What the session is about.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How far it is.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Done
    }

    /// When to call [`Self::step`] with [`ProducerInput::Timeout`], unless something comes before.
    pub fn deadline(&self) -> Option<Timestamp> {
        [self.timer, self.claim_reminder()].into_iter().flatten().min()
    }

    /// Takes one input at this moment of the own clock and appends what is to be done.
    ///
    /// # Errors
    /// [`Unexpected`] for an input that no line lists; nothing changed.
    pub fn step(
        &mut self,
        now: Timestamp,
        input: ProducerInput,
        out: &mut Vec<ProducerOutput>,
    ) -> Result<(), Unexpected> {
        use Phase::{Closing, Delivering, Done, Paused, Settling};
        use ProducerInput as Input;

        let is_cancelled = input == Input::Cancelled;
        match (self.phase, input) {
            (Paused | Delivering | Closing, Input::Message(Message::Open(open)))
                if open.payment == self.terms.payment && self.end.is_none() =>
            {
                self.accept_again(out); // P1
            }
            (Paused | Delivering, Input::Message(Message::Release(release))) => {
                self.release(now, release, out); // P4, P5, P6
            }
            (phase, Input::Metered(reading)) => {
                self.meter = self.meter.max(reading); // P8
                if phase == Delivering {
                    self.deliver(now, out); // P7
                }
            }
            (phase, Input::ChainTime(time)) => {
                self.chain_time = self.chain_time.max(time);
                if phase == Delivering {
                    self.deliver(now, out); // P9
                }
                self.settle_early(time, out); // P15
            }
            (Paused | Delivering | Closing, Input::Message(Message::Resume(resume)))
                if resume.payment == self.terms.payment =>
            {
                self.resume(out); // P10
            }
            (Paused | Delivering, Input::Message(Message::Stop(reason))) => {
                self.end(now, EndReason::ConsumerStopped(reason), out); // P11
            }
            (Paused | Delivering, Input::Stop(reason)) => self.stop(now, reason, out), // P11
            (Paused | Closing, Input::Message(Message::Receipt(message))) => {
                self.sign_receipt(&message, out); // P12, P13
            }
            (_, Input::Timeout) if self.settle_early(now, out) => {} // P15
            (Paused | Delivering, Input::Timeout) if self.is_due(now) => {
                self.stop(now, StopReason::Timeout, out); // P11
            }
            (Closing, Input::Timeout) if self.is_due(now) => self.settle(out), // P14
            (Paused | Delivering | Closing | Settling, Input::Settled(below)) => {
                self.settled(now, below, out); // P16
            }
            (Paused | Delivering | Closing | Settling, Input::Cancelled | Input::Gone) => {
                self.gone(now, is_cancelled || self.may_be_cancelled(), out); // P16
            }
            (Paused | Delivering | Closing, Input::ForceClosed) => {
                self.finish_energy(EndReason::ConsumerStopped(StopReason::PaymentClosing), out); // P17
                self.settle(out);
            }
            (Settling | Done, Input::Message(Message::Receipt(_) | Message::Resume(_))) => {
                out.push(ProducerOutput::Send(self.final_word())); // P18
            }
            // P19, and timeouts that are not due.
            (_, Input::Timeout)
            | (Done, Input::Settled(_) | Input::Cancelled | Input::Gone)
            | (Settling | Done, Input::ForceClosed)
            | (Closing | Settling | Done, Input::Stop(_) | Input::Message(Message::Stop(_))) => {}
            (phase, input) => {
                return Err(Unexpected { phase: phase.name(), input: input.name() });
            }
        }
        Ok(())
    }

    /// P4, P5, P6.
    fn release(&mut self, now: Timestamp, release: Release, out: &mut Vec<ProducerOutput>) {
        if self.last_release == Some(release) {
            if self.progress.is_delivered() {
                out.push(self.delivered_message());
            }
            return;
        }
        let index = release.index;
        if self.phase != Phase::Paused || !self.is_in_turn(now, index) {
            return self.stop(now, StopReason::OutOfPlace, out);
        }
        if self.verifier.accept(index, &release.proof).is_err() {
            return self.stop(now, StopReason::BadRelease, out);
        }
        out.push(ProducerOutput::Persist(ProducerRecord::Released(release)));
        self.take(release);
        self.go_on(now, out);
    }

    /// Books a proof that holds.
    pub(super) fn take(&mut self, release: Release) {
        let Release { index, proof } = release;
        match proof {
            Proof::Preimage(_) if index == 0 && self.terms.deposit_is_forfeit() => {} // S2
            Proof::Preimage(preimage) => {
                self.unsettled.insert(index, preimage);
            }
            Proof::State(signature) => {
                let state = channel_state(&self.terms, index, false);
                self.newest_state = Some(SignedChannelState { state, signature });
            }
        }
        self.progress.release(&self.terms, index);
        self.last_release = Some(release);
    }

    /// S5, S6, S9: whether the consumer may release this installment now.
    fn is_in_turn(&self, now: Timestamp, index: u32) -> bool {
        let moment = now.max(self.chain_time);
        let lead = self.policy.claim_lead;
        let next = self.progress.next();
        // Deadlines never fall with the index, so the last skipped one stands for all of them.
        let skips_late = index
            .checked_sub(1)
            .is_some_and(|skipped| self.terms.is_late(skipped, moment, lead.saturating_add(lead)));
        now < self.terms.plan.window.end
            && !self.terms.is_late(index, moment, lead)
            && (index == next || (index > next && next > 0 && skips_late))
    }

    /// Begins to deliver what is paid, or to wait for the next payment.
    pub(super) fn go_on(&mut self, now: Timestamp, out: &mut Vec<ProducerOutput>) {
        let soon = later(now, self.policy.answer_timeout);
        if !self.progress.is_delivered() {
            self.phase = Phase::Delivering;
            self.timer = Some(self.terms.delivery_deadline(now, self.policy.delivery_grace));
            self.deliver(now, out);
        } else if self.progress.next() >= self.terms.plan.count.get() {
            self.phase = Phase::Closing;
            self.timer = Some(soon);
        } else {
            let patience = later(now, self.policy.release_timeout);
            self.phase = Phase::Paused;
            // Nothing is released after the window (T2), but the consumer may be about to say so.
            self.timer = Some(patience.min(self.terms.plan.window.end.max(soon)));
        }
    }

    /// P7, P9: lets the installment flow when it may, and reports it when it did.
    pub(super) fn deliver(&mut self, now: Timestamp, out: &mut Vec<ProducerOutput>) {
        if !self.flowing {
            if self.may_be_cancelled() {
                return;
            }
            if self.terms.cancel_by > Timestamp::ZERO && !self.is_binding {
                self.is_binding = true;
                out.push(ProducerOutput::Persist(ProducerRecord::Binding));
            }
            self.flowing = true;
            out.push(ProducerOutput::Deliver(self.progress.energy));
        }
        if self.meter < self.progress.energy {
            return;
        }
        if let Some(index) = self.progress.last {
            out.push(ProducerOutput::Persist(ProducerRecord::Delivered((index, self.meter))));
            self.progress.deliver();
            self.flowing = false;
            out.push(self.delivered_message());
        }
        self.go_on(now, out);
    }

    /// S8: whether all that is known leaves it open that the consumer takes everything back, or has done so.
    fn may_be_cancelled(&self) -> bool {
        !self.is_binding && self.chain_time < self.terms.cancel_by && self.settled_below == 0
    }

    pub(super) fn delivered_message(&self) -> ProducerOutput {
        let index = self.progress.last.unwrap_or(0);
        let cosignature = (self.terms.kind == PaymentKind::Channel)
            .then(|| channel_state(&self.terms, index, false).sign(&self.key, self.terms.chain).signature);
        ProducerOutput::Send(Message::Delivered(Delivered { index, energy: self.meter, cosignature }))
    }

    /// P11, by this side.
    fn stop(&mut self, now: Timestamp, reason: StopReason, out: &mut Vec<ProducerOutput>) {
        self.end(now, EndReason::ProducerStopped(reason), out);
        out.push(ProducerOutput::Send(Message::Stop(reason)));
    }

    fn end(&mut self, now: Timestamp, reason: EndReason, out: &mut Vec<ProducerOutput>) {
        self.finish_energy(reason, out);
        self.phase = Phase::Closing;
        self.timer = Some(later(now, self.policy.answer_timeout));
    }

    pub(super) fn finish_energy(&mut self, reason: EndReason, out: &mut Vec<ProducerOutput>) {
        if self.end.is_none() {
            self.end = Some(reason);
            self.flowing = false;
            out.push(ProducerOutput::StopEnergy);
            out.push(ProducerOutput::Persist(ProducerRecord::Ended(reason)));
        }
    }

    /// P12, P13.
    fn sign_receipt(&mut self, message: &ReceiptMessage, out: &mut Vec<ProducerOutput>) {
        self.finish_energy(EndReason::Completed, out);
        match self.check_receipt(message) {
            Some(record) => {
                out.push(ProducerOutput::Persist(ProducerRecord::Receipted(record)));
                self.receipt = Some(record);
                out.push(ProducerOutput::Send(self.final_word()));
            }
            None => out.push(ProducerOutput::Send(Message::Stop(StopReason::BadReceipt))),
        }
        self.settle(out);
    }

    /// The receipt as both sign it, if the consumer's proposal says what happened.
    fn check_receipt(&self, message: &ReceiptMessage) -> Option<ReceiptRecord> {
        let (terms, receipt) = (&self.terms, message.receipt);
        let tolerance = self.policy.tolerance_permille;
        let agrees = receipt == Receipt::new(terms, &self.progress, receipt.energy)
            // An installment broken off was read at two moments; what is delivered was not.
            && reaches(receipt.energy, self.progress.delivered_energy, tolerance)
            && reaches(self.meter, receipt.energy, tolerance);
        if !agrees || receipt.verify(&terms.consumer, terms.chain, &message.signature).is_err() {
            return None;
        }
        let closing = match (terms.kind, message.closing) {
            (PaymentKind::Channel, Some(signature)) => {
                let state = channel_state(terms, self.progress.last?, true);
                let signed = SignedChannelState { state, signature };
                signed.verify(&terms.consumer, terms.chain).ok()?;
                Some(signed)
            }
            (PaymentKind::Channel, None) | (_, Some(_)) => return None,
            (_, None) => None,
        };
        let producer = receipt.sign(&self.key, terms.chain);
        Some(ReceiptRecord {
            receipt: SignedReceipt { receipt, consumer: message.signature, producer },
            closing,
        })
    }

    /// The receipt that this side signed, or that there is none.
    fn final_word(&self) -> Message {
        let Some(ReceiptRecord { receipt, closing }) = self.receipt else {
            return Message::Stop(StopReason::Ended);
        };
        Message::Receipt(ReceiptMessage {
            receipt: receipt.receipt,
            signature: receipt.producer,
            closing: closing.map(|signed| signed.state.sign(&self.key, self.terms.chain).signature),
        })
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
