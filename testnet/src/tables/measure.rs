use std::collections::BTreeMap;

use evchain_node::agents::{Phase, TransactionReport};
use evchain_node::rpc::RpcClient;
use evchain_protocol::codec;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Span, TxRef};
use evchain_protocol::session::PaymentKind;
use evchain_protocol::transaction::Action;

use super::book::{Book, Entry};
use super::checks::{PHASES, failures};
use super::order::{BALANCE, REGION, STATIONS, TablesPlan};
use super::report::{
    EarningRow, PaymentRow, PhaseRow, SessionRow, SessionTime, StoppedRow, TablesReport, VolumeFigures,
};
use super::run::{Charged, TablesError, station_name, vehicle_name};
use super::steps::Told;
use super::stopped::{Stopped, amount};
use crate::cluster::Cluster;
use crate::report::{Audit, Machine, Samples};

/// What the agents told, before the chain is read.
pub(super) struct Measured {
    pub(super) plan: TablesPlan,
    pub(super) reports: Vec<Charged>,
    /// So many of them ran at once, the others alone.
    pub(super) together: usize,
    pub(super) stopped: Vec<Stopped>,
    /// What the stations told.
    pub(super) sold: Told,
    pub(super) all_settled: bool,
}

impl Measured {
    pub(super) async fn report(self, cluster: &Cluster) -> Result<TablesReport, TablesError> {
        let mut clients = Vec::new();
        for validator in cluster.validators() {
            clients.push(cluster.client_of(validator).await?);
        }
        let rpc = RpcClient::connect(&cluster.endpoints(0)).await?;
        let files = cluster.files();
        let book = Book::read(&rpc, &files.accounts()).await?;
        let accounts = &files.accounts() | &book.newcomers();
        let audit = Audit::run(&clients, &accounts, files.genesis().build()?.supply).await?;
        let mut report = TablesReport {
            plan: self.plan.clone(),
            validators: cluster.validators().len(),
            sessions: self.sessions(cluster, &book)?,
            earnings: self.earnings(cluster, &book)?,
            stopped: self.stopped(cluster, &book)?,
            payments: self.payments(&book),
            times: self.times(),
            phases: PHASES.map(|phase| phase_row(&book, phase)).to_vec(),
            volume: self.volume(&book),
            all_settled: self.all_settled,
            audit,
            machine: Machine::this(),
            failures: Vec::new(),
        };
        report.failures = failures(&report);
        Ok(report)
    }

    fn sessions(&self, cluster: &Cluster, book: &Book) -> Result<Vec<SessionRow>, TablesError> {
        self.reports
            .iter()
            .map(|Charged { index, order, report, .. }| {
                let key = cluster.files().wallet(&vehicle_name(*index))?.main_key().public_key();
                Ok(SessionRow {
                    kind: order.0,
                    installments: order.1,
                    outcome: report.outcome.clone(),
                    price: report.session.as_ref().map(|session| session.price),
                    paid: report.paid,
                    spent: book.gain(key, BALANCE).and_then(|gain| amount(-gain)),
                    settled: report.settled,
                })
            })
            .collect()
    }

    fn earnings(&self, cluster: &Cluster, book: &Book) -> Result<Vec<EarningRow>, TablesError> {
        (0..STATIONS)
            .map(|index| {
                let key = cluster.files().wallet(&station_name(index))?.main_key().public_key();
                let sessions = self.reports.iter().filter_map(|charged| charged.report.session.as_ref());
                let sold: Vec<_> = sessions.filter(|session| session.producer == key).collect();
                let prices = sold.iter().map(|session| session.price);
                Ok(EarningRow {
                    station: index + 1,
                    sessions: sold.len(),
                    price: prices.fold(Amount::ZERO, Amount::saturating_add),
                    got: book.gain(key, BALANCE).and_then(amount),
                })
            })
            .collect()
    }

    fn stopped(&self, cluster: &Cluster, book: &Book) -> Result<Vec<StoppedRow>, TablesError> {
        let rows = self.stopped.iter().map(|stopped| stopped.row(cluster, book, &self.sold));
        rows.filter_map(Result::transpose).collect()
    }

    fn transactions(&self) -> impl Iterator<Item = &TransactionReport> {
        let asked = self.reports.iter().flat_map(|charged| &charged.report.transactions);
        asked.chain(&self.sold.transactions)
    }

    fn payments(&self, book: &Book) -> Vec<PaymentRow> {
        let together = self.reports.iter().take(self.together);
        together.filter_map(|charged| self.payment(book, charged)).collect()
    }

    /// None where the agents did not tell all of it, which shows as a row that is missing.
    fn payment(&self, book: &Book, charged: &Charged) -> Option<PaymentRow> {
        let session = charged.report.session.as_ref()?;
        let (kind, price) = (session.kind, session.price);
        let count = InstallmentCount::new(session.installments).ok()?;
        let pays = |sent: &&TransactionReport| matches!(sent.phase, Phase::Deposit | Phase::Settlement);
        let (here, there) = (&charged.report.transactions, self.sold.ended.get(&session.payment)?);
        let paying = book.paying(session);
        let (on_chain_p21, off_chain_p21) = match kind {
            PaymentKind::Single => (Some(count.get()), Some(0)),
            PaymentKind::Channel => (Some(4), Some(count.get() - 1)),
            PaymentKind::Hashes | PaymentKind::Chain => (None, None),
        };
        Some(PaymentRow {
            kind,
            installments: count.get(),
            on_chain: paying.len(),
            told: here.iter().chain(&there.transactions).filter(pays).count(),
            bytes: paying.iter().map(|entry| entry.bytes).sum(),
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

    fn volume(&self, book: &Book) -> VolumeFigures {
        let (requests, producers, bids) = (self.reports.len() as u64, STATIONS as u64, 1);
        let auctions = book.auctions_in(REGION);
        let mut confirmation = Samples::default();
        for sent in self.transactions().filter(|sent| auctions.contains(&sent.place)) {
            confirmation.add(sent.latency_ms.get());
        }
        VolumeFigures {
            requests,
            producers,
            bids,
            expected: 2 * requests + producers * requests * bids,
            on_chain: auctions.len() as u64,
            together: self.together as u64,
            slot: self.slot(),
            confirmation: confirmation.figures(),
        }
    }

    /// From the first request of those that ran at once to the last commitment.
    fn slot(&self) -> Option<Span> {
        let sent = |kind: &'static str| {
            let together = self.reports.iter().take(self.together);
            let all = together.flat_map(|charged| &charged.report.transactions);
            all.filter(move |sent| sent.kind == kind).map(|sent| sent.submitted)
        };
        Some(sent("commit").max()?.since(sent("place_request").min()?))
    }
}

fn phase_row(book: &Book, (phase, kind, payload_p18): (&'static str, &'static str, usize)) -> PhaseRow {
    let all: Vec<&Entry> = book.at(&book.auctions_in(REGION)).filter(|entry| entry.kind == kind).collect();
    let payload = all.iter().map(|entry| payload_bytes(&entry.signed.transaction.action)).max();
    let whole = all.iter().map(|entry| entry.signed.to_bytes().len()).max();
    PhaseRow { phase, kind, count: all.len(), payload, payload_p18, whole }
}

/// The bytes of an action without the byte that names its kind.
fn payload_bytes(action: &Action) -> usize {
    codec::encode(action).len() - 1
}
