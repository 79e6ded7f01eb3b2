use std::path::{Path, PathBuf};

use evchain_protocol::crypto::PublicKey;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::args::UpArgs;
use super::folder::Folder;
use crate::cluster::{ChainFiles, Cluster, ClusterOptions, Participant, Validator};
use crate::report::Table;

/// The participant with money.
const BANK: &str = "bank";

pub(super) async fn run(args: UpArgs) -> anyhow::Result<bool> {
    let options = args.validators.options()?;
    let folder = Folder::new(args.validators.dir.as_deref())?;
    let result = keep(&args, &options, folder.path()).await;
    folder.finish(result.is_ok());
    result.map(|()| true)
}

async fn keep(args: &UpArgs, options: &ClusterOptions, dir: &Path) -> anyhow::Result<()> {
    let count = args.validators.validators;
    let files = if ChainFiles::exist(dir) {
        ChainFiles::open(dir, count)?
    } else {
        ChainFiles::create(dir, count, &[Participant::bank()])?
    };
    // Set up before anything starts, so that a signal during the start is not lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut cluster = tokio::select! {
        started = Cluster::start(files, options) => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    show(&cluster, args.json)?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            Some(incident) = cluster.next_incident() => eprintln!("{incident}"),
        }
    }
    if !args.json {
        eprintln!("stopping the validators");
    }
    cluster.stop().await;
    Ok(())
}

/// A testnet as JSON tells it.
#[derive(Serialize)]
struct Listing<'a> {
    dir: &'a Path,
    genesis: PathBuf,
    /// A wallet with money and every role.
    bank_wallet: PathBuf,
    validators: Vec<ListedValidator<'a>>,
}

#[derive(Serialize)]
struct ListedValidator<'a> {
    number: usize,
    key: PublicKey,
    pid: Option<u32>,
    rpc: String,
    p2p: &'a str,
    log: &'a Path,
    wallet: PathBuf,
}

fn show(cluster: &Cluster, json: bool) -> anyhow::Result<()> {
    let files = cluster.files();
    if json {
        let listed = |validator| list(validator, files);
        let listing = Listing {
            dir: files.dir(),
            genesis: files.genesis_path(),
            bank_wallet: files.wallet_path(BANK),
            validators: cluster.validators().iter().map(listed).collect(),
        };
        println!("{}", serde_json::to_string(&listing)?);
        return Ok(());
    }
    let mut table = Table::new(["validator", "pid", "RPC", "p2p address", "log"]).left(5);
    for validator in cluster.validators() {
        table.row([
            validator.number.to_string(),
            validator.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            format!("{}/", validator.rpc),
            validator.p2p.clone(),
            validator.log.display().to_string(),
        ]);
    }
    print!("{table}");
    let first = &cluster.validators()[0].rpc;
    println!("  genesis: {}", files.genesis_path().display());
    println!("  a wallet with money and every role: {}", files.wallet_path(BANK).display());
    println!("  try: evchain query status --rpc {first}");
    println!("Ctrl-C stops all of it.");
    Ok(())
}

fn list<'a>(validator: &'a Validator, files: &ChainFiles) -> ListedValidator<'a> {
    ListedValidator {
        number: validator.number,
        key: validator.key,
        pid: validator.pid(),
        rpc: validator.rpc.to_string(),
        p2p: &validator.p2p,
        log: &validator.log,
        wallet: files.validator_wallet_path(validator.number),
    }
}
