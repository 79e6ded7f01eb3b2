//! Lock: money for who knows a secret (L1 to L3; P21 II-B).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::{Hash, PublicKey};
use crate::primitives::{Amount, Timestamp};

/// Locks money behind a hash. The transaction's name is the lock's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CreateLock {
    /// B, who can claim it.
    pub payee: PublicKey,
    /// x.
    pub amount: Amount,
    /// y = H(r).
    pub hash: Hash,
    /// t, when it returns.
    pub deadline: Timestamp,
}
