use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use evchain_node::agents::{AgentEvent, Observer, Warning};

use crate::progress::Progress;
use crate::report::Samples;

/// The most warnings that are kept.
const MAX_WARNINGS: usize = 1_000;

/// Collects what all agents report while they run.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// Agents report on their own tasks, and must not wait: the lock is held for one entry at a time.
    records: Arc<Mutex<Records>>,
}

/// What agents have reported.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// From the submission of transactions to their finality, by kind.
    pub latency: BTreeMap<String, Samples>,
    /// Producers that take sessions.
    pub listening: usize,
    /// Installments that both sides count as delivered.
    pub delivered: u64,
    /// Messages that carried payment.
    pub payment_messages: u64,
    /// How often each kind of warning came.
    pub warnings: BTreeMap<String, u64>,
}

/// Which side of a session reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Producer,
    Consumer,
}

impl Recorder {
    /// What is recorded so far.
    pub fn records(&self) -> Records {
        self.with(|records| records.clone())
    }

    /// Takes the reports of an agent, and shows those of consumers that people want to follow.
    pub(super) fn observer(&self, side: Side, name: String, progress: Progress) -> Observer {
        let recorder = self.clone();
        Arc::new(move |event| {
            recorder.record(side, event);
            if let Some(line) = line(side, event) {
                progress.step(&format!("{name}: {line}"));
            }
        })
    }

    fn record(&self, side: Side, event: &AgentEvent) {
        self.with(|records| match event {
            AgentEvent::Listening { .. } => records.listening += 1,
            AgentEvent::Final(transaction) => {
                let samples = records.latency.entry(transaction.kind.clone()).or_default();
                samples.add(transaction.latency_ms.get());
            }
            AgentEvent::Delivered { .. } if side == Side::Consumer => records.delivered += 1,
            AgentEvent::SessionEnded(session) if side == Side::Consumer => {
                records.payment_messages += u64::from(session.payment_messages);
            }
            AgentEvent::Warned(warning) if records.warnings.len() < MAX_WARNINGS => {
                *records.warnings.entry(name_of(warning).to_owned()).or_default() += 1;
            }
            _ => {}
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Records) -> T) -> T {
        act(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A line for people, of what is worth one.
fn line(side: Side, event: &AgentEvent) -> Option<String> {
    match (side, event) {
        (Side::Consumer, AgentEvent::Requested { request, .. }) => Some(format!("asks, request {request}")),
        (Side::Consumer, AgentEvent::Chosen { price, distance_m, .. }) => Some(format!(
            "decides for EUR {price}, {}.{} km away",
            distance_m / 1000,
            distance_m % 1000 / 100
        )),
        (Side::Consumer, AgentEvent::Accepted { payment }) => Some(format!("charges, paid by {payment}")),
        (_, AgentEvent::Warned(Warning::Trouble { reason })) => Some(format!("trouble: {reason}")),
        _ => None,
    }
}

fn name_of(warning: &Warning) -> &'static str {
    match warning {
        Warning::FewStations { .. } => "few stations in the region",
        Warning::OnlyOneBid { .. } => "only one bid",
        Warning::NoBids { .. } => "no bids",
        Warning::UnusableBid { .. } => "unusable bid",
        Warning::Unreachable { .. } => "validator unreachable, tried again",
        Warning::PeerUnreachable { .. } => "other side unreachable, tried again",
        Warning::Trouble { .. } => "trouble",
        _ => "other",
    }
}
