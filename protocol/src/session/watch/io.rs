//! What goes into and out of the watchtower's machine.

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::primitives::{Span, Timestamp, TxRef};
use crate::state::channel::{Channel, CoSignedState};
use crate::tagged_enum;

use super::messages::WatchMessage;

/// How careful a tower is, and for how many it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchPolicy {
    /// How long before a channel's deadline it posts (W5), if the challenge period is not shorter.
    pub lead: Span,
    /// How long it waits after a post that failed.
    pub retry: Span,
    /// The most channels that it guards.
    pub max_channels: usize,
    /// The most channels of one producer.
    pub max_channels_per_client: usize,
}

impl Default for WatchPolicy {
    fn default() -> Self {
        Self {
            lead: Span::new(120_000),
            retry: Span::new(5_000),
            max_channels: 4_096,
            max_channels_per_client: 256,
        }
    }
}

/// What happens to a tower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchInput {
    /// A client asks to be answered for.
    Guard {
        /// The client, by the other side of the stream.
        from: PublicKey,
        /// Its newest state.
        state: CoSignedState,
        /// What the final chain has under the channel's name. Not looked at for a channel that the
        /// tower guards already.
        found: Option<Channel>,
    },
    /// What the final chain has of a channel under guard; none if that has ended.
    Found(TxRef, Option<Channel>),
    /// A block with this time is final.
    ChainTime(Timestamp),
    /// What was to be posted of this channel could not be brought to the chain.
    Failed(TxRef),
    /// The moment of [`Watchtower::deadline`](super::Watchtower::deadline) has come.
    Timeout,
}

/// What the driver does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // a few at a time
pub enum WatchOutput {
    /// Write to disk and sync before the next output (W9).
    Persist(WatchRecord),
    /// Say this to who asked; only after a [`WatchInput::Guard`].
    Answer(WatchMessage),
    /// Bring this state to the chain, unless the chain shows it or a newer one, until it is final.
    Post(CoSignedState),
}

/// What a tower must not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // the largest is by far the most frequent
pub enum WatchRecord {
    /// It answers for this channel with this state.
    Guarded(GuardRecord),
    /// It posts what it holds of this channel, once and for all.
    Posted(TxRef),
    /// This channel has ended.
    Ended(TxRef),
}

tagged_enum!(WatchRecord {
    0 => Guarded(GuardRecord),
    1 => Posted(TxRef),
    2 => Ended(TxRef),
});

/// A channel under guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GuardRecord {
    /// As the final chain had it, without what was posted of it.
    pub channel: Channel,
    /// The newest state that the tower has seen.
    pub state: CoSignedState,
}
