//! What the figures have to be. A failure names its figure.

use evchain_node::agents::ChargeOutcome;
use evchain_node::agents::sessions::Side;
use evchain_protocol::primitives::Amount;
use evchain_protocol::session::PaymentKind;

use super::order::{STATIONS, TIMED};
use super::report::{PaymentRow, PhaseRow, StoppedRow, TablesReport};
use super::stopped::pairs;
use crate::report::payment_name;

/// The phases of P18 4.3, their transactions, and what the paper counts.
pub(super) const PHASES: [(&str, &str, usize); 3] =
    [("exploration", "place_request", 8), ("bidding", "place_bid", 38), ("evaluation", "commit", 16)];

/// The most bytes of a request's payload, of a bid's, and of a whole transaction of either.
const REQUEST_BYTES: usize = 16;
const BID_BYTES: usize = 24;
const WHOLE_BYTES: usize = 130;
/// Those of a commitment, which are a hash's.
const COMMITMENT_BYTES: usize = 32;
/// What 100 installments take less than, in ms.
const SESSION_MS: u64 = 500;

/// What is wrong with a report.
pub(super) fn failures(report: &TablesReport) -> Vec<String> {
    let mut failures = Vec::new();
    sessions(report, &mut failures);
    payments(report, &mut failures);
    stopped(report, &mut failures);
    times(report, &mut failures);
    phases(report, &mut failures);
    volume(report, &mut failures);
    if !report.all_settled {
        failures.push("settlement: something stays locked after its deadline".to_owned());
    }
    if !report.audit.is_conserved() {
        failures.push("audit: the money is not what it was".to_owned());
    }
    if !report.audit.is_agreed() {
        failures.push("audit: the validators have different blocks or states".to_owned());
    }
    failures
}

/// Every session is charged and settled, and both sides' accounts say so.
fn sessions(report: &TablesReport, failures: &mut Vec<String>) {
    let planned = report.plan.together().chain(report.plan.alone()).count();
    if report.sessions.len() != planned {
        failures.push(format!("sessions: {} of {planned}", report.sessions.len()));
    }
    for row in &report.sessions {
        let what = format!("{}, N = {}", payment_name(row.kind), row.installments);
        if row.outcome != ChargeOutcome::Charged {
            failures.push(format!("{what}: not charged: {:?}", row.outcome));
        }
        if !row.settled {
            failures.push(format!("{what}: not settled"));
        }
        if row.price != Some(row.paid) || row.spent != row.price {
            let (price, spent) = (shown(row.price), shown(row.spent));
            let paid = row.paid;
            failures.push(format!("{what}: paid EUR {paid}, and spent {spent}, at a price of {price}"));
        }
    }
    if report.earnings.len() != STATIONS || report.earnings.iter().all(|row| row.sessions == 0) {
        failures.push("earnings: a station is missing, or none has sold".to_owned());
    }
    for row in report.earnings.iter().filter(|row| row.got != Some(row.price)) {
        let (station, got, price) = (row.station, shown(row.got), row.price);
        failures.push(format!("earnings: station {station} got {got} for EUR {price}"));
    }
}

fn payments(report: &TablesReport, failures: &mut Vec<String>) {
    for (kind, count) in report.plan.together().map(|order| (order.kind, order.count)) {
        let what = format!("{}, N = {count}", payment_name(kind));
        let is_it = |row: &&PaymentRow| row.kind == kind && row.installments == count;
        let Some(row) = report.payments.iter().find(is_it) else {
            failures.push(format!("{what}: the agents did not tell all of it"));
            continue;
        };
        if row.consumer_risk > row.installment {
            failures.push(format!("{what}: the consumer risked EUR {}", row.consumer_risk));
        }
        if row.producer_risk > Amount::ZERO {
            failures.push(format!("{what}: the producer risked EUR {}", row.producer_risk));
        }
        let (most_on_chain, most_off_chain) = most_transactions(kind, count);
        if !(1..=most_on_chain).contains(&row.on_chain) {
            failures.push(format!("{what}: {} transactions on the chain, not {most_on_chain}", row.on_chain));
        }
        if row.on_chain != row.told {
            let (on_chain, told) = (row.on_chain, row.told);
            failures.push(format!("{what}: blocks have {on_chain} transactions, agents told {told}"));
        }
        if row.off_chain > most_off_chain {
            failures.push(format!("{what}: {} messages off the chain", row.off_chain));
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

/// Who stays loses one installment at most as a consumer, and nothing as a producer.
fn stopped(report: &TablesReport, failures: &mut Vec<String>) {
    for pair in pairs() {
        let what = format!("{}, the {} stops", payment_name(pair.order.kind), side_name(pair.stops));
        let is_it = |row: &&StoppedRow| row.kind == pair.order.kind && row.stops == pair.stops;
        let Some(row) = report.stopped.iter().find(is_it) else {
            failures.push(format!("{what}: there was no session"));
            continue;
        };
        if row.released == 0 || row.released >= row.installments {
            failures.push(format!("{what}: after {} of {}", row.released, row.installments));
        }
        if row.got.is_none() || row.got != row.spent {
            let (got, spent) = (shown(row.got), shown(row.spent));
            failures.push(format!("{what}: the consumer spent {spent}, and the producer got {got}"));
        }
        let most = match row.stops {
            Side::Buys => Amount::ZERO,
            Side::Sells => row.installment,
        };
        if row.loss.is_none_or(|loss| loss > most) {
            failures.push(format!("{what}: the other lost {}", shown(row.loss)));
        }
    }
}

fn times(report: &TablesReport, failures: &mut Vec<String>) {
    for (kind, count) in TIMED.into_iter().filter(|_| report.plan.timed_runs > 0) {
        let what = format!("time of {count} installments, {}", payment_name(kind));
        let row = report.times.iter().find(|row| (row.kind, row.installments) == (kind, count));
        let ms = row.map(|row| row.ms.as_slice()).unwrap_or_default();
        if ms.len() != report.plan.timed_runs {
            failures.push(format!("{what}: {} of {} were measured", ms.len(), report.plan.timed_runs));
        }
        for ms in ms.iter().filter(|ms| **ms >= SESSION_MS) {
            failures.push(format!("{what}: {ms} ms, not below {SESSION_MS}"));
        }
    }
}

fn phases(report: &TablesReport, failures: &mut Vec<String>) {
    for (_, kind, _) in PHASES {
        match report.phases.iter().find(|row| row.kind == kind) {
            Some(row) => phase(report, row, failures),
            None => failures.push(format!("{kind}: no bytes were measured")),
        }
    }
}

fn phase(report: &TablesReport, row: &PhaseRow, failures: &mut Vec<String>) {
    let PhaseRow { kind, count, .. } = row;
    let (Some(payload), Some(whole)) = (row.payload, row.whole) else {
        failures.push(format!("{kind}: no bytes were measured"));
        return;
    };
    let volume = &report.volume;
    let expected = match *kind {
        "place_bid" => volume.producers * volume.requests * volume.bids,
        _ => volume.requests,
    };
    if *count as u64 != expected {
        failures.push(format!("{kind}: {count} were looked at, not {expected}"));
    }
    let (is_right, most) = match *kind {
        "place_request" => (payload <= REQUEST_BYTES, REQUEST_BYTES),
        "place_bid" => (payload <= BID_BYTES, BID_BYTES),
        _ => (payload == COMMITMENT_BYTES, COMMITMENT_BYTES),
    };
    if !is_right {
        failures.push(format!("{kind}: a payload of {payload} bytes, not {most}"));
    }
    if *kind != "commit" && whole > WHOLE_BYTES {
        failures.push(format!("{kind}: a transaction of {whole} bytes, not {WHOLE_BYTES}"));
    }
}

fn volume(report: &TablesReport, failures: &mut Vec<String>) {
    let volume = &report.volume;
    if volume.on_chain != volume.expected {
        failures.push(format!("volume: {} transactions, not {}", volume.on_chain, volume.expected));
    }
    let confirmed = volume.confirmation.map_or(0, |figures| figures.count as u64);
    if confirmed != volume.expected {
        failures.push(format!("volume: {confirmed} confirmation times of {}", volume.expected));
    }
    if volume.slot.is_none() {
        failures.push("volume: no time between request and decision".to_owned());
    }
}

pub(super) fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buys => "consumer",
        Side::Sells => "producer",
    }
}

/// An amount that may be missing.
fn shown(amount: Option<Amount>) -> String {
    amount.map_or("nothing that could be read".to_owned(), |amount| format!("EUR {amount}"))
}
