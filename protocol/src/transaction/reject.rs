//! Why a transaction breaks a rule, over all kinds.

use super::approve::ApproveReason;
use super::bid::BidReason;
use super::cancel::CancelReason;
use super::channel::ChannelReason;
use super::claim::ClaimReason;
use super::commitment::CommitmentReason;
use super::evidence::EvidenceReason;
use super::installments::InstallmentsReason;
use super::lock::LockReason;
use super::participant::ParticipantReason;
use super::payable::PayableReason;
use super::propose::ProposeReason;
use super::request::RequestReason;
use super::station::StationReason;
use super::transfer::TransferReason;
use super::withdraw::WithdrawReason;
use crate::crypto::{ChainId, PublicKey};
use crate::execute::StandingReason;
use crate::primitives::{Amount, Height, Nonce};

/// The first rule of `docs/ledger.md` that a transaction breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum RejectReason {
    #[error("the transaction was signed for another chain, {chain}")]
    OtherChain { chain: ChainId },
    #[error("block {height} has no room for a transaction with index {index}")]
    BlockFull { height: Height, index: u32 },
    /// G2
    #[error("{sender} has no account: an authority admits it, or a participant pays it first")]
    NoAccount { sender: PublicKey },
    /// G3: it was sent already, or another with the same nonce.
    #[error("the nonce {given} is used up: the account's next is {expected}")]
    NonceTooLow { expected: Nonce, given: Nonce },
    /// G3: it may become valid when the ones before it are in.
    #[error("the nonce {given} is too high: the account's next is {expected}")]
    NonceTooHigh { expected: Nonce, given: Nonce },
    /// G3
    #[error("{sender} has no nonces left")]
    NoncesUsedUp { sender: PublicKey },
    /// G4
    #[error("{sender} is revoked, and may only settle what is open and withdraw")]
    Revoked { sender: PublicKey },
    /// G5
    #[error("the balance of {balance} does not cover the fee of {fee}")]
    FeeNotCovered { balance: Amount, fee: Amount },
    /// G7
    #[error("{sender} is not an authority")]
    NotAuthority { sender: PublicKey },
    /// A3, L3, I4, C4
    #[error("the balance of {balance} does not cover {amount}")]
    NotCovered { balance: Amount, amount: Amount },
    #[error(transparent)]
    Transfer(#[from] TransferReason),
    #[error(transparent)]
    Participant(#[from] ParticipantReason),
    #[error(transparent)]
    Standing(#[from] StandingReason),
    #[error(transparent)]
    Withdraw(#[from] WithdrawReason),
    #[error(transparent)]
    Station(#[from] StationReason),
    #[error(transparent)]
    Request(#[from] RequestReason),
    #[error(transparent)]
    Bid(#[from] BidReason),
    #[error(transparent)]
    Commitment(#[from] CommitmentReason),
    #[error(transparent)]
    Lock(#[from] LockReason),
    #[error(transparent)]
    Payable(#[from] PayableReason),
    #[error(transparent)]
    Installments(#[from] InstallmentsReason),
    #[error(transparent)]
    Claim(#[from] ClaimReason),
    #[error(transparent)]
    Cancel(#[from] CancelReason),
    #[error(transparent)]
    Channel(#[from] ChannelReason),
    #[error(transparent)]
    Propose(#[from] ProposeReason),
    #[error(transparent)]
    Approve(#[from] ApproveReason),
    #[error(transparent)]
    Evidence(#[from] EvidenceReason),
}
