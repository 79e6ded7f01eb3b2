//! Accounts: money, order of transactions, and what the owner may do.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::flags::flag_set;
use crate::primitives::{Amount, Nonce, TxRef};
use crate::tagged_enum;

flag_set!(
    /// What an admitted participant may do.
    Roles {
        /// Ask for energy and pay for it.
        CONSUMER = 0 => "consumer",
        /// Bid for requests and be paid.
        PRODUCER = 1 => "producer",
        /// Read what is not public. Nothing on the chain itself asks for this role.
        AUDITOR = 2 => "auditor",
    }
);

/// Why and how far an account may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// By an authority, with these roles.
    Admitted(Roles),
    /// As a consumer, by who first paid it: how a fresh zeta gets in.
    Sponsored(PublicKey),
    /// No longer, by a vote: it may only settle what is open, and withdraw what it has (A7).
    Revoked,
}

tagged_enum!(Standing { 0 => Admitted(Roles), 1 => Sponsored(PublicKey), 2 => Revoked });

impl Standing {
    /// Whether it may ask for energy.
    pub const fn is_consumer(&self) -> bool {
        match self {
            Self::Admitted(roles) => roles.contains(Roles::CONSUMER),
            Self::Sponsored(_) => true,
            Self::Revoked => false,
        }
    }

    /// Whether it may offer energy.
    pub const fn is_producer(&self) -> bool {
        matches!(self, Self::Admitted(roles) if roles.contains(Roles::PRODUCER))
    }

    /// Whether it was shut out.
    pub const fn is_revoked(&self) -> bool {
        matches!(self, Self::Revoked)
    }
}

/// What the chain keeps about a public key. It is never removed: its nonce guards for ever against
/// replays of what it signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Account {
    /// Money at its free disposal.
    pub balance: Amount,
    /// The nonce that its next transaction must have.
    pub nonce: Nonce,
    /// What it may do.
    pub standing: Standing,
    /// The one account that its balance can go to if it is revoked, as its admission or the vote named it
    /// (A5, D2). A revoked account has one. A sponsored one's is its sponsor, which does not stand here.
    pub withdraw_to: Option<PublicKey>,
    /// How many of its requests are in the state (B1).
    pub open_requests: u32,
    /// Its newest request, which a commitment decides (B1, B9), until that leaves the state.
    pub newest_request: Option<TxRef>,
}

impl Account {
    /// An account that has not done anything yet.
    pub const fn new(balance: Amount, standing: Standing) -> Self {
        Self {
            balance,
            nonce: Nonce::ZERO,
            standing,
            withdraw_to: None,
            open_requests: 0,
            newest_request: None,
        }
    }

    /// Where its balance can go if it is revoked: a sponsored consumer's to its sponsor.
    pub const fn withdrawal_account(&self) -> Option<PublicKey> {
        match self.standing {
            Standing::Sponsored(sponsor) => Some(sponsor),
            Standing::Admitted(_) | Standing::Revoked => self.withdraw_to,
        }
    }
}
