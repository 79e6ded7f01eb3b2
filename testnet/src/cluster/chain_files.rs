use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use evchain_node::clock;
use evchain_node::wallet::Wallet;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::genesis::{Genesis, GenesisAccount};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Span};
use evchain_protocol::state::account::Roles;
use evchain_protocol::text::Text;

use super::error::ClusterError;

/// Depth of the state's tree: the scenarios have few accounts, and each validator holds the inner
/// hashes in memory.
const TREE_DEPTH: u8 = 14;
/// What each transaction costs: EUR 0.0010.
const FEE: Amount = Amount::new(10);
/// How long claims have after their slice of a window. In reality minutes; here everything is compressed.
const CLAIM_MARGIN: Span = Span::new(30_000);
/// The shortest challenge period.
const MIN_CHALLENGE: Span = Span::new(5_000);
/// What the bank has: EUR 1,000,000.
const BANK_BALANCE: Amount = Amount::new(10_000_000_000);

/// Who has an account from the first block on, and a wallet in the testnet's folder.
#[derive(Debug, Clone)]
pub struct Participant {
    /// The name of its wallet's file.
    pub name: String,
    /// What it may do.
    pub roles: Roles,
    /// What it has.
    pub balance: Amount,
}

impl Participant {
    /// Who has money to give away.
    pub fn bank() -> Self {
        let roles = [Roles::CONSUMER, Roles::PRODUCER].into_iter().fold(Roles::NONE, Roles::with);
        Self { name: "bank".to_owned(), roles, balance: BANK_BALANCE }
    }
}

/// The files of a testnet's chain: its genesis, and a folder for each validator.
#[derive(Debug)]
pub struct ChainFiles {
    dir: PathBuf,
    genesis: Genesis,
    validators: Vec<PublicKey>,
}

impl ChainFiles {
    /// Makes a new chain in a folder that has none.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn create(dir: &Path, validators: usize, participants: &[Participant]) -> Result<Self, ClusterError> {
        Self::create_with(dir, validators, participants, |_| {})
    }

    /// The same with other parameters.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn create_with(
        dir: &Path,
        validators: usize,
        participants: &[Participant],
        change: impl FnOnce(&mut Params),
    ) -> Result<Self, ClusterError> {
        let path = dir.join("genesis.json");
        if path.exists() {
            let reason = "it holds a chain already; name another folder".to_owned();
            return Err(ClusterError::Folder { path: dir.to_owned(), reason });
        }
        let validators = (1..=validators)
            .map(|number| {
                let wallet = Wallet::create(&wallet_of_validator(dir, number))?;
                Ok(wallet.main_key().public_key())
            })
            .collect::<Result<Vec<_>, ClusterError>>()?;
        let treasury = Wallet::create(&wallet_path(dir, "treasury"))?.main_key().public_key();
        let accounts = participants
            .iter()
            .map(|participant| {
                let wallet = Wallet::create(&wallet_path(dir, &participant.name))?;
                let key = wallet.main_key().public_key();
                Ok(GenesisAccount { key, balance: participant.balance, roles: participant.roles })
            })
            .collect::<Result<Vec<_>, ClusterError>>()?;
        let mut params = params();
        change(&mut params);
        let genesis = Genesis {
            name: text("evchain testnet", dir)?,
            time: clock::now(),
            authorities: list(validators.clone(), dir)?,
            treasury,
            params,
            accounts: list(accounts, dir)?,
        };
        genesis.build()?;
        let json = serde_json::to_string_pretty(&genesis).map_err(|error| unusable(dir, &error))?;
        fs::write(&path, json + "\n").map_err(ClusterError::io("write", path))?;
        Ok(Self { dir: dir.to_owned(), genesis, validators })
    }

    /// The chain that a folder holds.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn open(dir: &Path, validators: usize) -> Result<Self, ClusterError> {
        let path = dir.join("genesis.json");
        let json = fs::read_to_string(&path).map_err(ClusterError::io("read", path))?;
        let genesis: Genesis = serde_json::from_str(&json).map_err(|error| unusable(dir, &error))?;
        genesis.build()?;
        if genesis.authorities.len() != validators {
            let reason = format!("its chain has {} validators; say so", genesis.authorities.len());
            return Err(ClusterError::Folder { path: dir.to_owned(), reason });
        }
        let keys = (1..=validators)
            .map(|number| Ok(Wallet::open(&wallet_of_validator(dir, number))?.main_key().public_key()))
            .collect::<Result<Vec<_>, ClusterError>>()?;
        Ok(Self { dir: dir.to_owned(), genesis, validators: keys })
    }

    /// Whether a folder holds a chain.
    pub fn exist(dir: &Path) -> bool {
        dir.join("genesis.json").exists()
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the chain starts from.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Everybody who has an account from the first block on, or can get one by being an authority.
    pub fn accounts(&self) -> BTreeSet<PublicKey> {
        let Genesis { accounts, authorities, treasury, .. } = &self.genesis;
        let first = accounts.iter().map(|account| account.key);
        first.chain(authorities.iter().copied()).chain([*treasury]).collect()
    }

    /// The file of it.
    pub fn genesis_path(&self) -> PathBuf {
        self.dir.join("genesis.json")
    }

    /// Makes a key for one more validator, and gives its number. It is no authority yet.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn add_validator(&mut self) -> Result<usize, ClusterError> {
        let number = self.validators.len() + 1;
        let wallet = Wallet::create(&wallet_of_validator(&self.dir, number))?;
        self.validators.push(wallet.main_key().public_key());
        Ok(number)
    }

    /// The validators' keys, those that joined later last.
    pub fn validators(&self) -> &[PublicKey] {
        &self.validators
    }

    /// The wallet of a participant.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn wallet(&self, participant: &str) -> Result<Wallet, ClusterError> {
        Ok(Wallet::open(&wallet_path(&self.dir, participant))?)
    }

    /// Where a participant's wallet is.
    pub fn wallet_path(&self, participant: &str) -> PathBuf {
        wallet_path(&self.dir, participant)
    }

    /// Where a validator's key is; numbers count from 1.
    pub fn validator_wallet_path(&self, number: usize) -> PathBuf {
        wallet_of_validator(&self.dir, number)
    }

    /// Where a validator's database is.
    pub fn validator_data_dir(&self, number: usize) -> PathBuf {
        self.validator_dir(number).join("data")
    }

    /// A validator's folder.
    pub fn validator_dir(&self, number: usize) -> PathBuf {
        validator_dir(&self.dir, number)
    }
}

fn validator_dir(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("validator-{number}"))
}

fn wallet_of_validator(dir: &Path, number: usize) -> PathBuf {
    validator_dir(dir, number).join("wallet.json")
}

fn wallet_path(dir: &Path, name: &str) -> PathBuf {
    dir.join("wallets").join(format!("{name}.json"))
}

fn params() -> Params {
    Params {
        fee_flat: FEE,
        claim_margin: CLAIM_MARGIN,
        min_challenge: MIN_CHALLENGE,
        state_tree_depth: TREE_DEPTH,
        ..Params::default()
    }
}

fn list<T, const MAX: usize>(items: Vec<T>, dir: &Path) -> Result<List<T, MAX>, ClusterError> {
    List::new(items).map_err(|error| unusable(dir, &error))
}

fn text<const MAX: usize>(text: &str, dir: &Path) -> Result<Text<MAX>, ClusterError> {
    Text::new(text).map_err(|error| unusable(dir, &error))
}

fn unusable(dir: &Path, error: &impl ToString) -> ClusterError {
    ClusterError::Folder { path: dir.to_owned(), reason: error.to_string() }
}
