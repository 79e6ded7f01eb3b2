//! What goes into and out of the producer's machine.

use crate::codec::{Decode, Encode};
use crate::primitives::{Energy, Span, Timestamp};
use crate::session::messages::{Message, Release, StopReason};
use crate::session::outcome::{EndReason, Outcome, Settlement};
use crate::session::receipt::ReceiptRecord;
use crate::session::terms::Terms;
use crate::state::payment::HashLocks;
use crate::tagged_enum;

/// How patient a producer is, and how careful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerPolicy {
    /// How long before the window's start it serves (O5).
    pub early_tolerance: Span,
    /// It takes no installment with less than this until its deadline (S5).
    pub claim_lead: Span,
    /// It claims this long before the earliest deadline (P15). Less than `claim_lead`.
    pub settle_lead: Span,
    /// How long it takes at most until a transaction counts (T4). A channel's challenge period is no
    /// shorter (O7).
    pub reaction: Span,
    /// How long it waits for the next installment. More than two `claim_lead`, or a consumer that
    /// holds back a link (S7) is taken for one that left.
    pub release_timeout: Span,
    /// How much longer than its share of the window an installment may take.
    pub delivery_grace: Span,
    /// How long it waits for a receipt.
    pub answer_timeout: Span,
    /// By how much of all energy the two meters may differ, in thousandths.
    pub tolerance_permille: u16,
}

impl Default for ProducerPolicy {
    fn default() -> Self {
        Self {
            early_tolerance: Span::new(300_000),
            claim_lead: Span::new(60_000),
            settle_lead: Span::new(30_000),
            reaction: Span::new(5_000),
            release_timeout: Span::new(180_000),
            delivery_grace: Span::new(60_000),
            answer_timeout: Span::new(10_000),
            tolerance_permille: 10,
        }
    }
}

/// What happens to the producer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // moved once, never collected
pub enum ProducerInput {
    /// The consumer said this.
    Message(Message),
    /// The station's meter since the session's start (D5).
    Metered(Energy),
    /// A block with this time is final, and the payment was not cancelled up to it (S8). So whoever asks the
    /// chain asks for the time first and for the payment then.
    ChainTime(Timestamp),
    /// The chain has settled the installments below this index, by claim or deadline; of a channel:
    /// it paid out.
    Settled(u32),
    /// The consumer took everything back (I8, C11), and it is final.
    Cancelled,
    /// The chain does not have the payment or channel any more, and nobody saw how it ended.
    Gone,
    /// The consumer started a forced close of the channel, and it is final.
    ForceClosed,
    /// The operator or the station ends the session.
    Stop(StopReason),
    /// The moment of [`ProducerSession::deadline`](super::ProducerSession::deadline) has come.
    Timeout,
}

/// What the driver does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProducerOutput {
    /// Write to disk and sync before the next output (D1).
    Persist(ProducerRecord),
    /// Send to the consumer; drop it if there is no connection (P10 repeats what matters).
    Send(Message),
    /// Let energy flow until the meter shows this much since the session's start.
    Deliver(Energy),
    /// Let no more energy flow.
    StopEnergy,
    /// Bring this to the chain, and repeat until it is final.
    Settle(Settlement),
    /// The session is over.
    Finished(Outcome),
}

/// What the producer must not forget (D3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // a few in a session
pub enum ProducerRecord {
    /// It serves this session.
    Accepted(Acceptance),
    /// It holds the proof of this installment.
    Released(Release),
    /// It delivered this installment, at this reading.
    Delivered((u32, Energy)),
    /// The energy stopped for good.
    Ended(EndReason),
    /// Both signed this, and for a channel the consumer the closing state.
    Receipted(ReceiptRecord),
    /// The chain has settled the installments below this index.
    Settled(u32),
    /// The consumer can no longer take its money back (S8).
    Binding,
}

tagged_enum!(ProducerRecord {
    0 => Accepted(Acceptance),
    1 => Released(Release),
    2 => Delivered((u32, Energy)),
    3 => Ended(EndReason),
    4 => Receipted(ReceiptRecord),
    5 => Settled(u32),
    6 => Binding,
});

/// What the producer's session began with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Acceptance {
    /// The terms.
    pub terms: Terms,
    /// What proofs are checked against; `None` for a channel.
    pub locks: Option<HashLocks>,
}

impl ProducerInput {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Message(message) => message.name(),
            Self::Metered(_) => "a meter reading",
            Self::ChainTime(_) => "a block's time",
            Self::Settled(_) => "a settlement",
            Self::Cancelled => "a cancel",
            Self::Gone => "the end of the payment",
            Self::ForceClosed => "a forced close",
            Self::Stop(_) => "the own stop",
            Self::Timeout => "a timeout",
        }
    }
}
