//! What the two sides say to each other (M1-M8).

use serde::{Deserialize, Serialize};

use crate::codec::{self, Decode, DecodeError, Encode};
use crate::commitment::Opening;
use crate::crypto::Signature;
use crate::primitives::{Energy, Span, Timestamp, TxRef};
use crate::tagged_enum;

use super::proof::Proof;
use super::receipt::Receipt;
use super::terms::PaymentKind;

/// The longest encoding of a message, in bytes. The longest is a receipt with two signatures.
pub const MAX_MESSAGE_BYTES: usize = 512;

/// A message of the session protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// M1: the consumer is here.
    Open(Open),
    /// M2: the producer serves it, and takes no installment with less than this until its deadline.
    Accept(Span),
    /// M3: the producer does not.
    Reject(RejectReason),
    /// M4: the consumer pays an installment.
    Release(Release),
    /// M5: the producer has delivered it.
    Delivered(Delivered),
    /// M6: the consumer proposes a receipt, or the producer returns it signed.
    Receipt(ReceiptMessage),
    /// M7: no more of either.
    Stop(StopReason),
    /// M8: how far the sender is, after a new connection.
    Resume(Resume),
}

tagged_enum!(Message {
    0 => Open(Open),
    1 => Accept(Span),
    2 => Reject(RejectReason),
    3 => Release(Release),
    4 => Delivered(Delivered),
    5 => Receipt(ReceiptMessage),
    6 => Stop(StopReason),
    7 => Resume(Resume),
});

impl Message {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The message that these bytes are.
    ///
    /// # Errors
    /// [`DecodeError`], for more than [`MAX_MESSAGE_BYTES`] too.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, MAX_MESSAGE_BYTES)
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "Open",
            Self::Accept(_) => "Accept",
            Self::Reject(_) => "Reject",
            Self::Release(_) => "Release",
            Self::Delivered(_) => "Delivered",
            Self::Receipt(_) => "Receipt",
            Self::Stop(_) => "Stop",
            Self::Resume(_) => "Resume",
        }
    }
}

/// M1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// Opens the commitment: request, zeta, i and r.
    pub opening: Opening,
    /// How it is paid.
    pub kind: PaymentKind,
    /// The payment in installments, or the channel.
    pub payment: TxRef,
}

/// M4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// k.
    pub index: u32,
    /// What lets the producer collect it.
    pub proof: Proof,
}

/// M5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Delivered {
    /// k.
    pub index: u32,
    /// The producer's meter since the session's start.
    pub energy: Energy,
    /// For a channel: the producer's signature of the state that releases k+1.
    pub cosignature: Option<Signature>,
}

/// M6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptMessage {
    /// What the session came to.
    pub receipt: Receipt,
    /// The sender's signature of it.
    pub signature: Signature,
    /// For a channel: the sender's signature of the closing state.
    pub closing: Option<Signature>,
}

/// M8. Both numbers are one above the last installment, zero before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Resume {
    /// Which session.
    pub payment: TxRef,
    /// Released by the consumer, received by the producer.
    pub released: u32,
    /// Delivered by the producer, metered by the consumer.
    pub delivered: u32,
}

/// Why a producer does not serve a consumer, in the order of the checks O1 to O9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// O1: the opening names another producer.
    #[error("the commitment names another producer")]
    OtherProducer,
    /// O1: the opening names another consumer than the one that is connected.
    #[error("the commitment names another consumer than the one connected")]
    OtherConsumer,
    /// O2: the payment had its session.
    #[error("the payment is or was in another session")]
    InUse,
    /// O3: no such request of this consumer on the final chain.
    #[error("the final chain has no such request of this consumer")]
    NoRequest,
    /// O3: the producer has no bid for it.
    #[error("the final chain has no bid of this producer for the request")]
    NoBid,
    /// O4: the price opened is below the bid's.
    #[error("the price committed to is below the bid's")]
    OtherPrice,
    /// O4: c is not the hash of what was opened.
    #[error("the commitment does not open to this")]
    WrongCommitment,
    /// O5: the producer serves from this moment on.
    #[error("too early: charging can begin at {0}")]
    TooEarly(Timestamp),
    /// O5: the window ended at this moment.
    #[error("too late: the window ended at {0}")]
    TooLate(Timestamp),
    /// O6: no such payment on the final chain.
    #[error("the final chain has no such payment")]
    NoPayment,
    /// O6: the payment is not for this request, these two or this price.
    #[error("the payment is for something else")]
    OtherPayment,
    /// O6: the bid offers another kind or fewer installments.
    #[error("the bid does not offer this kind of payment or that many installments")]
    NotOffered,
    /// O7: the deposit was returned or is about to be.
    #[error("the deposit can no longer be collected")]
    DepositLate,
    /// O7: the channel is being closed, or ends too soon to be closed in time.
    #[error("the channel is being closed or ends too soon")]
    ChannelEnding,
    /// O7: the challenge period of the channel is shorter than this.
    #[error("an answer to a forced close takes up to {0}, longer than the channel's challenge period")]
    ChallengeTooShort(Span),
    /// O7: the chain takes too long for anything to be collected in time (T5).
    #[error("the chain is too slow at the moment to collect in time")]
    ChainTooSlow,
    /// O9: others have paid before for all connectors.
    #[error("all connectors are sold in this window to those who paid before")]
    SoldOut,
}

tagged_enum!(RejectReason {
    0 => OtherProducer,
    1 => OtherConsumer,
    2 => InUse,
    3 => NoRequest,
    4 => NoBid,
    5 => OtherPrice,
    6 => WrongCommitment,
    7 => TooEarly(Timestamp),
    8 => TooLate(Timestamp),
    9 => NoPayment,
    10 => OtherPayment,
    11 => NotOffered,
    12 => DepositLate,
    13 => ChannelEnding,
    14 => SoldOut,
    15 => ChallengeTooShort(Span),
    16 => ChainTooSlow,
});

/// Why one side ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its user wishes so: the battery is full, the driver leaves.
    #[error("stopped by the user")]
    Requested,
    /// Its equipment failed.
    #[error("an equipment fault")]
    Fault,
    /// The other side did not go on in time.
    #[error("the other side did not go on in time")]
    Timeout,
    /// The meters differ by more than the tolerance.
    #[error("less energy than was paid for")]
    EnergyShort,
    /// A release that proves nothing or has no place here.
    #[error("a release that proves nothing")]
    BadRelease,
    /// A message that the protocol does not allow here.
    #[error("a message out of place")]
    OutOfPlace,
    /// A receipt that does not say what happened.
    #[error("a receipt that differs from the session")]
    BadReceipt,
    /// The payment is being closed on the chain.
    #[error("the payment is being closed on the chain")]
    PaymentClosing,
    /// The session has ended already.
    #[error("the session has ended")]
    Ended,
}

tagged_enum!(StopReason {
    0 => Requested,
    1 => Fault,
    2 => Timeout,
    3 => EnergyShort,
    4 => BadRelease,
    5 => OutOfPlace,
    6 => BadReceipt,
    7 => PaymentClosing,
    8 => Ended,
});
