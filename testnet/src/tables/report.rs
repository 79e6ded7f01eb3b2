use std::collections::BTreeMap;
use std::fmt;

use evchain_node::agents::{ChargeOutcome, Phase, TransactionReport};
use evchain_node::rpc::{NodeApiClient, RpcClient, RpcError};
use evchain_protocol::codec;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, TxRef};
use evchain_protocol::session::PaymentKind;
use evchain_protocol::transaction::Action;
use serde::Serialize;

use super::run::{Charged, TablesError, signed};
use super::steps::Told;
use crate::cluster::Cluster;
use crate::report::{ChainFigures, LatencyFigures, Machine, Samples, Table, payment_name};

/// What the sessions showed, beside what the papers say.
#[derive(Debug, Clone, Serialize)]
pub struct TablesReport {
    /// Validators.
    pub validators: usize,
    /// Table I of P21.
    pub payments: Vec<PaymentRow>,
    /// Sessions of 100 installments that ran alone.
    pub times: Vec<SessionTime>,
    /// Table 2 of P18.
    pub phases: Vec<PhaseRow>,
    /// Section 4.4 of P18.
    pub volume: VolumeFigures,
    /// What it ran on.
    pub machine: Machine,
    /// What is wrong. Empty where all sessions were charged and every figure is as it should be.
    pub failures: Vec<String>,
}

/// One session, by kind of payment and N.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentRow {
    /// How it was paid.
    pub kind: PaymentKind,
    /// N.
    pub installments: u32,
    /// Transactions that lock and settle the price.
    pub on_chain: usize,
    /// Their bytes.
    pub bytes: usize,
    /// What P21 counts, for what it has.
    pub on_chain_p21: Option<u32>,
    /// Messages that carry payment.
    pub off_chain: u32,
    /// What P21 counts, for what it has.
    pub off_chain_p21: Option<u32>,
    /// The most money that was given away while its energy was not there, in EUR 0.0001.
    pub consumer_risk: Amount,
    /// b/N, rounded up.
    pub installment: Amount,
    /// The most energy that was there and not paid, in EUR 0.0001.
    pub producer_risk: Amount,
}

/// How long 100 installments took, from the session's beginning to the last delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionTime {
    /// How they were paid.
    pub kind: PaymentKind,
    /// N.
    pub installments: u32,
    /// Each session, in ms.
    pub ms: Vec<u64>,
}

/// What a phase of P18 puts on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhaseRow {
    /// Which.
    pub phase: &'static str,
    /// Its kind of transaction.
    pub kind: &'static str,
    /// How many were looked at.
    pub count: usize,
    /// The most bytes beyond the envelope of sender, nonce, kind and signature.
    pub payload: usize,
    /// The bytes that P18 counts.
    pub payload_p18: usize,
    /// The most bytes of a whole signed transaction.
    pub whole: usize,
}

/// How many transactions an auction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VolumeFigures {
    /// M, requests.
    pub requests: u64,
    /// N, producers.
    pub producers: u64,
    /// n, bids of each for each request.
    pub bids: u64,
    /// 2M + N * M * n.
    pub expected: u64,
    /// Requests, bids and commitments on the chain.
    pub on_chain: u64,
    /// c: from the submission of one of these to its finality.
    pub confirmation: Option<LatencyFigures>,
}

/// What the agents told, before the chain is read.
pub(super) struct Measured {
    pub(super) reports: Vec<Charged>,
    /// So many of them ran at once, the others alone.
    pub(super) together: usize,
    /// What the stations told.
    pub(super) sold: Told,
    pub(super) stations: usize,
}

/// The phases of P18 4.3, their transactions, and what the paper counts.
const PHASES: [(&str, &str, usize); 3] =
    [("exploration", "place_request", 8), ("bidding", "place_bid", 38), ("evaluation", "commit", 16)];

impl Measured {
    pub(super) async fn report(self, cluster: &Cluster) -> Result<TablesReport, TablesError> {
        let rpc = RpcClient::connect(&cluster.endpoints(0)).await?;
        let tip = rpc.status().await.map_err(RpcError::from)?.height;
        let chain = ChainFigures::read(&rpc, tip).await?;
        let mut failures = self.failed_sessions();
        let (payments, times) = (self.payments(&mut failures), self.times());
        let mut phases = Vec::new();
        let mut confirmation = Samples::default();
        for (phase, kind, payload_p18) in PHASES {
            let sent: Vec<_> = self.transactions().filter(|sent| sent.kind == kind).collect();
            for sent in &sent {
                confirmation.add(sent.latency_ms.get());
            }
            let all = signed(cluster, sent.iter().map(|sent| sent.id)).await?;
            let payload = all.iter().map(|it| payload_bytes(&it.transaction.action)).max().unwrap_or(0);
            let whole = all.iter().map(|it| it.to_bytes().len()).max().unwrap_or(0);
            phases.push(PhaseRow { phase, kind, count: all.len(), payload, payload_p18, whole });
        }
        let volume = self.volume(&chain, confirmation.figures());
        if volume.expected != volume.on_chain {
            failures.push(format!("{} transactions, not {}", volume.on_chain, volume.expected));
        }
        let (validators, machine) = (cluster.validators().len(), Machine::this());
        Ok(TablesReport { validators, payments, times, phases, volume, machine, failures })
    }

    fn failed_sessions(&self) -> Vec<String> {
        let failed = self.reports.iter().filter(|charged| charged.report.outcome != ChargeOutcome::Charged);
        failed
            .map(|Charged { order, report, .. }| {
                let session = report.session.as_ref().map(|session| session.outcome.reason);
                format!("{}, N = {}: {:?}, {session:?}", payment_name(order.0), order.1, report.outcome)
            })
            .collect()
    }

    fn transactions(&self) -> impl Iterator<Item = &TransactionReport> {
        let asked = self.reports.iter().flat_map(|charged| &charged.report.transactions);
        asked.chain(&self.sold.transactions)
    }

    fn payments(&self, failures: &mut Vec<String>) -> Vec<PaymentRow> {
        let mut rows = Vec::new();
        for charged in self.reports.iter().take(self.together) {
            let (kind, installments) = charged.order;
            let what = format!("{}, N = {installments}", payment_name(kind));
            let Some(row) = self.payment(charged) else {
                failures.push(format!("{what}: the agents did not tell all of it"));
                continue;
            };
            let PaymentRow { consumer_risk, installment, producer_risk, on_chain, off_chain, .. } = row;
            if consumer_risk > installment || producer_risk > Amount::ZERO {
                failures.push(format!(
                    "{what}: the consumer risked EUR {consumer_risk}, the producer EUR {producer_risk}"
                ));
            }
            let (most_on_chain, most_off_chain) = most_transactions(kind, installments);
            if on_chain > most_on_chain || off_chain > most_off_chain {
                failures.push(format!("{what}: {on_chain} transactions and {off_chain} messages"));
            }
            rows.push(row);
        }
        rows
    }

    fn payment(&self, charged: &Charged) -> Option<PaymentRow> {
        let session = charged.report.session.as_ref()?;
        let (kind, price) = (session.kind, session.price);
        let count = InstallmentCount::new(session.installments).ok()?;
        let pays = |sent: &&TransactionReport| matches!(sent.phase, Phase::Deposit | Phase::Settlement);
        let (here, there) = (&charged.report.transactions, self.sold.ended.get(&session.payment)?);
        let paying: Vec<_> = here.iter().chain(&there.transactions).filter(pays).collect();
        let (on_chain_p21, off_chain_p21) = match kind {
            PaymentKind::Single => (Some(count.get()), Some(0)),
            PaymentKind::Channel => (Some(4), Some(count.get() - 1)),
            PaymentKind::Hashes | PaymentKind::Chain => (None, None),
        };
        Some(PaymentRow {
            kind,
            installments: count.get(),
            on_chain: paying.len(),
            bytes: paying.iter().map(|sent| sent.bytes).sum(),
            on_chain_p21,
            off_chain: session.payment_messages,
            off_chain_p21,
            consumer_risk: charged.log.told().steps.get(&session.payment)?.consumer_risk(kind, count, price),
            installment: Amount::new(price.get().div_ceil(count.get().into())),
            producer_risk: self.sold.steps.get(&session.payment)?.producer_risk(kind, count, price),
        })
    }

    fn times(&self) -> Vec<SessionTime> {
        let mut times: BTreeMap<(u32, u8), SessionTime> = BTreeMap::new();
        for charged in self.reports.iter().skip(self.together) {
            let (kind, installments) = charged.order;
            let payment: Option<TxRef> = charged.report.session.as_ref().map(|session| session.payment);
            let told = charged.log.told();
            let duration = payment.and_then(|payment| told.steps.get(&payment)?.duration());
            let row = times.entry((installments, kind as u8)).or_insert_with(|| SessionTime {
                kind,
                installments,
                ms: Vec::new(),
            });
            row.ms.extend(duration.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)));
        }
        times.into_values().collect()
    }

    fn volume(&self, chain: &ChainFigures, confirmation: Option<LatencyFigures>) -> VolumeFigures {
        let (requests, producers, bids) = (self.reports.len() as u64, self.stations as u64, 1);
        let count = |kind: &str| chain.kinds.get(kind).map_or(0, |figures| figures.count);
        VolumeFigures {
            requests,
            producers,
            bids,
            expected: 2 * requests + producers * requests * bids,
            on_chain: PHASES.iter().map(|(_, kind, _)| count(kind)).sum(),
            confirmation,
        }
    }
}

/// What a session takes at most: transactions that pay, and messages that carry payment.
fn most_transactions(kind: PaymentKind, installments: u32) -> (usize, u32) {
    match kind {
        PaymentKind::Single => (2 * installments as usize, installments),
        PaymentKind::Hashes | PaymentKind::Chain => (2, installments),
        PaymentKind::Channel => (2, installments - 1),
    }
}

/// The bytes of an action without the byte that names its kind.
fn payload_bytes(action: &Action) -> usize {
    codec::encode(action).len() - 1
}

impl fmt::Display for TablesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} validators on {}", self.validators, self.machine)?;
        writeln!(
            f,
            "\nP21, Table I: what a session costs and risks, by way to pay (P21's figures in brackets)"
        )?;
        let mut table = Table::new([
            "",
            "N",
            "on chain",
            "",
            "bytes",
            "off chain",
            "",
            "consumer risks",
            "b/N",
            "producer risks",
        ]);
        let bracket = |paper: Option<u32>| paper.map_or(String::new(), |figure| format!("({figure})"));
        for row in &self.payments {
            table.row([
                payment_name(row.kind).to_owned(),
                row.installments.to_string(),
                row.on_chain.to_string(),
                bracket(row.on_chain_p21),
                row.bytes.to_string(),
                row.off_chain.to_string(),
                bracket(row.off_chain_p21),
                row.consumer_risk.to_string(),
                row.installment.to_string(),
                row.producer_risk.to_string(),
            ]);
        }
        write!(f, "{table}")?;
        writeln!(f, "  P21 counts N for HTLCs, but its own text needs a lock and a claim for each: 2N")?;
        writeln!(
            f,
            "\nA session of 100 installments, from its beginning to the last delivery, each synced to disk"
        )?;
        let mut table = Table::new(["", "ms"]);
        for time in &self.times {
            let ms: Vec<String> = time.ms.iter().map(u64::to_string).collect();
            table.row([payment_name(time.kind).to_owned(), ms.join(", ")]);
        }
        write!(f, "{table}")?;
        writeln!(f, "\nP18, Table 2: bytes on the chain in each phase")?;
        let mut table = Table::new(["phase", "transaction", "payload", "P18", "whole transaction"]).left(2);
        for row in &self.phases {
            table.row([
                row.phase.to_owned(),
                row.kind.to_owned(),
                row.payload.to_string(),
                row.payload_p18.to_string(),
                row.whole.to_string(),
            ]);
        }
        write!(f, "{table}")?;
        writeln!(
            f,
            "  a SHA-256 hash, which P18 counts with 16 bytes, has 32; P18 leaves out sender, time and signature"
        )?;
        self.fmt_volume(f)?;
        if self.failures.is_empty() {
            return writeln!(f, "\nOK: every session is charged, and no figure is worse than it should be");
        }
        writeln!(f, "\nFAILED:")?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "  {failure}"))
    }
}

impl TablesReport {
    fn fmt_volume(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VolumeFigures { requests, producers, bids, expected, on_chain, confirmation } = self.volume;
        writeln!(f, "\nP18, 4.4: transactions of the auctions")?;
        writeln!(
            f,
            "  M = {requests} consumers, N = {producers} producers, n = {bids}: 2M + NMn = {expected}; on the chain {on_chain}"
        )?;
        match confirmation {
            Some(LatencyFigures { count, p50_ms, p99_ms, max_ms }) => writeln!(
                f,
                "  confirmation time c of {count} of them: p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms; one block is final"
            ),
            None => writeln!(f, "  no confirmation time was measured"),
        }
    }
}
