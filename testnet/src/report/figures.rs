use std::collections::BTreeMap;
use std::time::Duration;

use evchain_node::agents::producer::Reservation;
use evchain_node::agents::{ChargeOutcome, ChargeReport, Phase};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy};
use evchain_protocol::session::{EndReason, PaymentKind};
use serde::Serialize;

use super::audit::Audit;
use super::chain::ChainFigures;
use super::latency::LatencyFigures;
use super::machine::Machine;
use crate::data::{ConsumerKind, PriceSource, ProducerKind};
use crate::scenario::{Consumer, Plan, Records, SessionResult, Skipped, Warned, window_addition};

/// What a scenario came to. Amounts in EUR 0.0001, energies in Wh.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub scenario: ScenarioFigures,
    /// What came of the requests.
    pub sessions: SessionFigures,
    /// The prices that were paid.
    pub prices: PriceFigures,
    /// What each way to pay cost in transactions and messages, over sessions that were charged.
    pub payments: BTreeMap<&'static str, PaymentFigures>,
    /// From the submission of a transaction to its finality, as its sender saw it, by kind.
    pub latency: BTreeMap<String, LatencyFigures>,
    /// What stands on the chain.
    pub chain: ChainFigures,
    /// Blocks in a thousand seconds.
    pub blocks_per_1000_s: u64,
    /// Warnings of the agents, by what they are about.
    pub warnings: BTreeMap<&'static str, Warned>,
    /// Whether money and agreement are intact.
    pub audit: Audit,
    /// From the first validator's start to the audit.
    pub duration_ms: u64,
    /// What it ran on.
    pub machine: Machine,
    /// What is wrong. Empty where the run has shown what it should.
    pub failures: Vec<String>,
}

/// What was run.
#[derive(Debug, Clone, Serialize)]
pub struct ScenarioFigures {
    /// What it is called.
    pub name: String,
    /// Validators.
    pub validators: usize,
    /// Producers that took part.
    pub producers: usize,
    /// Producers that did not, for there are too many.
    pub producers_left_out: usize,
    /// How much faster than in reality.
    pub speed: u32,
    /// N.
    pub installments: u32,
    /// What readers must know about the input.
    pub notes: Vec<String>,
    /// Requests that were left out, for nobody can serve them.
    pub skipped: Vec<Skipped>,
}

/// What came of the requests.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionFigures {
    /// Requests.
    pub asked: usize,
    /// How many ended how.
    pub outcomes: BTreeMap<&'static str, usize>,
    /// Those for which the chain has paid out all that was locked.
    pub settled: usize,
    /// Those that missed a window and asked for a later one.
    pub asked_again: usize,
    /// Who charged from whom.
    pub directions: Vec<DirectionCount>,
    /// Energy delivered and paid.
    pub energy: Energy,
    /// What producers got for it.
    pub paid: Amount,
    /// Installments delivered.
    pub installments: u64,
    /// Each request.
    pub each: Vec<SessionRow>,
}

/// What came of one request.
#[derive(Debug, Clone, Serialize)]
pub struct SessionRow {
    /// Who asked.
    pub name: String,
    /// Its line in the file.
    pub line: u64,
    /// How it ended.
    pub outcome: &'static str,
    /// Why the session ended, or why there was none.
    pub reason: String,
    /// What was asked for.
    pub energy_asked: Energy,
    /// What was delivered and paid.
    pub energy: Energy,
    /// The price chosen.
    pub price: Option<Amount>,
    /// The lowest bid.
    pub lowest_price: Option<Amount>,
    /// What the producer got.
    pub paid: Amount,
    /// Installments released.
    pub released: u32,
}

/// Charges in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectionCount {
    /// `G2V`, `V2V` or `V2G`.
    pub direction: &'static str,
    /// How many.
    pub sessions: usize,
}

/// The prices that were paid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PriceFigures {
    /// Decisions.
    pub chosen: usize,
    /// Those for the lowest of all bids; the others weighed the way as well.
    pub lowest_chosen: usize,
    /// The sum of the prices chosen.
    pub chosen_sum: Amount,
    /// The sum of the lowest bids for the same requests.
    pub lowest_sum: Amount,
    /// Bids in all.
    pub bids: usize,
    /// Decisions by how far the chosen station's price can be trusted.
    pub sources: BTreeMap<PriceSource, usize>,
}

/// What one way to pay cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PaymentFigures {
    /// Sessions that were charged and paid so.
    pub sessions: usize,
    /// Their installments.
    pub installments: u64,
    /// The transactions that lock, claim, open or close.
    pub transactions: u64,
    /// The bytes of these.
    pub bytes: u64,
    /// Messages beside the chain that carried payment.
    pub messages: u64,
}

/// What a report is made of.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What the scenario is called.
    pub name: String,
    /// What readers must know about the input, beside what the plan says.
    pub notes: Vec<String>,
    /// What was to happen.
    pub plan: &'a Plan,
    /// The producers' keys, in the plan's order.
    pub producer_keys: &'a [PublicKey],
    /// What came of the requests.
    pub results: &'a [SessionResult],
    /// What the agents reported meanwhile.
    pub records: &'a Records,
    /// What stands on the chain.
    pub chain: ChainFigures,
    /// The money and the agreement.
    pub audit: Audit,
    /// How long it took.
    pub duration: Duration,
}

impl Report {
    /// Puts the evidence together and checks it: every session must be settled, the money
    /// conserved on every validator, and all validators agreed.
    pub fn new(evidence: Evidence) -> Self {
        let Evidence { name, notes, plan, producer_keys, results, records, chain, audit, duration } =
            evidence;
        let sessions = session_figures(plan, producer_keys, results, records);
        let failures = failures(plan, results, &audit);
        let span_ms = chain.span_ms.max(1);
        let latency = records.latency.iter();
        Self {
            scenario: scenario_figures(name, notes, plan, &audit),
            sessions,
            prices: price_figures(plan, producer_keys, results),
            payments: payment_figures(results, records),
            latency: latency.filter_map(|(kind, samples)| Some((kind.clone(), samples.figures()?))).collect(),
            blocks_per_1000_s: chain.blocks.saturating_sub(1).saturating_mul(1_000_000) / span_ms,
            chain,
            warnings: records.warnings.clone(),
            audit,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            machine: Machine::this(),
            failures,
        }
    }
}

fn scenario_figures(name: String, notes: Vec<String>, plan: &Plan, audit: &Audit) -> ScenarioFigures {
    let installments = plan.consumers.first().map(|consumer| consumer.installments);
    let mut all = notes;
    all.push(
        match plan.reservation {
            Reservation::Exclusive => {
                "a station that bids keeps a connector free until the consumer pays somebody"
            }
            Reservation::Overbook => {
                "a station that bids keeps no connector free: who comes first is served first"
            }
        }
        .to_owned(),
    );
    if let Some(count) = installments {
        let lead = plan.consumers.iter().map(|consumer| consumer.lead.get()).max().unwrap_or(0);
        all.push(format!(
            "arrivals, windows and meters run {} times as fast as in the data; {} s from each request to its window \
             and {}.{} s of each window are not compressed, since bids, deposits and installments take real time",
            plan.speed.get(),
            lead / 1000,
            window_addition(count).get() / 1000,
            window_addition(count).get() % 1000 / 100,
        ));
    }
    ScenarioFigures {
        name,
        validators: audit.validators.len(),
        producers: plan.producers.len(),
        producers_left_out: plan.producers_left_out,
        speed: plan.speed.get(),
        installments: installments.map_or(0, InstallmentCount::get),
        notes: all,
        skipped: plan.skipped.clone(),
    }
}

fn session_figures(
    plan: &Plan,
    producer_keys: &[PublicKey],
    results: &[SessionResult],
    records: &Records,
) -> SessionFigures {
    let mut figures =
        SessionFigures { asked: results.len(), installments: records.delivered, ..SessionFigures::default() };
    let mut directions: BTreeMap<&'static str, usize> = BTreeMap::new();
    for result in results {
        let row = session_row(&plan.consumers[result.index], result);
        *figures.outcomes.entry(row.outcome).or_default() += 1;
        figures.each.push(row);
        figures.asked_again += usize::from(result.asks > 1);
        let Ok(report) = &result.report else { continue };
        figures.settled += usize::from(report.settled);
        figures.paid = figures.paid.saturating_add(report.paid);
        let Some(session) = &report.session else { continue };
        figures.energy = figures.energy.saturating_add(session.outcome.energy);
        if let Some(seller) = position(producer_keys, &session.producer) {
            let kinds = (plan.consumers[result.index].kind, plan.producers[seller].row.kind);
            *directions.entry(direction(kinds)).or_default() += 1;
        }
    }
    let count = |(direction, sessions)| DirectionCount { direction, sessions };
    figures.directions = directions.into_iter().map(count).collect();
    figures
}

fn session_row(consumer: &Consumer, result: &SessionResult) -> SessionRow {
    let report = result.report.as_ref();
    let session = report.ok().and_then(|report| report.session.as_ref());
    let reason = match (report, session) {
        (Err(reason), _) => reason.clone(),
        (Ok(_), Some(session)) => end_name(session.outcome.reason),
        (Ok(report), None) => match &report.outcome {
            ChargeOutcome::GivenUp { reason } => reason.clone(),
            other => outcome_name(other).to_owned(),
        },
    };
    SessionRow {
        name: consumer.name.clone(),
        line: consumer.line,
        outcome: report.map_or("failed", |report| outcome_name(&report.outcome)),
        reason,
        energy_asked: consumer.energy,
        energy: session.map_or(Energy::ZERO, |session| session.outcome.energy),
        price: report.ok().and_then(|report| report.chosen.as_ref()).map(|chosen| chosen.price),
        lowest_price: report.ok().and_then(|report| report.lowest_price),
        paid: report.map_or(Amount::ZERO, |report| report.paid),
        released: session.map_or(0, |session| session.outcome.released),
    }
}

/// Why a session ended, as JSON names it.
fn end_name(reason: EndReason) -> String {
    serde_json::to_string(&reason).unwrap_or_default().replace(['"', '{', '}'], "").replace(':', ": ")
}

fn direction(kinds: (ConsumerKind, ProducerKind)) -> &'static str {
    match kinds {
        (ConsumerKind::Vehicle, ProducerKind::Station) => "G2V",
        (ConsumerKind::Vehicle, ProducerKind::Vehicle) => "V2V",
        (ConsumerKind::Grid, ProducerKind::Vehicle) => "V2G",
        (ConsumerKind::Grid, ProducerKind::Station) => "grid from station",
    }
}

fn price_figures(plan: &Plan, producer_keys: &[PublicKey], results: &[SessionResult]) -> PriceFigures {
    let mut figures = PriceFigures::default();
    for report in reports(results) {
        figures.bids += report.bids.len();
        let (Some(chosen), Some(lowest)) = (&report.chosen, report.lowest_price) else { continue };
        figures.chosen += 1;
        figures.lowest_chosen += usize::from(chosen.price == lowest);
        figures.chosen_sum = figures.chosen_sum.saturating_add(chosen.price);
        figures.lowest_sum = figures.lowest_sum.saturating_add(lowest);
        if let Some(seller) = position(producer_keys, &chosen.producer) {
            *figures.sources.entry(plan.producers[seller].row.price_source).or_default() += 1;
        }
    }
    figures
}

fn payment_figures(results: &[SessionResult], records: &Records) -> BTreeMap<&'static str, PaymentFigures> {
    let mut figures: BTreeMap<&'static str, PaymentFigures> = BTreeMap::new();
    for report in reports(results).filter(|report| report.outcome == ChargeOutcome::Charged) {
        let Some(session) = &report.session else { continue };
        let entry = figures.entry(payment_name(session.kind)).or_default();
        entry.sessions += 1;
        entry.installments += u64::from(session.installments);
        entry.messages += u64::from(session.payment_messages);
        // The consumer knows what it sent; what the producer sent to be paid only the producer knows.
        if let Some(settled) = records.settlements.get(&session.payment) {
            entry.transactions += settled.transactions;
            entry.bytes += settled.bytes;
        }
        let pays = |phase| matches!(phase, Phase::Deposit | Phase::Settlement);
        for transaction in report.transactions.iter().filter(|transaction| pays(transaction.phase)) {
            entry.transactions += 1;
            entry.bytes += transaction.bytes as u64;
        }
    }
    figures
}

fn reports(results: &[SessionResult]) -> impl Iterator<Item = &ChargeReport> {
    results.iter().filter_map(|result| result.report.as_ref().ok())
}

fn failures(plan: &Plan, results: &[SessionResult], audit: &Audit) -> Vec<String> {
    let mut failures = Vec::new();
    for result in results {
        let name = &plan.consumers[result.index].name;
        match &result.report {
            Ok(report) if report.settled && report.session.is_some() => {}
            Ok(report) if report.session.is_none() => {
                failures.push(format!("{name}: {}", outcome_name(&report.outcome)));
            }
            Ok(_) => failures.push(format!("{name}: the chain has not paid out all that was locked")),
            Err(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    if !audit.is_conserved() {
        failures.push("money is not conserved on every validator".to_owned());
    }
    if !audit.is_agreed() {
        failures.push("the validators do not agree on the state".to_owned());
    }
    failures
}

fn position(keys: &[PublicKey], key: &PublicKey) -> Option<usize> {
    keys.iter().position(|other| other == key)
}

fn outcome_name(outcome: &ChargeOutcome) -> &'static str {
    match outcome {
        ChargeOutcome::Charged => "charged",
        ChargeOutcome::Partial => "charged in part",
        ChargeOutcome::NoBids => "nobody bid",
        ChargeOutcome::NoUsableBid => "no usable bid",
        ChargeOutcome::NotServed => "not served",
        ChargeOutcome::GivenUp { .. } => "given up",
    }
}

/// A kind of payment, for people.
pub(crate) fn payment_name(kind: PaymentKind) -> &'static str {
    match kind {
        PaymentKind::Hashes => "independent hashes",
        PaymentKind::Chain => "hash chain",
        PaymentKind::Channel => "channel",
        PaymentKind::Single => "single locks",
    }
}
