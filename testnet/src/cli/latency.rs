use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use evchain_node::rpc::RpcClient;
use evchain_node::wallet::{DEFAULT_WAIT, Sender};
use evchain_protocol::primitives::Amount;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::transfer::Transfer;
use serde::Serialize;

use super::args::LatencyArgs;
use super::folder::Folder;
use crate::cluster::{ChainFiles, Cluster, Participant};
use crate::report::{LatencyFigures, Machine, Samples};

/// Transfers before the measurement, so that every connection is there.
const WARM_UP: u32 = 5;

/// What the measurement says.
#[derive(Serialize)]
struct Measurement {
    validators: usize,
    interval_ms: u64,
    latency: LatencyFigures,
    machine: Machine,
}

pub(super) async fn run(args: LatencyArgs) -> anyhow::Result<bool> {
    let folder = Folder::new(args.validators.dir.as_deref())?;
    let result = measure(&args, folder.path()).await;
    folder.finish(result.is_ok());
    let measurement = result?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&measurement)?);
        return Ok(true);
    }
    let Measurement { validators, interval_ms, latency, machine } = measurement;
    println!(
        "{} transfers, one at a time with {interval_ms} ms between, {validators} validators",
        latency.count
    );
    println!(
        "from submission to finality: p50 {} ms, p99 {} ms, max {} ms",
        latency.p50_ms, latency.p99_ms, latency.max_ms
    );
    println!("on {machine}");
    Ok(true)
}

async fn measure(args: &LatencyArgs, dir: &Path) -> anyhow::Result<Measurement> {
    let recipient = Participant { name: "recipient".to_owned(), ..Participant::bank() };
    let files = ChainFiles::create(dir, args.validators.validators, &[Participant::bank(), recipient])?;
    let cluster = Cluster::start(files, &args.validators.options()?).await?;
    let samples = tokio::select! {
        samples = transfers(&cluster, args) => samples,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    cluster.stop().await;
    Ok(Measurement {
        validators: args.validators.validators,
        interval_ms: args.interval_ms,
        latency: samples?.figures().context("nothing was measured")?,
        machine: Machine::this(),
    })
}

async fn transfers(cluster: &Cluster, args: &LatencyArgs) -> anyhow::Result<Samples> {
    let rpc = RpcClient::connect(&cluster.endpoints(0)).await?;
    let sender = Sender::new(rpc, cluster.files().wallet("bank")?.main_key());
    let to = cluster.files().wallet("recipient")?.main_key().public_key();
    let mut samples = Samples::default();
    for round in 0..WARM_UP + args.count {
        let nonce = sender.next_nonce().await?;
        let signed = sender.sign(nonce, Action::Transfer(Transfer { to, amount: Amount::new(1) }));
        let submitted = Instant::now();
        sender.send_signed(&signed, DEFAULT_WAIT).await?;
        if round >= WARM_UP {
            samples.add(u64::try_from(submitted.elapsed().as_millis()).unwrap_or(u64::MAX));
        }
        tokio::time::sleep(Duration::from_millis(args.interval_ms)).await;
    }
    Ok(samples)
}
