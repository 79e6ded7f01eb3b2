use clap::{Args, Subcommand};
use serde_json::json;

use super::args::RpcArgs;
use super::human;
use super::output::{print_json, print_text};
use crate::rpc::{NodeApiClient, RpcError};

/// Look at who runs the chain. `tx propose-add`, `tx propose-remove` and `tx approve` change it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  evchain authority list")]
pub struct AuthorityCommand {
    /// The nodes.
    #[command(flatten)]
    rpc: RpcArgs,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// What to do.
    #[command(subcommand)]
    what: What,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum What {
    /// List the authorities of the current epoch, with the offences recorded against each.
    List,
}

/// Runs the command.
///
/// # Errors
/// Where no node answers.
pub(super) async fn run(command: AuthorityCommand) -> anyhow::Result<()> {
    let What::List = command.what;
    let rpc = command.rpc.connect().await?;
    let now = rpc.authorities().await.map_err(RpcError::from)?;
    let offences = rpc.evidence().await.map_err(RpcError::from)?;
    let list: Vec<_> = (0_usize..)
        .zip(&now.keys)
        .map(|(index, key)| {
            let offences = offences.iter().filter(|offence| offence.authority == *key).count();
            json!({ "index": index, "authority": key, "offences": offences })
        })
        .collect();
    if command.json {
        return print_json(&list);
    }
    print_text(&format!(
        "epoch {}, blocks {} to {}: {} votes decide",
        now.epoch, now.first_height, now.last_height, now.quorum
    ))?;
    print_text(&human::show(&list)?)
}
