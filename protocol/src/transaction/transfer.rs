//! Transfer: money from one account to another (A1 to A3).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::primitives::Amount;

/// Pays another key. A key without account becomes a consumer that the sender sponsors.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Transfer {
    /// Who is paid.
    pub to: PublicKey,
    /// How much.
    pub amount: Amount,
}
