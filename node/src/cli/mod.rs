//! The command line: what a person does by hand with a node and a wallet.

mod agent;
mod allow_list;
mod args;
mod authority;
mod charge;
pub mod exit;
mod genesis;
mod human;
mod keys;
mod output;
mod produce;
mod query;
mod run;
mod secret;
mod sessions;
mod start;
mod tx;
pub mod values;
mod watch;

pub use args::{Cli, Command, KeyArgs, RpcArgs, WalletArgs};
pub use output::print_json;
pub use run::run;
