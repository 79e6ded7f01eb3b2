//! Commitment: a consumer decides for a bid without saying for which (B9; P18 3.3).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::Hash;
use crate::primitives::TxRef;

/// Ends the bidding with a hidden decision.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Commit {
    /// Which of the sender's requests.
    pub request: TxRef,
    /// c, see [`Opening`](crate::commitment::Opening).
    pub commitment: Hash,
}
