use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use evchain_node::agents::{AgentEvent, Observer, Warning};
use evchain_protocol::primitives::TxRef;
use serde::Serialize;

use crate::progress::Progress;
use crate::report::Samples;

/// The kind of the transactions that record stations.
const STATION_RECORD: &str = "record_station";

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
    /// Stations whose record is on the chain.
    pub recorded: usize,
    /// Installments that both sides count as delivered.
    pub delivered: u64,
    /// What producers put on the chain to be paid, by payment or channel.
    pub settlements: BTreeMap<TxRef, Settled>,
    /// The warnings, by what they are about.
    pub warnings: BTreeMap<&'static str, Warned>,
}

/// The transactions that collected a payment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many.
    pub transactions: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Warnings of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Warned {
    /// How many.
    pub count: u64,
    /// What the last one said.
    pub last: String,
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
                records.recorded += usize::from(transaction.kind == STATION_RECORD);
                let samples = records.latency.entry(transaction.kind.clone()).or_default();
                samples.add(transaction.latency_ms.get());
            }
            AgentEvent::Delivered { .. } if side == Side::Consumer => records.delivered += 1,
            AgentEvent::SessionEnded(session) if side == Side::Producer => {
                let settled = records.settlements.entry(session.payment).or_default();
                settled.transactions += session.transactions.len() as u64;
                settled.bytes +=
                    session.transactions.iter().map(|transaction| transaction.bytes as u64).sum::<u64>();
            }
            AgentEvent::Warned(warning) => {
                let warned = records.warnings.entry(name_of(warning)).or_default();
                warned.count += 1;
                warned.last = warning.to_string();
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
