//! Claim: a payee shows secrets and is paid (L4, I6, I7).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};
use crate::crypto::Preimage;
use crate::primitives::TxRef;
use crate::state::payment::MAX_INSTALLMENTS_LEN;
use crate::tagged_enum;

/// Takes what the secrets unlock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Of a single lock.
    Lock(ClaimLock),
    /// Of installments with hashes of their own.
    Hashes(ClaimHashes),
    /// Of all installments up to one, along a hash chain.
    Chain(ClaimChain),
}

tagged_enum!(Claim { 0 => Lock(ClaimLock), 1 => Hashes(ClaimHashes), 2 => Chain(ClaimChain) });

/// The secret of a single lock.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ClaimLock {
    /// Which lock.
    pub lock: TxRef,
    /// r.
    pub preimage: Preimage,
}

/// Secrets of installments.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ClaimHashes {
    /// Of which payment.
    pub payment: TxRef,
    /// Which installments, in ascending order.
    pub preimages: List<IndexedPreimage, MAX_INSTALLMENTS_LEN>,
}

/// The secret of one installment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct IndexedPreimage {
    /// k.
    pub index: u32,
    /// r_k.
    pub preimage: Preimage,
}

/// A link of a payment's hash chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ClaimChain {
    /// Of which payment.
    pub payment: TxRef,
    /// k: every unsettled installment up to this one is claimed.
    pub index: u32,
    /// The link of installment k.
    pub link: Preimage,
}
