use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Amount, Energy, Span, Timestamp, TxRef, Window};
use evchain_protocol::session::decide::Doubt;
use evchain_protocol::session::{Outcome, PaymentKind, Terms};
use serde::{Deserialize, Serialize};

use super::event::Warning;
use crate::clock;

/// A part of a charge: those of P21, with what surrounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A fresh key gets money.
    Funding,
    /// The request goes to the chain. For a producer also its station's record.
    Exploration,
    /// Producers bid.
    Bidding,
    /// The consumer chooses, and commits to its choice.
    Evaluation,
    /// The price is locked.
    Deposit,
    /// Energy and installments flow.
    Charging,
    /// The chain pays out.
    Settlement,
    /// What is left goes back to the main key.
    Sweep,
}

/// When a phase was under way, by the agent's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Which.
    pub phase: Phase,
    /// Its begin.
    pub begun: Timestamp,
    /// Its end.
    pub ended: Timestamp,
}

/// A transaction that an agent brought to the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionReport {
    /// For which phase.
    pub phase: Phase,
    /// The `kind` of its action.
    pub kind: String,
    /// Its id.
    pub id: Hash,
    /// Where it stands.
    #[serde(rename = "ref")]
    pub place: TxRef,
    /// Who sent it.
    pub sender: PublicKey,
    /// The bytes of its encoding.
    pub bytes: usize,
    /// What it paid.
    pub fee: Amount,
    /// When it was first sent, by the agent's clock.
    pub submitted: Timestamp,
    /// From then until the agent knew that it is final.
    pub latency_ms: Span,
}

/// A session that is over, as one side saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The request.
    pub request: TxRef,
    /// The payment or channel.
    pub payment: TxRef,
    /// How it was paid.
    pub kind: PaymentKind,
    /// The fresh key that asked.
    pub consumer: PublicKey,
    /// Who delivered.
    pub producer: PublicKey,
    /// b.
    pub price: Amount,
    /// N.
    pub installments: u32,
    /// T.
    pub window: Window,
    /// What was asked for.
    pub energy_asked: Energy,
    /// How it ended: installments released, their worth, the own meter, the receipt.
    pub outcome: Outcome,
    /// When the producer accepted, by the agent's clock; none if it did not.
    pub accepted: Option<Timestamp>,
    /// When it was over, by the agent's clock.
    pub ended: Timestamp,
    /// Messages sent that carry payment.
    pub payment_messages: u32,
    /// What this side put on the chain to settle.
    pub transactions: Vec<TransactionReport>,
}

impl SessionReport {
    /// The report of a session that is over now.
    pub(super) fn now(
        terms: &Terms,
        outcome: &Outcome,
        accepted: Option<Timestamp>,
        payment_messages: u32,
        transactions: Vec<TransactionReport>,
    ) -> Self {
        Self {
            request: terms.request,
            payment: terms.payment,
            kind: terms.kind,
            consumer: terms.consumer,
            producer: terms.producer,
            price: terms.plan.price,
            installments: terms.plan.count.get(),
            window: terms.plan.window,
            energy_asked: terms.energy,
            outcome: *outcome,
            accepted,
            ended: clock::now(),
            payment_messages,
            transactions,
        }
    }
}

/// A bid that the consumer could choose from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsideredBid {
    /// Whose.
    pub producer: PublicKey,
    /// `b_i`.
    pub price: Amount,
    /// How far away, in metres; none for a bid that cannot be taken.
    pub distance_m: Option<u64>,
    /// What the producer's track record said, in per mille.
    pub doubt: Doubt,
    /// Why it cannot be taken.
    pub unusable: Option<String>,
}

/// How a charge ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ChargeOutcome {
    /// All that was asked for was delivered and paid.
    Charged,
    /// The session ended before its time; what was released is paid.
    Partial,
    /// Nobody bid in the time that there was.
    NoBids,
    /// Nobody bid something that can be taken.
    NoUsableBid,
    /// The session never began, or brought no energy.
    NotServed,
    /// The charge was given up before money was locked.
    GivenUp {
        /// Why.
        reason: String,
    },
}

/// A charge from the request to the last payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeReport {
    /// How it ended.
    #[serde(flatten)]
    pub outcome: ChargeOutcome,
    /// The main key, which paid for it.
    pub payer: PublicKey,
    /// zeta of the last attempt.
    pub consumer: PublicKey,
    /// Requests made: one more for each that found nobody.
    pub attempts: u32,
    /// The last request.
    pub request: Option<TxRef>,
    /// The bids for it.
    pub bids: Vec<ConsideredBid>,
    /// The bid chosen.
    pub chosen: Option<ConsideredBid>,
    /// The lowest price among the bids.
    pub lowest_price: Option<Amount>,
    /// The session, once there was a payment.
    pub session: Option<SessionReport>,
    /// What the producer got, as the chain says.
    pub paid: Amount,
    /// Whether the chain has paid out all that was locked, and the rest is back with the main key.
    pub settled: bool,
    /// What went back to the main key.
    pub returned: Amount,
    /// Fees of all transactions, also of those before a crash.
    pub fees: Amount,
    /// When it was asked for and when all was over, by the agent's clock.
    pub begun: Timestamp,
    /// See `begun`.
    pub ended: Timestamp,
    /// The phases in their order.
    pub phases: Vec<PhaseReport>,
    /// Every transaction of this side since the agent was last started, in order.
    pub transactions: Vec<TransactionReport>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}
