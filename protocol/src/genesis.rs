//! Genesis: what a chain starts from. Its hash is the chain's id.

use serde::{Deserialize, Serialize};

use crate::authority::{AuthoritySetError, MAX_AUTHORITIES};
use crate::codec::{Decode, Encode, List};
use crate::crypto::PublicKey;
use crate::params::{BadParam, Params};
use crate::primitives::{Amount, Timestamp};
use crate::state::account::Roles;
use crate::text::Text;

/// The longest name of a chain, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The most accounts that a genesis can list.
pub const MAX_GENESIS_ACCOUNTS: usize = 200_000;

/// What a chain starts from, as its operators write it in JSON. The order of lists has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What people call the chain.
    pub name: Text<MAX_NAME_BYTES>,
    /// The time of block 0.
    pub time: Timestamp,
    /// The first epoch's authorities. Each gets an account if none is listed for it.
    pub authorities: List<PublicKey, MAX_AUTHORITIES>,
    /// Where fees go. Gets an account if none is listed for it.
    pub treasury: PublicKey,
    /// The chain's parameters.
    #[serde(default)]
    pub params: Params,
    /// The first participants and all of the chain's money.
    pub accounts: List<GenesisAccount, MAX_GENESIS_ACCOUNTS>,
}

/// An account that exists from the start, admitted with its roles.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Whose.
    pub key: PublicKey,
    /// Its money.
    pub balance: Amount,
    /// What it may do; with none it holds and sends money only.
    pub roles: Roles,
}

/// Why no chain can start from a genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A chain that people cannot name.
    #[error("the chain needs a name")]
    NoName,
    /// No set of authorities.
    #[error(transparent)]
    Authorities(#[from] AuthoritySetError),
    /// A key under which nothing can be signed.
    #[error("account {0} is not a usable Ed25519 key")]
    InvalidKey(PublicKey),
    /// Two entries for one key.
    #[error("account {0} is listed twice")]
    DuplicateAccount(PublicKey),
    /// More money than an amount can count.
    #[error("the accounts hold more than {max} together", max = Amount::MAX)]
    TooMuchMoney,
    /// Parameters that no chain can work with.
    #[error(transparent)]
    Params(#[from] BadParam),
}
