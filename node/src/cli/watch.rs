use std::path::PathBuf;

use clap::Args;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::Span;

use super::agent::{exit_error, progress, stop_on_signals};
use super::args::{KeyArgs, RpcArgs};
use super::output::{print_json, print_text};
use super::values::span;
use crate::agents::watchtower::{self, WatchConfig};
use crate::network::Multiaddr;

/// Answer for producers that are away: a watchtower.
///
/// Holds for each channel under guard the newest state that both sides signed, and brings it to the
/// chain when an older one is posted, or before the channel's deadline. It can pay nobody else than
/// the two agreed on, and needs money for fees only. Producers name it by `evchain produce
/// --watchtower`. Runs until Ctrl-C, and goes on after a crash where it was.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain watch --wallet tower.json --listen /ip4/0.0.0.0/tcp/9800\n  evchain watch --wallet tower.json --listen /ip4/0.0.0.0/tcp/9800 --allow evc1...,evc1..."
)]
pub struct WatchArgs {
    /// Where producers connect to; port 0: the system chooses.
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/0")]
    listen: Multiaddr,
    /// What producers are told, if they reach it at another address.
    #[arg(long, value_name = "MULTIADDR")]
    advertise: Option<Multiaddr>,
    /// The folder for what it must not forget [default: beside the wallet].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Work for these producers only [default: for everyone with a channel on the chain].
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    allow: Vec<PublicKey>,
    /// How long before a channel's deadline it posts what nobody closed; at most the challenge period.
    #[arg(long, value_parser = span, default_value = "2m", value_name = "SPAN")]
    lead: Span,
    /// The most channels under guard.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_channels: u32,
    /// The most channels of one producer.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_channels_per_producer: u32,
    /// Print what it did as JSON at the end.
    #[arg(long)]
    json: bool,
    /// The tower's key, which pays the fees.
    #[command(flatten)]
    key: KeyArgs,
    /// The nodes.
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(args: WatchArgs) -> anyhow::Result<()> {
    let wallet = args.key.wallet.open()?;
    let state = args.state.unwrap_or_else(|| wallet.path().with_extension("watchtower"));
    let rpc = args.rpc.connect().await?;
    let mut config = WatchConfig::new(state, args.listen);
    config.advertise = args.advertise;
    config.allow = (!args.allow.is_empty()).then(|| args.allow.into_iter().collect());
    config.policy.lead = args.lead;
    config.policy.max_channels = args.max_channels as usize;
    config.policy.max_channels_per_client = args.max_channels_per_producer as usize;
    let stop = stop_on_signals()?;
    let report = watchtower::run(config, rpc, wallet.key(args.key.index), progress(), stop).await;
    let report = report.map_err(exit_error)?;
    if args.json {
        return print_json(&report);
    }
    print_text(&format!(
        "taken under guard: {}, posted: {}, ended: {}, still guarded: {}",
        report.taken, report.posted, report.ended, report.guarded
    ))
}
