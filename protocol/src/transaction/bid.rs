//! Bid: a producer offers a price for a request (B4 to B8; P18 3.2).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::primitives::TxRef;
use crate::state::auction::Bid;

/// Bids for a request, or lowers the sender's earlier bid.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PlaceBid {
    /// For which request.
    pub request: TxRef,
    /// The offer.
    pub bid: Bid,
}
