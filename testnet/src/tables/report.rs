use evchain_node::agents::ChargeOutcome;
use evchain_node::agents::sessions::Side;
use evchain_protocol::primitives::{Amount, Energy, Span};
use evchain_protocol::session::PaymentKind;
use serde::Serialize;

use super::order::TablesPlan;
use crate::report::{Audit, LatencyFigures, Machine};

/// What the sessions showed, beside what the papers say.
#[derive(Debug, Clone, Serialize)]
pub struct TablesReport {
    /// What was to be measured.
    pub plan: TablesPlan,
    /// Validators.
    pub validators: usize,
    /// Every session, and what its consumer's accounts say.
    pub sessions: Vec<SessionRow>,
    /// What the stations' accounts say.
    pub earnings: Vec<EarningRow>,
    /// What it costs when the other side stops.
    pub stopped: Vec<StoppedRow>,
    /// Table I of P21.
    pub payments: Vec<PaymentRow>,
    /// Sessions of 100 installments that ran alone.
    pub times: Vec<SessionTime>,
    /// Table 2 of P18.
    pub phases: Vec<PhaseRow>,
    /// Section 4.4 of P18.
    pub volume: VolumeFigures,
    /// Whether the chain has paid out all that was locked.
    pub all_settled: bool,
    /// All validators at the end.
    pub audit: Audit,
    /// What it ran on.
    pub machine: Machine,
    /// What is wrong, by its figure. Empty where every figure is as it should be.
    pub failures: Vec<String>,
}

/// One session from beginning to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionRow {
    /// How it was paid.
    pub kind: PaymentKind,
    /// N.
    pub installments: u32,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: ChargeOutcome,
    /// b, if there was a session.
    pub price: Option<Amount>,
    /// What the producer got, as the consumer's agent found.
    pub paid: Amount,
    /// What the consumer's accounts have less than at first, fees aside.
    pub spent: Option<Amount>,
    /// Whether all was paid out, and the rest is back.
    pub settled: bool,
}

/// What a station sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarningRow {
    /// Which, from 1.
    pub station: usize,
    /// How many sessions.
    pub sessions: usize,
    /// Their prices.
    pub price: Amount,
    /// What its account has more than at first, fees aside.
    pub got: Option<Amount>,
}

/// A session in which one side stops when it is the worst for the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoppedRow {
    /// How it was paid.
    pub kind: PaymentKind,
    /// N.
    pub installments: u32,
    /// Who stops.
    pub stops: Side,
    /// Installments that the producer could take.
    pub released: u32,
    /// What came, by the meter of the side that stays.
    pub delivered: Energy,
    /// What the consumer's accounts have less than at first, fees aside.
    pub spent: Option<Amount>,
    /// What the producer's account has more than at first, fees aside.
    pub got: Option<Amount>,
    /// What the side that stays has lost: a consumer paid and has no energy for it, or a producer the opposite.
    pub loss: Option<Amount>,
    /// b/N, rounded up.
    pub installment: Amount,
}

/// One session, by kind of payment and N.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentRow {
    /// How it was paid.
    pub kind: PaymentKind,
    /// N.
    pub installments: u32,
    /// Transactions in blocks that lock and settle the price.
    pub on_chain: usize,
    /// How many of them the agents told.
    pub told: usize,
    /// Their bytes.
    pub bytes: usize,
    /// What P21 counts, for what it has.
    pub on_chain_p21: Option<u32>,
    /// Messages that carry payment.
    pub off_chain: u32,
    /// What P21 counts, for what it has.
    pub off_chain_p21: Option<u32>,
    /// The most money that was given away while its energy was not there, by the order of the agents' steps.
    pub consumer_risk: Amount,
    /// b/N, rounded up.
    pub installment: Amount,
    /// The most energy that was there and not paid, likewise, in money.
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
    /// The most bytes beyond the envelope of sender, nonce, kind and signature. None where there were none.
    pub payload: Option<usize>,
    /// The bytes that P18 counts.
    pub payload_p18: usize,
    /// The most bytes of a whole signed transaction.
    pub whole: Option<usize>,
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
    /// Of the requests, those that ran at once.
    pub together: u64,
    /// t: from the first of those to the last one's commitment.
    pub slot: Option<Span>,
    /// c: from the submission of one of these to its finality.
    pub confirmation: Option<LatencyFigures>,
}
