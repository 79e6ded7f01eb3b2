//! Genesis: what a chain starts from. Its hash is the chain's id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authority::{AuthoritySet, AuthoritySetError, MAX_AUTHORITIES};
use crate::block::Header;
use crate::codec::{Decode, Encode, List};
use crate::crypto::{ChainId, Hash, PublicKey, Purpose};
use crate::merkle::MerkleTree;
use crate::params::{BadParam, Params};
use crate::primitives::{Amount, Epoch, Height, OutOfRange, Timestamp, View};
use crate::state::account::{Account, Roles, Standing};
use crate::state::authority::Authorities;
use crate::state::changes::Changes;
use crate::state::key::StateKey;
use crate::state::tree::{DepthTooLarge, Tree, TreeDepth};
use crate::state::value::StateValue;
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
    /// A tree that nobody should have to find the memory for.
    #[error(transparent)]
    TreeDepth(#[from] DepthTooLarge),
}

/// The first block, which nobody proposed: the chain's id, block 0 and the state after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisBlock {
    /// The chain's id.
    pub chain: ChainId,
    /// The header of block 0.
    pub header: Header,
    /// Every entry of the first state.
    pub state: Changes,
    /// The first epoch's authorities.
    pub authorities: AuthoritySet,
    /// All the money that the chain will ever have.
    pub supply: Amount,
}

impl Genesis {
    /// Checks the genesis and makes block 0 of it.
    ///
    /// # Errors
    /// See [`GenesisError`].
    pub fn build(&self) -> Result<GenesisBlock, GenesisError> {
        if self.name.as_str().trim().is_empty() {
            return Err(GenesisError::NoName);
        }
        let authorities = AuthoritySet::new(self.authorities.to_vec())?;
        self.params.validate()?;
        let depth = TreeDepth::new(self.params.state_tree_depth)?;
        let (accounts, supply) = self.open_accounts()?;
        let chain = self.chain_id();
        let state = self.first_state(accounts, authorities.clone());
        let state_root = Tree::empty(depth).unchanged().update(state.to_bytes()).root();
        let header = self.header(chain, authorities.root(Epoch::ZERO), state_root);
        Ok(GenesisBlock { chain, header, state, authorities, supply })
    }

    /// The accounts by key, and their money together.
    fn open_accounts(&self) -> Result<(BTreeMap<PublicKey, Account>, Amount), GenesisError> {
        let mut accounts = BTreeMap::new();
        let mut supply = Amount::ZERO;
        for &GenesisAccount { key, balance, roles } in self.accounts.iter() {
            if !key.is_valid() {
                return Err(GenesisError::InvalidKey(key));
            }
            if accounts.insert(key, Account::new(balance, Standing::Admitted(roles))).is_some() {
                return Err(GenesisError::DuplicateAccount(key));
            }
            supply = supply.checked_add(balance).map_err(|OutOfRange(_)| GenesisError::TooMuchMoney)?;
        }
        for key in self.authorities.iter().chain([&self.treasury]) {
            accounts.entry(*key).or_insert(Account::new(Amount::ZERO, Standing::Admitted(Roles::NONE)));
        }
        Ok((accounts, supply))
    }

    /// The hash over the genesis with its lists in the order of keys.
    fn chain_id(&self) -> ChainId {
        let mut canonical = self.clone();
        canonical.authorities.sort_unstable();
        canonical.accounts.sort_unstable_by_key(|account| account.key);
        ChainId(Hash::of_value(Purpose::Genesis, &canonical))
    }

    fn first_state(&self, accounts: BTreeMap<PublicKey, Account>, set: AuthoritySet) -> Changes {
        let authorities = Authorities::new(Epoch::ZERO, set, Height::new(1), self.params.epoch_length);
        let settings = [
            (StateKey::Params, StateValue::Params(self.params.clone())),
            (StateKey::Treasury, StateValue::Treasury(self.treasury)),
            (StateKey::Authorities, StateValue::Authorities(authorities)),
        ];
        let accounts =
            accounts.into_iter().map(|(key, account)| (StateKey::Account(key), StateValue::Account(account)));
        settings.into_iter().chain(accounts).collect()
    }

    fn header(&self, chain: ChainId, authority_root: Hash, state_root: Hash) -> Header {
        let empty_list = MerkleTree::new::<[u8; 0]>([]).root();
        Header {
            chain,
            epoch: Epoch::ZERO,
            height: Height::ZERO,
            view: View::ZERO,
            parent_hash: Hash::ZERO,
            parent_view: View::ZERO,
            proposer: PublicKey::from_bytes([0; PublicKey::LEN]),
            time_ms: self.time,
            tx_root: empty_list,
            event_root: empty_list,
            state_root,
            just_root: Hash::ZERO,
            authority_root,
            next_authority_root: authority_root,
        }
    }
}
