//! How a session ends, and what that puts on the chain.

use serde::{Deserialize, Serialize};

use crate::crypto::Preimage;
use crate::primitives::{Amount, Energy};
use crate::state::channel::SignedChannelState;
use crate::tagged_enum;

use super::messages::{RejectReason, StopReason};
use super::receipt::SignedReceipt;

/// What to put on the chain, for the session's payment (E1-E6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Claim these installments, in ascending order.
    ClaimHashes(Vec<(u32, Preimage)>),
    /// Claim every installment up to this one.
    ClaimChain {
        /// The last installment released.
        index: u32,
        /// Its link.
        link: Preimage,
    },
    /// Close the channel with this state, which the other side signed.
    Close(SignedChannelState),
    /// Start a forced close with the newest state that the other side signed, or the initial one.
    ForceClose(Option<SignedChannelState>),
    /// Take everything back.
    Cancel,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Every installment that could be was released and delivered.
    Completed,
    /// The consumer stopped.
    ConsumerStopped(StopReason),
    /// The producer stopped.
    ProducerStopped(StopReason),
    /// It never began.
    Rejected(RejectReason),
    /// The payment was settled on the chain meanwhile.
    ClosedOnChain,
}

tagged_enum!(EndReason {
    0 => Completed,
    1 => ConsumerStopped(StopReason),
    2 => ProducerStopped(StopReason),
    3 => Rejected(RejectReason),
    4 => ClosedOnChain,
});

/// What a finished session came to, as this side saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub reason: EndReason,
    /// Installments released.
    pub released: u32,
    /// What they are worth.
    pub amount: Amount,
    /// The own meter's reading.
    pub energy: Energy,
    /// The receipt, if both signed one.
    pub receipt: Option<SignedReceipt>,
}

/// An input that has no place in the machine's state. Nothing changed, and nothing is to be done
/// but to log it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{input} has no place while the session is {phase}")]
pub struct Unexpected {
    /// Where the machine is.
    pub phase: &'static str,
    /// What it was given.
    pub input: &'static str,
}

/// Records that are not those of one session, from its beginning and in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// There is none.
    #[error("no record of the session")]
    Empty,
    /// One does not follow from those before it.
    #[error("record {0} does not follow from those before it")]
    OutOfPlace(usize),
}
