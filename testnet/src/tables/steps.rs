use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use evchain_node::agents::{AgentEvent, Observer, SessionReport, TransactionReport};
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, TxRef};
use evchain_protocol::session::PaymentKind;

/// What an agent did in a session that matters for who risks what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The session began.
    Accepted,
    /// The consumer gave this installment away, or the producer had it.
    Released(u32),
    /// The energy of this installment was there.
    Delivered(u32),
}

/// The steps of one side, with the moments in which it had them on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Steps(Vec<(Instant, Step)>);

impl Steps {
    fn add(&mut self, step: Step) {
        self.0.push((Instant::now(), step));
    }

    #[cfg(test)]
    pub(super) fn of(steps: &[Step]) -> Self {
        Self(steps.iter().map(|step| (Instant::now(), *step)).collect())
    }

    /// The most money that was given away while its energy was not there yet.
    pub(super) fn consumer_risk(&self, kind: PaymentKind, count: InstallmentCount, price: Amount) -> Amount {
        self.worst(kind, |released, delivered| {
            count.money_released(price, released).saturating_sub(count.money_released(price, delivered))
        })
    }

    /// The most energy, in money, that was there while nothing paid for it.
    pub(super) fn producer_risk(&self, kind: PaymentKind, count: InstallmentCount, price: Amount) -> Amount {
        self.worst(kind, |released, delivered| {
            count.money_released(price, delivered).saturating_sub(count.money_released(price, released))
        })
    }

    /// The largest of what is at risk, over all steps.
    fn worst(&self, kind: PaymentKind, at_risk: impl Fn(u32, u32) -> Amount) -> Amount {
        // A channel's first state pays for the deposit from the start.
        let initial = u32::from(kind == PaymentKind::Channel);
        let (mut released, mut delivered, mut worst) = (initial, 0, Amount::ZERO);
        for (_, step) in &self.0 {
            match step {
                Step::Accepted => {}
                Step::Released(index) => released = released.max(index + 1),
                Step::Delivered(index) => delivered = delivered.max(index + 1),
            }
            worst = worst.max(at_risk(released, delivered));
        }
        worst
    }

    /// From the beginning to the delivery of the last installment.
    pub(super) fn duration(&self) -> Option<Duration> {
        let begun = self.0.iter().find(|(_, step)| *step == Step::Accepted)?.0;
        let ended = self.0.iter().rev().find(|(_, step)| matches!(step, Step::Delivered(_)))?.0;
        Some(ended.duration_since(begun))
    }
}

/// What one or more agents told. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Told>>);

/// What was told so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// By payment.
    pub(super) steps: BTreeMap<TxRef, Steps>,
    /// Sessions that are over, by payment.
    pub(super) ended: BTreeMap<TxRef, SessionReport>,
    /// Every transaction.
    pub(super) transactions: Vec<TransactionReport>,
    /// Agents that are ready for sessions.
    pub(super) listening: usize,
}

impl Log {
    pub(super) fn told(&self) -> Told {
        self.with(|told| told.clone())
    }

    pub(super) fn observer(&self) -> Observer {
        let log = self.clone();
        Arc::new(move |event| log.take(event))
    }

    fn take(&self, event: &AgentEvent) {
        self.with(|told| match event {
            AgentEvent::Listening { .. } => told.listening += 1,
            AgentEvent::Final(transaction) => told.transactions.push(transaction.clone()),
            AgentEvent::Accepted { payment } => told.steps.entry(*payment).or_default().add(Step::Accepted),
            AgentEvent::Released { payment, index } => {
                told.steps.entry(*payment).or_default().add(Step::Released(*index));
            }
            AgentEvent::Delivered { payment, index, .. } => {
                told.steps.entry(*payment).or_default().add(Step::Delivered(*index));
            }
            AgentEvent::SessionEnded(session) => {
                told.ended.insert(session.payment, session.clone());
            }
            _ => {}
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Told) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
