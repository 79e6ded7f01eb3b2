//! Request: a consumer asks for energy (B1 to B3; P18 3.2).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::primitives::{Energy, RegionId, Timestamp, Window};
use crate::state::auction::BiddingMode;

/// Asks for energy in a region and a window. The transaction's name is the request's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PlaceRequest {
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
}
