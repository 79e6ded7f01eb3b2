use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::light::Checkpoint;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;
use tracing_subscriber::EnvFilter;

use super::allow_list::AllowList;
use super::args::WalletArgs;
use super::exit::UsageError;
use super::genesis;
use super::output::{print_json, print_text};
use crate::mempool::PoolLimits;
use crate::network::{Admission, Multiaddr, NetworkConfig, NetworkLimits};
use crate::node::{Node, NodeConfig, NodeHandle};
use crate::rpc::{MetricsAt, RpcConfig, RpcServer};
use crate::wallet::Wallet;

/// Run a node: a validator if its key is an authority's, else an observer.
///
/// The main key of the wallet is the node's identity on the network and, if it is an authority's, in
/// the consensus. Logs go to stderr; `EVCHAIN_LOG` sets what is logged, as in `debug` or
/// `info,evchain_node::network=debug`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain start --genesis genesis.json --wallet authority.json --data data \\\n      --listen /ip4/0.0.0.0/tcp/9000 --peer /ip4/10.0.0.2/tcp/9000/p2p/12D3KooW...\n  evchain start --config node.toml\n\nThe TOML file can have genesis, wallet, data, listen, announce, peers (for --peer), open, allow,\nallow_file, rpc, metrics, rpc_allow_hosts, rpc_cors, observe, trust and log_json, and the tables network_limits, rpc_limits and mempool. What --listen, --announce and\n--peer name stands in place of the file's lists, --allow, --rpc-allow-host and --rpc-cors are added; of the others the command\nline wins. `wallet`, `genesis` and `data` are relative to the file's folder there."
)]
pub struct StartArgs {
    /// A TOML file with some of these options, as below.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The chain's genesis file.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The node's wallet.
    #[command(flatten)]
    wallet: WalletArgs,
    /// The folder for the node's database.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen for peers; repeat for several [default: /ip4/0.0.0.0/tcp/9000].
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Where an authority tells the others to reach it, such as /ip4/203.0.113.7/tcp/9000; repeat for
    /// several [default: where it listens].
    #[arg(long, value_name = "MULTIADDR")]
    announce: Vec<Multiaddr>,
    /// A peer to stay connected with, ending in /p2p/ and its peer id; repeat for several.
    #[arg(long = "peer", value_name = "MULTIADDR")]
    peers: Vec<Multiaddr>,
    /// Let this key connect, besides authorities, --peer and the keys that the chain has admitted; repeat for
    /// several.
    #[arg(long = "allow", value_name = "ADDRESS", conflicts_with = "open")]
    allow: Vec<PublicKey>,
    /// The same for the keys in this file, one a line; read again on SIGHUP.
    #[arg(long, value_name = "FILE", conflicts_with = "open")]
    allow_file: Option<PathBuf>,
    /// Let anybody connect, within the limits.
    #[arg(long)]
    open: bool,
    /// Where to serve RPC, /health and /metrics [default: 127.0.0.1:9100].
    #[arg(long, value_name = "IP:PORT")]
    rpc: Option<SocketAddr>,
    /// Where to serve /health and /metrics besides, with room of their own [default: the first free
    /// port of 127.0.0.1 from 9101 on].
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// A host name by which clients may call the node, besides localhost and its own addresses; repeat
    /// for several, * for all.
    #[arg(long = "rpc-allow-host", value_name = "HOST")]
    rpc_allow_hosts: Vec<String>,
    /// Web pages that may call the node, by their origin such as `https://wallet.example`; repeat for
    /// several, * for all [default: none].
    #[arg(long = "rpc-cors", value_name = "ORIGIN")]
    rpc_cors: Vec<String>,
    /// Follow the chain and sign nothing, even with an authority's key.
    #[arg(long)]
    observe: bool,
    /// A block that is on the chain, as `evchain query checkpoint` prints it at a node that you trust; repeat
    /// for several. The node refuses a history with another block there, whoever signed it.
    ///
    /// A node that joins, or was away for long, needs one: authorities that have left long ago may have lost
    /// their keys, and whoever has those can sign another history of their time.
    #[arg(long, value_name = "HEIGHT:HASH")]
    trust: Vec<Checkpoint>,
    /// Vote although this database may not hold what the key has signed: it is new, an older copy, or the
    /// record beside the key is gone. Only safe when everything that the key ever signed is final.
    #[arg(long)]
    vote_without_log: bool,
    /// Go on, once, although the consensus has stopped on this database for a reason that stays.
    #[arg(long)]
    after_halt: bool,
    /// Stop when stdin ends, so that the node ends with the program that started it.
    #[arg(long)]
    stop_with_stdin: bool,
    /// Log lines as JSON.
    #[arg(long)]
    log_json: bool,
    /// Say in JSON that the node is ready.
    #[arg(long)]
    json: bool,
}

/// The options in a TOML file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    genesis: Option<PathBuf>,
    wallet: Option<PathBuf>,
    data: Option<PathBuf>,
    listen: Vec<Multiaddr>,
    announce: Vec<Multiaddr>,
    peers: Vec<Multiaddr>,
    allow: Vec<PublicKey>,
    allow_file: Option<PathBuf>,
    open: bool,
    rpc: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    rpc_allow_hosts: Vec<String>,
    rpc_cors: Vec<String>,
    observe: bool,
    trust: Vec<Checkpoint>,
    log_json: bool,
    /// See `docs/network.md`.
    network_limits: NetworkLimits,
    /// See `docs/rpc.md`.
    rpc_limits: RpcConfig,
    /// See `docs/mempool.md`.
    mempool: PoolLimits,
}

impl ConfigFile {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = genesis::read_text(path)?;
        let mut config: Self =
            toml::from_str(&text).map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = [&mut config.genesis, &mut config.wallet, &mut config.data, &mut config.allow_file];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        Ok(config)
    }
}

/// Flags and file together.
struct Settings {
    node: NodeConfig,
    rpc: RpcConfig,
    allow_list: AllowList,
}

impl StartArgs {
    fn settings(self, file: ConfigFile) -> anyhow::Result<Settings> {
        let needed = |name: &str| {
            UsageError(format!("--{name} is needed, on the command line or in the --config file"))
        };
        let genesis_file = self.genesis.or(file.genesis).ok_or_else(|| needed("genesis"))?;
        let data_dir = self.data.or(file.data).ok_or_else(|| needed("data"))?;
        let wallet = WalletArgs { wallet: self.wallet.wallet.or(file.wallet) };
        let key_file = wallet.path()?;
        let either =
            |flags: Vec<Multiaddr>, file: Vec<Multiaddr>| if flags.is_empty() { file } else { flags };
        let mut listen = either(self.listen, file.listen);
        if listen.is_empty() {
            listen.push("/ip4/0.0.0.0/tcp/9000".parse().context("the default address")?);
        }
        let admission = if self.open || file.open { Admission::Open } else { Admission::Members };
        let named: BTreeSet<PublicKey> = self.allow.into_iter().chain(file.allow).collect();
        let (allow_list, allowed) = AllowList::open(self.allow_file.or(file.allow_file), named)?;
        let rpc = RpcConfig {
            listen: self.rpc.or(file.rpc).unwrap_or(RpcConfig::default().listen),
            metrics: self.metrics.or(file.metrics).map_or(MetricsAt::FirstFree, MetricsAt::Address),
            allow_hosts: self.rpc_allow_hosts.into_iter().chain(file.rpc_allow_hosts).collect(),
            cors: self.rpc_cors.into_iter().chain(file.rpc_cors).collect(),
            ..file.rpc_limits
        };
        // Before the node starts, which takes its time.
        rpc.check().map_err(|error| UsageError(error.to_string()))?;
        let node = NodeConfig {
            data_dir,
            genesis: genesis::read(&genesis_file)?,
            key: Wallet::open(&key_file)?.main_key(),
            key_file,
            network: NetworkConfig {
                listen,
                announce: either(self.announce, file.announce),
                bootstrap: either(self.peers, file.peers),
                admission,
                listed: allowed,
                limits: file.network_limits,
                ..NetworkConfig::default()
            },
            pool: file.mempool,
            observe: self.observe || file.observe,
            vote_without_log: self.vote_without_log,
            after_halt: self.after_halt,
            trust: self.trust.into_iter().chain(file.trust).collect(),
        };
        refuse_contradictions(&node.trust)?;
        Ok(Settings { node, rpc, allow_list })
    }
}

/// No chain has two blocks at one height.
fn refuse_contradictions(trust: &[Checkpoint]) -> Result<(), UsageError> {
    let mut blocks = BTreeMap::new();
    for checkpoint in trust {
        let before = blocks.insert(checkpoint.height, checkpoint);
        if let Some(before) = before.filter(|before| before.contradicts(checkpoint.height, &checkpoint.block))
        {
            return Err(UsageError(format!(
                "--trust {before} and --trust {checkpoint} exclude each other: name the one that is right"
            )));
        }
    }
    Ok(())
}

/// Said on stdout once the node serves.
#[derive(Serialize)]
struct Ready {
    rpc: String,
    /// Where /health and /metrics are served besides.
    metrics: Option<String>,
    listen: Vec<String>,
    node: PublicKey,
    chain: String,
    height: u64,
    votes: bool,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// Where it cannot start or go on.
pub(super) async fn run(mut args: StartArgs) -> anyhow::Result<()> {
    let file = args.config.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
    start_log(args.log_json || file.log_json);
    let (json, stop_with_stdin) = (args.json, args.stop_with_stdin);
    args.config = None;
    let Settings { node, rpc, allow_list } = args.settings(file)?;
    // Set up before anything starts, so that a signal during the start is not lost.
    let stop = stopped(stop_with_stdin)?;

    let mut registry = Registry::with_prefix("evchain");
    let node = Node::start(node, &mut registry).await?;
    let rpc = match RpcServer::start(rpc, node.handle(), registry).await {
        Ok(rpc) => rpc,
        Err(error) => {
            node.run_until(std::future::ready(())).await?;
            return Err(error.into());
        }
    };
    let following = AbortOnDropHandle::new(tokio::spawn(allow_list.follow(node.handle().network)));
    say_ready(&node.handle(), &rpc, json).await?;
    // The RPC ends first: the node waits for everybody who talks to its ledger.
    let result = node
        .run_until(async move {
            stop.await;
            drop(following);
            rpc.stop().await;
        })
        .await;
    info!("node: stopped");
    Ok(result?)
}

async fn say_ready(node: &NodeHandle, rpc: &RpcServer, json: bool) -> anyhow::Result<()> {
    let listen = node.network.listen_addresses().await.unwrap_or_default();
    let chain = node.chain.reader();
    let ready = Ready {
        rpc: format!("http://{}", rpc.address()),
        metrics: rpc.metrics_address().map(|address| format!("http://{address}")),
        listen: listen.iter().map(ToString::to_string).collect(),
        node: node.network.local_key(),
        chain: chain.chain().to_string(),
        height: chain.tip().height.get(),
        votes: node.consensus.status().votes,
    };
    info!(rpc = %ready.rpc, node = %ready.node, "node: ready");
    if json {
        return print_json(&ready);
    }
    let role = if ready.votes { "validator" } else { "observer" };
    print_text(&format!("{role} {} of chain {} at height {}", ready.node, ready.chain, ready.height))?;
    print_text(&format!("rpc {}  p2p {}", ready.rpc, ready.listen.join(" ")))?;
    match ready.metrics {
        Some(metrics) => print_text(&format!("health and metrics {metrics}")),
        None => Ok(()),
    }
}

/// Gossipsub warns whenever a transaction comes back to who sent it, which is how gossip works.
const DEFAULT_LOG: &str = "info,libp2p_gossipsub=error";

fn start_log(json: bool) {
    let filter = EnvFilter::try_from_env("EVCHAIN_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A log that is there already, as in a program with several nodes, stays.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// Completes on SIGINT, SIGTERM and, if asked to, on the end of stdin.
fn stopped(with_stdin: bool) -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (ended, stdin) = tokio::sync::oneshot::channel::<()>();
    if with_stdin {
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            // Whether it ends or fails, nobody is there any more: dropping the sender says so.
            let _ended = ended;
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        })?;
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = stdin, if with_stdin => {}
        }
    })
}
