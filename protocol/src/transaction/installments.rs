//! Lock installments: the price of a bid in N locks at once (I1 to I4; P21 IV-A).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};
use crate::crypto::{Hash, PublicKey};
use crate::payment::{DepositRule, InstallmentCount};
use crate::primitives::TxRef;
use crate::state::payment::MAX_INSTALLMENTS_LEN;
use crate::tagged_enum;

/// Locks the price of a bid in installments. The transaction's name is the payment's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct LockInstallments {
    /// Which of the sender's requests.
    pub request: TxRef,
    /// Whose bid.
    pub producer: PublicKey,
    /// What becomes of an unclaimed deposit.
    pub deposit: DepositRule,
    /// The locks, whose number is N.
    pub locks: InstallmentLocks,
}

/// What unlocks the installments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallmentLocks {
    /// A hash for each, y_k = H(r_k).
    Hashes(List<Hash, MAX_INSTALLMENTS_LEN>),
    /// One hash chain for all.
    Chain(ChainAnchor),
}

tagged_enum!(InstallmentLocks { 0 => Hashes(List<Hash, MAX_INSTALLMENTS_LEN>), 1 => Chain(ChainAnchor) });

/// A hash chain that nothing of was shown yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChainAnchor {
    /// See [`HashChain`](crate::hash_chain::HashChain).
    pub anchor: Hash,
    /// N, the chain's number of links.
    pub count: InstallmentCount,
}
