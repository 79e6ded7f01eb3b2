//! Channels: collateral on the chain, states beside it, payout by the newest (C1 to C9; P21 IV-C).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::payment::InstallmentCount;
use crate::primitives::{Span, Timestamp, TxRef};
use crate::state::channel::SignedChannelState;

/// Locks the price of a bid in a channel. The transaction's name is the channel's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct OpenChannel {
    /// Which of the sender's requests.
    pub request: TxRef,
    /// Whose bid.
    pub producer: PublicKey,
    /// N.
    pub count: InstallmentCount,
    /// How long a forced close can be challenged.
    pub challenge: Span,
    /// When the channel pays out if nobody closes it.
    pub deadline: Timestamp,
}

/// Ends a channel at once by a state that the other side signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CloseChannel {
    /// The state, which names the channel.
    pub state: SignedChannelState,
}

/// Starts a channel's end without the other side.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ForceCloseChannel {
    /// Which channel.
    pub channel: TxRef,
    /// The newest state that the other side signed; none for the initial one.
    pub state: Option<SignedChannelState>,
}

/// Answers a forced close with a newer state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChallengeChannel {
    /// The newer state, which names the channel.
    pub state: SignedChannelState,
}
