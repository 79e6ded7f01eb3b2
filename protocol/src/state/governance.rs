//! What the authorities are about to change, and what is held against them.

use serde::{Deserialize, Serialize};

use crate::authority::{AuthoritySet, MAX_AUTHORITIES};
use crate::codec::{Decode, Encode, List};
use crate::crypto::PublicKey;
use crate::governance::Change;
use crate::primitives::{Epoch, TxRef};

/// A proposal that is open. It leaves the state when it passes, fails or expires, or with the
/// authority that made it (E6).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Proposal {
    /// Who made it.
    pub proposer: PublicKey,
    /// What is to change.
    pub change: Change,
    /// At the end of this epoch it can pass for the last time.
    pub last_epoch: Epoch,
    /// Who approved, in the order of approving, the proposer first.
    pub approvals: List<PublicKey, MAX_AUTHORITIES>,
}

impl Proposal {
    /// How many of `authorities` have to approve: more than two thirds (D5).
    pub fn needed(authorities: &AuthoritySet) -> usize {
        // At most `MAX_AUTHORITIES`.
        (authorities.len().saturating_mul(2) / 3).saturating_add(1)
    }

    /// How many of these authorities approved.
    pub fn approvals_of(&self, authorities: &AuthoritySet) -> usize {
        self.approvals.iter().filter(|key| authorities.index_of(key).is_some()).count()
    }

    /// Whether more than two thirds of these authorities approved (D5).
    pub fn is_approved_by(&self, authorities: &AuthoritySet) -> bool {
        self.approvals_of(authorities) >= Self::needed(authorities)
    }
}

/// How many admissions one authority has made in this epoch (A6). It leaves the state with the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Admissions(pub u32);

/// An offence that was proven. The key says whose, when and of what kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Offence {
    /// The transaction with the evidence.
    pub evidence: TxRef,
    /// Who sent it.
    pub reporter: PublicKey,
}
