//! What executing a block did, for those who follow the chain.
//!
//! Each movement of money and each change of an object is one event. A block's header commits to
//! its events in order; a leaf of that tree is the encoding of an [`EventRecord`].

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::{Hash, PublicKey};
use crate::finality::OffenceKind;
use crate::governance::Change;
use crate::payment::InstallmentCount;
use crate::primitives::{Amount, Epoch, Height, RegionId, Timestamp, TxRef, View, Window};
use crate::state::account::Roles;
use crate::tagged_enum;

/// An event and what caused it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct EventRecord {
    /// The transaction, or none where a deadline passed.
    pub transaction: Option<TxRef>,
    /// What happened.
    pub event: Event,
}

/// Something that happened on the chain. Objects are named by the transaction that made them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields are those of the objects in `state`
pub enum Event {
    /// A transaction's fee went to the treasury.
    FeePaid { payer: PublicKey, amount: Amount },
    /// Money went from one account to another.
    Transferred { from: PublicKey, to: PublicKey, amount: Amount },
    /// A first payment made an account a sponsored consumer.
    Sponsored { account: PublicKey, sponsor: PublicKey },
    /// An authority admitted a participant, for the first time or with more roles.
    Admitted { account: PublicKey, roles: Roles, withdraw_to: Option<PublicKey>, authority: PublicKey },
    /// A vote revoked a participant.
    Revoked { account: PublicKey, withdraw_to: PublicKey },
    /// A producer wrote its station's record, for the first time or anew.
    StationRecorded { producer: PublicKey, region: RegionId },
    /// A consumer asked for energy.
    Requested { request: TxRef, consumer: PublicKey, region: RegionId, window: Window },
    /// A producer bid, or lowered its bid.
    BidPlaced { request: TxRef, producer: PublicKey, price: Amount },
    /// A consumer decided.
    Committed { request: TxRef, commitment: Hash },
    /// A request's window ended: it, its bids and its commitment left the state.
    RequestEnded { request: TxRef, bids: u32 },
    /// Money was locked behind a hash.
    Locked { lock: TxRef, payer: PublicKey, payee: PublicKey, amount: Amount, deadline: Timestamp },
    /// A lock's payee showed the preimage and got the money.
    LockClaimed { lock: TxRef, payee: PublicKey, amount: Amount },
    /// A lock's deadline passed and the payer got the money back.
    LockRefunded { lock: TxRef, payer: PublicKey, amount: Amount },
    /// A price was locked in installments.
    PaymentLocked {
        payment: TxRef,
        request: TxRef,
        consumer: PublicKey,
        producer: PublicKey,
        price: Amount,
        installments: InstallmentCount,
    },
    /// The producer claimed installments, the highest of which is `up_to`.
    InstallmentsClaimed { payment: TxRef, producer: PublicKey, up_to: u32, installments: u32, amount: Amount },
    /// The deposit went to the producer at the window's start.
    DepositForfeited { payment: TxRef, producer: PublicKey, amount: Amount },
    /// Installments passed their deadlines and the consumer got the money back. The highest of
    /// them is `up_to`.
    InstallmentsRefunded {
        payment: TxRef,
        consumer: PublicKey,
        up_to: u32,
        installments: u32,
        amount: Amount,
    },
    /// The consumer cancelled a payment and got all of it back.
    PaymentCancelled { payment: TxRef, consumer: PublicKey, amount: Amount },
    /// A payment's last installment was settled.
    PaymentEnded { payment: TxRef },
    /// Collateral was locked in a channel.
    ChannelOpened {
        channel: TxRef,
        request: TxRef,
        consumer: PublicKey,
        producer: PublicKey,
        price: Amount,
        installments: InstallmentCount,
        deadline: Timestamp,
    },
    /// A state was posted, for a forced close or against one.
    ChannelPosted { channel: TxRef, by: PublicKey, released: u32, until: Timestamp },
    /// A channel paid out.
    ChannelClosed {
        channel: TxRef,
        producer: PublicKey,
        consumer: PublicKey,
        released: u32,
        to_producer: Amount,
        to_consumer: Amount,
    },
    /// The consumer cancelled a channel and got all of the collateral back.
    ChannelCancelled { channel: TxRef, consumer: PublicKey, amount: Amount },
    /// An authority proposed a change, and so approved it.
    Proposed { proposal: TxRef, authority: PublicKey, change: Change },
    /// Another authority approved a proposal.
    Approved { proposal: TxRef, authority: PublicKey },
    /// Enough authorities approved, and the change holds from the next block on.
    ProposalPassed { proposal: TxRef, change: Change },
    /// Enough authorities approved, but the change no longer fits what is to be by then.
    ProposalFailed { proposal: TxRef, change: Change },
    /// A proposal left undecided: its time was over, or its proposer no authority any more.
    ProposalExpired { proposal: TxRef, change: Change },
    /// Somebody proved that an authority signed what no honest one signs.
    OffenceRecorded {
        authority: PublicKey,
        epoch: Epoch,
        view: View,
        offence: OffenceKind,
        reporter: PublicKey,
    },
    /// An authority is none from the next block on.
    AuthorityLeft { authority: PublicKey },
    /// A new authority is one from the next block on.
    AuthorityJoined { authority: PublicKey },
    /// The block is its epoch's last; the next one has these blocks.
    EpochStarted { epoch: Epoch, first: Height, last: Height },
    /// A revoked account's balance went to its withdrawal account.
    Withdrawn { from: PublicKey, to: PublicKey, amount: Amount },
    /// A vote gave a participant exactly these roles.
    RolesSet { account: PublicKey, roles: Roles },
}

tagged_enum!(Event {
    0 => FeePaid { payer: PublicKey, amount: Amount },
    1 => Transferred { from: PublicKey, to: PublicKey, amount: Amount },
    2 => Sponsored { account: PublicKey, sponsor: PublicKey },
    3 => Admitted { account: PublicKey, roles: Roles, withdraw_to: Option<PublicKey>, authority: PublicKey },
    4 => Revoked { account: PublicKey, withdraw_to: PublicKey },
    5 => StationRecorded { producer: PublicKey, region: RegionId },
    6 => Requested { request: TxRef, consumer: PublicKey, region: RegionId, window: Window },
    7 => BidPlaced { request: TxRef, producer: PublicKey, price: Amount },
    8 => Committed { request: TxRef, commitment: Hash },
    9 => RequestEnded { request: TxRef, bids: u32 },
    10 => Locked { lock: TxRef, payer: PublicKey, payee: PublicKey, amount: Amount, deadline: Timestamp },
    11 => LockClaimed { lock: TxRef, payee: PublicKey, amount: Amount },
    12 => LockRefunded { lock: TxRef, payer: PublicKey, amount: Amount },
    13 => PaymentLocked {
        payment: TxRef, request: TxRef, consumer: PublicKey, producer: PublicKey, price: Amount,
        installments: InstallmentCount
    },
    14 => InstallmentsClaimed {
        payment: TxRef, producer: PublicKey, up_to: u32, installments: u32, amount: Amount
    },
    15 => DepositForfeited { payment: TxRef, producer: PublicKey, amount: Amount },
    16 => InstallmentsRefunded {
        payment: TxRef, consumer: PublicKey, up_to: u32, installments: u32, amount: Amount
    },
    17 => PaymentCancelled { payment: TxRef, consumer: PublicKey, amount: Amount },
    18 => PaymentEnded { payment: TxRef },
    19 => ChannelOpened {
        channel: TxRef, request: TxRef, consumer: PublicKey, producer: PublicKey, price: Amount,
        installments: InstallmentCount, deadline: Timestamp
    },
    20 => ChannelPosted { channel: TxRef, by: PublicKey, released: u32, until: Timestamp },
    21 => ChannelClosed {
        channel: TxRef, producer: PublicKey, consumer: PublicKey, released: u32, to_producer: Amount,
        to_consumer: Amount
    },
    22 => ChannelCancelled { channel: TxRef, consumer: PublicKey, amount: Amount },
    23 => Proposed { proposal: TxRef, authority: PublicKey, change: Change },
    24 => Approved { proposal: TxRef, authority: PublicKey },
    25 => ProposalPassed { proposal: TxRef, change: Change },
    26 => ProposalFailed { proposal: TxRef, change: Change },
    27 => ProposalExpired { proposal: TxRef, change: Change },
    28 => OffenceRecorded {
        authority: PublicKey, epoch: Epoch, view: View, offence: OffenceKind, reporter: PublicKey
    },
    29 => AuthorityLeft { authority: PublicKey },
    30 => AuthorityJoined { authority: PublicKey },
    31 => EpochStarted { epoch: Epoch, first: Height, last: Height },
    32 => Withdrawn { from: PublicKey, to: PublicKey, amount: Amount },
    33 => RolesSet { account: PublicKey, roles: Roles },
});
