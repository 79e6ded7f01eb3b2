use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use evchain_protocol::primitives::Span;
use evchain_protocol::session::WantedLeads;

use super::agent::{exit_error, progress, stop_on_signals};
use super::args::{KeyArgs, RpcArgs};
use super::exit::UsageError;
use super::genesis::read_text;
use super::output::{print_json, print_text};
use super::values;
use crate::agents::producer::{self, ProducerConfig, ProducerTariff};
use crate::network::Multiaddr;

/// Sell energy: bid for requests by a tariff, take sessions, and collect the money.
///
/// Runs until Ctrl-C. What it must not forget is in the state folder, so that it goes on after a
/// crash. Its meter is simulated.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain produce --example-tariff > tariff.toml\n  evchain produce --tariff tariff.toml --wallet station.json --listen /ip4/0.0.0.0/tcp/9700\n  evchain produce --tariff tariff.toml --listen /ip4/0.0.0.0/tcp/9700 --advertise /ip4/203.0.113.7/tcp/9700"
)]
pub struct ProduceArgs {
    /// Print a tariff file with an explanation of each line, and do nothing else.
    #[arg(long)]
    example_tariff: bool,
    /// The tariff file.
    #[arg(long, value_name = "FILE", required_unless_present = "example_tariff")]
    tariff: Option<PathBuf>,
    /// Where consumers connect to; port 0: the system chooses.
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/0")]
    listen: Multiaddr,
    /// What consumers are told, if they reach it at another address.
    #[arg(long, value_name = "MULTIADDR")]
    advertise: Option<Multiaddr>,
    /// The watchtower that answers for its channels while it is away: the address that `evchain watch`
    /// prints.
    #[arg(long, value_name = "MULTIADDR")]
    watchtower: Option<Multiaddr>,
    /// The folder for what it must not forget [default: beside the wallet].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How many times as fast as in reality the simulated meter counts.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    speed: u32,
    /// How long before its deadline an installment is taken at the latest [default: what suits the chain].
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    claim_lead: Option<Span>,
    /// How long before a deadline money is collected at the latest [default: what suits the chain].
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    settle_lead: Option<Span>,
    /// Print what it did as JSON at the end.
    #[arg(long)]
    json: bool,
    /// The producer's key.
    #[command(flatten)]
    key: KeyArgs,
    /// The nodes.
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(args: ProduceArgs) -> anyhow::Result<()> {
    if args.example_tariff {
        return print_text(ProducerTariff::EXAMPLE.trim_end());
    }
    let path = args.tariff.context("name a tariff file")?;
    let text = read_text(&path)?;
    let tariff = ProducerTariff::from_toml(&text)
        .map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
    let wallet = args.key.wallet.open()?;
    let state = args.state.unwrap_or_else(|| wallet.path().with_extension("agent"));
    let rpc = args.rpc.connect().await?;
    let mut config = ProducerConfig::new(tariff, state, args.listen);
    config.advertise = args.advertise;
    config.watchtower = args.watchtower;
    config.speed = args.speed;
    config.leads = WantedLeads { claim: args.claim_lead, settle: args.settle_lead };
    let stop = stop_on_signals()?;
    let report = producer::run(config, rpc, wallet.key(args.key.index), progress(), stop).await;
    let report = report.map_err(exit_error)?;
    if args.json {
        return print_json(&report);
    }
    let unfinished = match report.unfinished {
        0 => String::new(),
        left => format!(", {left} to go on with at the next start"),
    };
    print_text(&format!("bids: {}, sessions: {}{unfinished}", report.bids, report.sessions))
}
