//! Goal: a figure that is worse than it should be, or missing, is named.
//! Method: a good report by hand, spoilt one figure after the other.

use evchain_node::agents::ChargeOutcome;
use evchain_node::agents::sessions::Side;
use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::primitives::{Amount, Energy, Height, Span};
use evchain_protocol::session::PaymentKind;

use super::super::checks::{PHASES, failures};
use super::super::order::{TIMED, TablesPlan};
use super::super::report::{
    EarningRow, PaymentRow, PhaseRow, SessionRow, SessionTime, StoppedRow, TablesReport, VolumeFigures,
};
use super::super::stopped::pairs;
use crate::report::{Audit, LatencyFigures, Machine, ValidatorAudit};

const PRICE: Amount = Amount::new(90_000);

/// What an idle machine measures, more or less.
fn good() -> TablesReport {
    let plan = TablesPlan { counts: vec![1, 10], timed_runs: 2 };
    let all = plan.together().chain(plan.alone()).count();
    let timed = |(kind, installments)| SessionTime { kind, installments, ms: vec![325, 499] };
    let validators = vec![validator(1), validator(2)];
    TablesReport {
        validators: validators.len(),
        sessions: sessions(&plan),
        earnings: vec![earning(1, all), earning(2, 0)],
        stopped: pairs().into_iter().map(|pair| stopped(pair.order.kind, pair.stops)).collect(),
        payments: plan.together().map(|order| payment(order.kind, order.count)).collect(),
        times: TIMED.map(timed).to_vec(),
        phases: PHASES.map(|phase| phase_row(all, phase)).to_vec(),
        volume: volume(&plan, all),
        plan,
        all_settled: true,
        audit: Audit { supply: PRICE, height: Height::new(9), validators },
        machine: Machine::this(),
        failures: Vec::new(),
    }
}

fn sessions(plan: &TablesPlan) -> Vec<SessionRow> {
    let orders = plan.together().chain(plan.alone());
    let charged = |(kind, installments)| SessionRow {
        kind,
        installments,
        outcome: ChargeOutcome::Charged,
        price: Some(PRICE),
        paid: PRICE,
        spent: Some(PRICE),
        settled: true,
    };
    orders.map(|order| charged((order.kind, order.count))).collect()
}

fn earning(station: usize, sessions: usize) -> EarningRow {
    let price = Amount::new(PRICE.get() * sessions as u64);
    EarningRow { station, sessions, price, got: Some(price) }
}

fn validator(number: usize) -> ValidatorAudit {
    let (block, state_root) = (Hash::ZERO, Hash::ZERO);
    ValidatorAudit { number, block, state_root, in_accounts: PRICE, locked: Amount::ZERO }
}

fn phase_row(all: usize, (phase, kind, payload_p18): (&'static str, &'static str, usize)) -> PhaseRow {
    let (count, payload, whole) = match kind {
        "place_request" => (all, 16, 121),
        "place_bid" => (2 * all, 23, 128),
        _ => (all, 32, 137),
    };
    PhaseRow { phase, kind, count, payload: Some(payload), payload_p18, whole: Some(whole) }
}

fn volume(plan: &TablesPlan, all: usize) -> VolumeFigures {
    let expected = 4 * all as u64;
    let confirmation = LatencyFigures { count: 4 * all, p50_ms: 13, p99_ms: 19, max_ms: 20 };
    VolumeFigures {
        requests: all as u64,
        producers: 2,
        bids: 1,
        expected,
        on_chain: expected,
        together: plan.together().count() as u64,
        slot: Some(Span::new(2_000)),
        confirmation: Some(confirmation),
    }
}

fn stopped(kind: PaymentKind, stops: Side) -> StoppedRow {
    let (released, loss, moved) = match stops {
        Side::Buys => (5, 0, 45_000),
        Side::Sells => (6, 8_919, 54_000),
    };
    StoppedRow {
        kind,
        installments: 10,
        stops,
        released,
        delivered: Energy::new(10_018),
        spent: Some(Amount::new(moved)),
        got: Some(Amount::new(moved)),
        loss: Some(Amount::new(loss)),
        installment: Amount::new(9_000),
    }
}

fn payment(kind: PaymentKind, installments: u32) -> PaymentRow {
    let on_chain = if kind == PaymentKind::Single { 2 * installments } else { 2 };
    let off_chain = if kind == PaymentKind::Channel { installments - 1 } else { installments };
    let installment = Amount::new(PRICE.get() / u64::from(installments));
    PaymentRow {
        kind,
        installments,
        on_chain: on_chain as usize,
        told: on_chain as usize,
        bytes: 331,
        on_chain_p21: None,
        off_chain,
        off_chain_p21: None,
        consumer_risk: installment,
        installment,
        producer_risk: Amount::ZERO,
    }
}

type Case<'a> = (&'a str, &'a dyn Fn(&mut TablesReport));

/// Each spoils the report in its way, and is to be named.
fn assert_named(cases: &[Case<'_>]) {
    for (name, spoil) in cases {
        let mut report = good();
        spoil(&mut report);
        let failures = failures(&report).join("; ");
        assert!(failures.contains(name), "{name}: {failures}");
    }
}

#[test]
fn a_good_report_has_no_failure() {
    assert_eq!(failures(&good()), Vec::<String>::new());
}

#[test]
fn what_the_accounts_say_otherwise_is_named() {
    let one = Amount::new(1);
    assert_named(&[
        ("not charged", &|it| it.sessions[3].outcome = ChargeOutcome::Partial),
        ("not settled", &|it| it.sessions[3].settled = false),
        ("paid EUR 0.0001", &|it| it.sessions[3].paid = one),
        ("and spent EUR 0.0001", &|it| it.sessions[3].spent = Some(one)),
        ("station 1 got EUR 0.0001", &|it| it.earnings[0].got = Some(one)),
        ("the consumer stops: the other lost EUR 0.0001", &|it| it.stopped[0].loss = Some(one)),
        ("the producer stops: the other lost EUR 0.9001", &|it| {
            it.stopped[1].loss = Some(Amount::new(9_001));
        }),
        ("and the producer got EUR 0.0001", &|it| it.stopped[1].got = Some(one)),
        ("the producer stops: after 10 of 10", &|it| it.stopped[1].released = 10),
        ("the validators have different", &|it| {
            it.audit.validators[1].block = Hash::of(Purpose::Genesis, b"other");
        }),
        ("the money is not what it was", &|it| it.audit.validators[1].locked = one),
        ("something stays locked", &|it| it.all_settled = false),
    ]);
}

#[test]
fn every_figure_that_is_worse_is_named() {
    let one = Amount::new(1);
    assert_named(&[
        ("single locks, N = 10: the consumer risked", &|it| it.payments[4].consumer_risk = PRICE),
        ("hash chain, N = 1: the producer risked EUR 0.0001", &|it| it.payments[2].producer_risk = one),
        ("hash chain, N = 10: 3 transactions", &|it| it.payments[6].on_chain = 3),
        ("hash chain, N = 10: 0 transactions", &|it| it.payments[6].on_chain = 0),
        ("blocks have 2 transactions, agents told 1", &|it| it.payments[6].told = 1),
        ("channel, N = 10: 10 messages", &|it| it.payments[7].off_chain = 10),
        ("hash chain: 500 ms, not below 500", &|it| it.times[0].ms[1] = 500),
        ("channel: 501 ms", &|it| it.times[1].ms[0] = 501),
        ("place_request: a payload of 17", &|it| it.phases[0].payload = Some(17)),
        ("place_request: a transaction of 131", &|it| it.phases[0].whole = Some(131)),
        ("place_bid: a payload of 25", &|it| it.phases[1].payload = Some(25)),
        ("place_bid: a transaction of 131", &|it| it.phases[1].whole = Some(131)),
        ("commit: a payload of 31", &|it| it.phases[2].payload = Some(31)),
        ("volume: 49 transactions, not 48", &|it| it.volume.on_chain += 1),
    ]);
}

#[test]
fn every_figure_that_is_missing_is_named() {
    assert_named(&[
        ("sessions: 11 of 12", &|it| it.sessions.truncate(11)),
        ("a station is missing", &|it| it.earnings.truncate(1)),
        ("got nothing that could be read", &|it| it.earnings[1].got = None),
        ("channel, N = 10: the agents did not tell all", &|it| it.payments.truncate(7)),
        ("hash chain: 0 of 2 were measured", &|it| it.times[0].ms.clear()),
        ("100 installments, channel: 0 of 2", &|it| it.times.truncate(1)),
        ("place_bid: no bytes", &|it| it.phases[1].payload = None),
        ("place_bid: 23 were looked at, not 24", &|it| it.phases[1].count = 23),
        ("commit: no bytes", &|it| it.phases.truncate(2)),
        ("channel, the producer stops: there was no session", &|it| it.stopped.truncate(7)),
        ("the other lost nothing that could be read", &|it| it.stopped[0].loss = None),
        ("0 confirmation times", &|it| it.volume.confirmation = None),
        ("no time between request and decision", &|it| it.volume.slot = None),
    ]);
}
