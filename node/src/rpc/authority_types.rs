//! What the methods about the authorities give.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::finality::OffenceKind;
use evchain_protocol::primitives::{Epoch, Height, TxRef, View};
use evchain_protocol::state::authority::Authorities;
use evchain_protocol::state::governance::{Offence, Proposal};
use serde::{Deserialize, Serialize};

use super::types::HexBytes;

/// Who runs the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthoritiesInfo {
    /// The epoch.
    pub epoch: Epoch,
    /// The height of its first block.
    pub first_height: Height,
    /// The height of its last block.
    pub last_height: Height,
    /// The authorities, by index.
    pub keys: Vec<PublicKey>,
    /// How many votes decide.
    pub quorum: usize,
    /// How many may fail in any way.
    pub max_faulty: usize,
}

/// An open proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalInfo {
    /// The transaction that made it.
    #[serde(rename = "ref")]
    pub name: TxRef,
    /// The proposal.
    #[serde(flatten)]
    pub proposal: Proposal,
    /// How many approvals it needs.
    pub needed: usize,
    /// Whether enough authorities have approved, so that it passes at the epoch's end.
    pub passes: bool,
}

/// An offence that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffenceInfo {
    /// Whose.
    pub authority: PublicKey,
    /// In which epoch.
    pub epoch: Epoch,
    /// In which view of it.
    pub view: View,
    /// What was done.
    pub offence: OffenceKind,
    /// The transaction with the evidence, and who sent it.
    #[serde(flatten)]
    pub record: Offence,
}

/// How an epoch went over into the next, for somebody who knows its authorities only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStepInfo {
    /// The encoded header of the epoch's last block.
    pub header: HexBytes,
    /// Its encoded finalization.
    pub certificate: HexBytes,
    /// Who became an authority.
    pub joined: Vec<PublicKey>,
    /// Who is none any more.
    pub left: Vec<PublicKey>,
}

impl From<Authorities> for AuthoritiesInfo {
    fn from(authorities: Authorities) -> Self {
        let Authorities { epoch, set, first_height, last_height } = authorities;
        Self {
            epoch,
            first_height,
            last_height,
            quorum: set.quorum(),
            max_faulty: set.max_faulty(),
            keys: set.keys().to_vec(),
        }
    }
}
