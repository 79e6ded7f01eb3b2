//! The command line's top, and the options that commands share.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use super::authority::AuthorityCommand;
use super::charge::ChargeArgs;
use super::genesis::GenesisCommand;
use super::keys::KeysCommand;
use super::produce::ProduceArgs;
use super::query::QueryCommand;
use super::secret::{ChannelStateCommand, SecretCommand};
use super::sessions::SessionsArgs;
use super::start::StartArgs;
use super::tx::TxCommand;
use super::watch::WatchArgs;
use crate::rpc::{Endpoint, RpcClient};
use crate::wallet::{MAIN_KEY, Wallet};

/// A ledger for electric-vehicle charging.
#[derive(Debug, Parser)]
#[command(name = "evchain", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failure or no node reachable, 2 usage, 3 rejected by the ledger, \
4 not found, 5 timed out.";

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)] // each variant's type says what it is
pub enum Command {
    #[command(subcommand)]
    Keys(KeysCommand),
    #[command(subcommand)]
    Genesis(GenesisCommand),
    Start(StartArgs),
    Tx(TxCommand),
    Query(QueryCommand),
    Authority(AuthorityCommand),
    Produce(ProduceArgs),
    Charge(ChargeArgs),
    Watch(WatchArgs),
    Sessions(SessionsArgs),
    #[command(subcommand)]
    Secret(SecretCommand),
    #[command(subcommand)]
    ChannelState(ChannelStateCommand),
}

/// Which nodes to talk to.
#[derive(Debug, Clone, Args)]
pub struct RpcArgs {
    /// A node's RPC; several, repeated or with commas between, are tried in turn.
    #[arg(
        long = "rpc",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9100",
        global = true
    )]
    pub endpoints: Vec<Endpoint>,
}

impl RpcArgs {
    /// A client of these nodes.
    ///
    /// # Errors
    /// Where none answers.
    pub async fn connect(&self) -> anyhow::Result<RpcClient> {
        Ok(RpcClient::connect(&self.endpoints).await?)
    }
}

/// Which wallet.
#[derive(Debug, Clone, Args)]
pub struct WalletArgs {
    /// The wallet's file [default: ~/.evchain/wallet.json].
    #[arg(long, value_name = "FILE", global = true)]
    pub wallet: Option<PathBuf>,
}

impl WalletArgs {
    /// The wallet's file.
    ///
    /// # Errors
    /// Where none is named and there is no home folder.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.wallet {
            return Ok(path.clone());
        }
        let home = std::env::home_dir().context("there is no home folder: name a file with --wallet")?;
        Ok(home.join(".evchain").join("wallet.json"))
    }

    /// The wallet.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(&self) -> anyhow::Result<Wallet> {
        Ok(Wallet::open(&self.path()?)?)
    }
}

/// Which key of a wallet.
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    /// The wallet.
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// The key's index in the wallet: 0 is the main key.
    #[arg(long = "key", value_name = "INDEX", default_value_t = MAIN_KEY, global = true)]
    pub index: u64,
}
