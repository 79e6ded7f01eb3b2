use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use clap::{Args, Subcommand};
use evchain_protocol::codec::List;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::genesis::{Genesis, GenesisAccount};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Timestamp};
use evchain_protocol::state::account::Roles;
use evchain_protocol::text::Text;
use serde::Serialize;

use super::exit::UsageError;
use super::human;
use super::output::{print_json, print_text};
use super::values::moment;
use crate::clock;

/// What each transaction costs if nobody says otherwise: EUR 0.0010. Without a fee requests are free, and
/// whoever is admitted can keep every station busy with them (P18 4.2).
const FEE_FLAT: Amount = Amount::new(10);
/// How the parameters' file names it.
const FEE_FLAT_NAME: &str = "fee_flat";

/// The largest genesis file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Make and check what a chain starts from: authorities, money and parameters.
#[derive(Debug, Subcommand)]
pub enum GenesisCommand {
    /// Write a genesis file.
    New(Box<NewGenesis>),
    /// Show what is in a genesis file.
    Show {
        /// The genesis.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check that a chain can start from a genesis file, and print the chain's id.
    Check {
        /// The genesis.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What is to stand in a new genesis.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  evchain genesis new --name salzburg --authority $(evchain keys address) \\\n      --account $(evchain keys address):1000:consumer,producer --out genesis.json"
)]
pub struct NewGenesis {
    /// What people call the chain.
    #[arg(long)]
    name: String,
    /// An authority's address; repeat for each.
    #[arg(long = "authority", value_name = "ADDRESS", required = true)]
    authorities: Vec<PublicKey>,
    /// Where fees go [default: the first authority].
    #[arg(long, value_name = "ADDRESS")]
    treasury: Option<PublicKey>,
    /// A participant with its balance in EUR and its roles; repeat for each.
    #[arg(long = "account", value_name = "ADDRESS:EUR[:ROLE,...]")]
    accounts: Vec<AccountArg>,
    /// The chain's parameters, a JSON file; what it leaves out has its default.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// What each transaction costs, in EUR [default: what --params says, or 0.0010].
    ///
    /// The fee keeps requests from flooding the chain and the stations: with 0 they are free.
    #[arg(long, value_name = "EUR")]
    fee_flat: Option<Amount>,
    /// The time of block 0.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    time: Option<Timestamp>,
    /// The file to write, which must not exist yet.
    #[arg(long, value_name = "FILE", default_value = "genesis.json")]
    out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// `ADDRESS:EUR[:ROLE,...]`.
#[derive(Debug, Clone)]
struct AccountArg(GenesisAccount);

impl FromStr for AccountArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (key, balance, roles) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        let key = key.parse::<PublicKey>().map_err(|error| error.to_string())?;
        let balance = balance.ok_or("write ADDRESS:EUR[:ROLE,...]")?;
        let balance = balance.parse::<Amount>().map_err(|error| error.to_string())?;
        let roles = roles.map_or(Ok(Roles::NONE), roles_of)?;
        Ok(Self(GenesisAccount { key, balance, roles }))
    }
}

/// Reads roles with commas between.
pub(super) fn roles_of(text: &str) -> Result<Roles, String> {
    text.split(',').try_fold(Roles::NONE, |roles, name| {
        Ok(roles.with(name.trim().parse::<Roles>().map_err(|error| error.to_string())?))
    })
}

#[derive(Serialize)]
struct GenesisView {
    chain: String,
    name: String,
    time: Timestamp,
    authorities: usize,
    treasury: PublicKey,
    accounts: usize,
    supply: Amount,
    fee_flat: Amount,
}

/// Runs the command.
///
/// # Errors
/// Where the genesis is not usable, or cannot be read or written.
pub(super) fn run(command: GenesisCommand) -> anyhow::Result<()> {
    match command {
        GenesisCommand::New(args) => new(*args),
        GenesisCommand::Show { file, json } => {
            let genesis = read(&file)?;
            if json { print_json(&genesis) } else { print_text(&human::show(&genesis)?) }
        }
        GenesisCommand::Check { file, json } => check(&read(&file)?, json),
    }
}

fn new(args: NewGenesis) -> anyhow::Result<()> {
    let params = params_of(&args)?;
    let treasury = args.treasury.or(args.authorities.first().copied());
    let genesis = Genesis {
        name: Text::new(args.name).map_err(|error| UsageError(format!("--name: {error}")))?,
        time: args.time.unwrap_or_else(clock::now),
        authorities: List::new(args.authorities)
            .map_err(|error| UsageError(format!("--authority: {error}")))?,
        treasury: treasury.ok_or_else(|| UsageError("a chain needs at least one authority".to_owned()))?,
        params,
        accounts: List::new(args.accounts.into_iter().map(|account| account.0).collect())
            .map_err(|error| UsageError(format!("--account: {error}")))?,
    };
    genesis.build().map_err(|error| UsageError(error.to_string()))?;
    let text = serde_json::to_string_pretty(&genesis)? + "\n";
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).open(&args.out);
    let mut file = opened.with_context(|| format!("cannot create {}", args.out.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    check(&genesis, args.json)
}

fn params_of(args: &NewGenesis) -> anyhow::Result<Params> {
    let (mut params, mut says_fee) = (Params::default(), false);
    if let Some(file) = &args.params {
        let wrong = |error| UsageError(format!("{}: {error}", file.display()));
        let text = read_text(file)?;
        params = serde_json::from_str(&text).map_err(wrong)?;
        let names: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        says_fee = names.get(FEE_FLAT_NAME).is_some();
    }
    if let Some(fee) = args.fee_flat.or((!says_fee).then_some(FEE_FLAT)) {
        params.fee_flat = fee;
    }
    Ok(params)
}

fn check(genesis: &Genesis, json: bool) -> anyhow::Result<()> {
    let block = genesis.build().map_err(|error| UsageError(error.to_string()))?;
    let view = GenesisView {
        chain: block.chain.to_string(),
        name: genesis.name.to_string(),
        time: genesis.time,
        authorities: block.authorities.len(),
        treasury: genesis.treasury,
        accounts: genesis.accounts.len(),
        supply: block.supply,
        fee_flat: genesis.params.fee_flat,
    };
    if json { print_json(&view) } else { print_text(&human::show(&view)?) }
}

/// The genesis in a file.
///
/// # Errors
/// Where it cannot be read or is no genesis.
pub(super) fn read(file: &Path) -> anyhow::Result<Genesis> {
    let text = read_text(file)?;
    serde_json::from_str(&text)
        .map_err(|error| UsageError(format!("{} is no genesis: {error}", file.display())).into())
}

/// A file of at most [`MAX_FILE_BYTES`].
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    let context = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(context)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_FILE_BYTES + 1), &mut text)
        .with_context(context)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(UsageError(format!("{} has more than {MAX_FILE_BYTES} bytes", path.display())).into());
    }
    Ok(text)
}
