//! What goes into and out of the consumer's machine.

use crate::codec::{Decode, Encode};
use crate::commitment::Opening;
use crate::primitives::{Energy, Span, Timestamp};
use crate::session::messages::{Message, StopReason};
use crate::session::outcome::{EndReason, Outcome, Settlement};
use crate::session::proof::Secrets;
use crate::session::receipt::ReceiptRecord;
use crate::session::terms::Terms;
use crate::state::channel::SignedChannelState;
use crate::tagged_enum;

/// How patient a consumer is, and how careful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerPolicy {
    /// How long it waits for an answer.
    pub answer_timeout: Span,
    /// How much longer than its share of the window an installment may take.
    pub delivery_grace: Span,
    /// How long its own meter may lag behind a `Delivered`.
    pub meter_grace: Span,
    /// How long it leaves the closing of a channel to the producer.
    pub close_grace: Span,
    /// The longest `claim_lead` of a producer that it puts up with.
    pub max_claim_lead: Span,
    /// By how much of all energy its meter may show less, in thousandths.
    pub tolerance_permille: u16,
}

impl Default for ConsumerPolicy {
    fn default() -> Self {
        Self {
            answer_timeout: Span::new(10_000),
            delivery_grace: Span::new(60_000),
            meter_grace: Span::new(10_000),
            close_grace: Span::new(60_000),
            max_claim_lead: Span::new(300_000),
            tolerance_permille: 10,
        }
    }
}

/// What happens to the consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // moved once, never collected
pub enum ConsumerInput {
    /// There is a new connection to the producer, whose key is the one in the terms.
    Connected,
    /// The producer said this.
    Message(Message),
    /// The vehicle's meter since the session's start (D5).
    Metered(Energy),
    /// A block with this time is final.
    ChainTime(Timestamp),
    /// The channel paid out. For installments there is nothing to say: they are the producer's to
    /// collect, or return by themselves.
    PaidOut,
    /// Everything was taken back (I8, C11), and it is final.
    Cancelled,
    /// A forced close of the channel is under way, and it is final.
    ForceClosed,
    /// The user or the vehicle ends the session.
    Stop(StopReason),
    /// The moment of [`ConsumerSession::deadline`](super::ConsumerSession::deadline) has come.
    Timeout,
}

/// What the driver does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerOutput {
    /// Write to disk and sync before the next output (D1).
    Persist(ConsumerRecord),
    /// Send to the producer; drop it if there is no connection (C16 repeats what matters).
    Send(Message),
    /// Take the energy that comes.
    OpenValve,
    /// Take no more.
    CloseValve,
    /// Bring this to the chain, and repeat until it is final or the payment has left the state.
    Settle(Settlement),
    /// The session is over.
    Finished(Outcome),
}

/// What the consumer must not forget (D2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // a few in a session
pub enum ConsumerRecord {
    /// It is about to open this session.
    Begun(Beginning),
    /// The producer accepted, with this `claim_lead`.
    Accepted(Span),
    /// It may have released this installment.
    Released(u32),
    /// It got this installment.
    Delivered(DeliveredRecord),
    /// It takes no more energy.
    Ended(EndReason),
    /// Both signed this, and for a channel the producer the closing state.
    Receipted(ReceiptRecord),
    /// The chain has settled the payment.
    Settled,
}

tagged_enum!(ConsumerRecord {
    0 => Begun(Beginning),
    1 => Accepted(Span),
    2 => Released(u32),
    3 => Delivered(DeliveredRecord),
    4 => Ended(EndReason),
    5 => Receipted(ReceiptRecord),
    6 => Settled,
});

/// What the consumer's session began with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Beginning {
    /// The terms.
    pub terms: Terms,
    /// What opens the commitment.
    pub opening: Opening,
    /// What installments are released with.
    pub secrets: Secrets,
}

/// An installment that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DeliveredRecord {
    /// k.
    pub index: u32,
    /// The own meter's reading.
    pub energy: Energy,
    /// For a channel: the state that releases k+1, with the producer's signature.
    pub state: Option<SignedChannelState>,
}

impl ConsumerInput {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Connected => "a connection",
            Self::Message(message) => message.name(),
            Self::Metered(_) => "a meter reading",
            Self::ChainTime(_) => "a block's time",
            Self::PaidOut => "a payout",
            Self::Cancelled => "a cancel",
            Self::ForceClosed => "a forced close",
            Self::Stop(_) => "the own stop",
            Self::Timeout => "a timeout",
        }
    }
}
