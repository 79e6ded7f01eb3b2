//! What a producer and its watchtower say to each other.

use serde::{Deserialize, Serialize};

use crate::codec::{self, Decode, DecodeError, Encode};
use crate::primitives::TxRef;
use crate::state::channel::CoSignedState;
use crate::tagged_enum;

/// The longest encoding of a message, in bytes: a state with two signatures.
pub const MAX_WATCH_BYTES: usize = 192;

/// A message between a producer and its watchtower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMessage {
    /// The producer: answer for me with this state.
    Guard(CoSignedState),
    /// The tower: it holds a state of this channel that releases so many installments.
    Guarded(Guarded),
    /// The tower: it does not.
    Refused(Refused),
}

tagged_enum!(WatchMessage {
    0 => Guard(CoSignedState),
    1 => Guarded(Guarded),
    2 => Refused(Refused),
});

/// What a tower holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Guarded {
    /// Which channel.
    pub channel: TxRef,
    /// Installments that the newest state releases. More than were sent if it held a newer one.
    pub released: u32,
}

/// What a tower does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// Which channel.
    pub channel: TxRef,
    /// Why.
    pub reason: GuardRefusal,
}

impl WatchMessage {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The message that these bytes are.
    ///
    /// # Errors
    /// [`DecodeError`], for more than [`MAX_WATCH_BYTES`] too.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, MAX_WATCH_BYTES)
    }
}

/// Why a tower does not guard a channel, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum GuardRefusal {
    /// By the driver: the operator names who may use the tower.
    #[error("the watchtower does not work for this key")]
    NotAllowed,
    /// W1: not on the final chain, or due.
    #[error("the final chain has no such channel, or it pays out already")]
    NoChannel,
    /// W1: somebody else's.
    #[error("the channel is another producer's")]
    NotProducer,
    /// W1: such a state pays no more than the chain does by itself, or is none of this channel.
    #[error("the state releases no more than the deposit, or more installments than there are")]
    OutOfRange,
    /// W1: a signature is missing.
    #[error("the state is not signed by both sides")]
    NotSigned,
    /// W2: whoever can still sign can close the channel by itself.
    #[error("the watchtower has posted a state of this channel already")]
    Answered,
    /// W3: the client has as many channels as the tower guards for one.
    #[error("the watchtower guards as many channels of this key as it does for one")]
    ClientFull,
    /// W3: all clients together.
    #[error("the watchtower guards as many channels as it can")]
    Full,
}

tagged_enum!(GuardRefusal {
    0 => NotAllowed,
    1 => NoChannel,
    2 => NotProducer,
    3 => OutOfRange,
    4 => NotSigned,
    5 => Answered,
    6 => ClientFull,
    7 => Full,
});
