//! What an auction leaves on the chain: stations, requests and bids.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::{Hash, PublicKey};
use crate::flags::flag_set;
use crate::payment::InstallmentCount;
use crate::primitives::{Amount, Energy, Position, RegionId, Timestamp, TxRef, Window};
use crate::sealed::SealedPlace;
use crate::tagged_enum;
use crate::text::Text;

/// The longest contact text of a station, in bytes.
pub const MAX_CONTACT_BYTES: usize = 128;

/// A charging station's public record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Station {
    /// The region in which it stands.
    pub region: RegionId,
    /// `w_i`, where it stands.
    pub position: Position,
    /// What one connector gives at most, in W.
    pub power_w: u32,
    /// How many vehicles can charge at a time.
    pub connectors: u16,
    /// How people reach its operator.
    pub contact: Text<MAX_CONTACT_BYTES>,
}

/// What a producer may do after its first bid for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BiddingMode {
    /// Nothing: the first bid stands.
    FirstOnly,
    /// Replace it by one with a lower price, until the bid deadline.
    Updates,
}

tagged_enum!(BiddingMode { 0 => FirstOnly, 1 => Updates });

/// A consumer's open request: (R, T, e, zeta) of P18 3.2.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Request {
    /// zeta.
    pub consumer: PublicKey,
    /// R.
    pub region: RegionId,
    /// T.
    pub window: Window,
    /// e.
    pub energy: Energy,
    /// Whether bids can be lowered.
    pub mode: BiddingMode,
    /// Bids count while the block's time is before this.
    pub bid_deadline: Timestamp,
    /// How many producers have bid.
    pub bids: u32,
    /// c, once the consumer has decided.
    pub commitment: Option<Hash>,
    /// The payment or channel for it, once there is one. It stays named here after its end: a
    /// request is paid once.
    pub payment: Option<TxRef>,
}

impl Request {
    /// Whether a commitment can still decide it (B9): it has none, its window is ahead, and it has a bid or
    /// can get one. Once false, it stays false.
    pub fn can_be_decided(&self, now: Timestamp) -> bool {
        self.commitment.is_none() && now < self.window.start && (self.bids > 0 || now < self.bid_deadline)
    }
}

flag_set!(
    /// Ways to pay in installments.
    PaymentKinds {
        /// N locks with hashes of their own.
        HASHES = 0 => "hashes",
        /// N locks along one hash chain.
        CHAIN = 1 => "chain",
        /// A channel.
        CHANNEL = 2 => "channel",
        /// N single locks.
        SINGLE = 3 => "single",
    }
);

/// Where a bidder delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BidPosition {
    /// Where its station record says.
    Station,
    /// Here, for all to see.
    Public(Place),
    /// Where only the consumer who asked can read.
    Sealed(SealedPlace),
}

tagged_enum!(BidPosition { 0 => Station, 1 => Public(Place), 2 => Sealed(SealedPlace) });

/// Where a producer without a station record is, and how the consumer reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Place {
    /// `w_i`.
    pub position: Position,
    /// As in a station's record.
    pub contact: Text<MAX_CONTACT_BYTES>,
}

/// A producer's binding offer for a request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Bid {
    /// `b_i`, for all of the energy.
    pub price: Amount,
    /// How it accepts to be paid.
    pub kinds: PaymentKinds,
    /// The most installments that it accepts.
    pub max_installments: InstallmentCount,
    /// Where it delivers.
    pub position: BidPosition,
    /// Before this the consumer can cancel and gets everything back, the deposit too. Zero: never.
    pub cancel_by: Timestamp,
}
