//! A validator that cheats, for tests of what becomes of it: takes the options of `evchain start` that the
//! testnet gives, runs a node, and in every view signs with its key what no honest authority signs.
//!
//! In each view of an epoch of which it is an authority it votes to notarize two blocks that nobody
//! knows, to finalize both, and to nullify the view; where it leads it also proposes a block that
//! nothing justifies. The node itself votes and proposes honestly, which makes for more contradictions.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use evchain_consensus::block::{Block, Payload};
use evchain_consensus::message::{Message, Proposal};
use evchain_node::clock;
use evchain_node::consensus::ConsensusStatus;
use evchain_node::mempool::PoolLimits;
use evchain_node::network::{Multiaddr, NetworkConfig};
use evchain_node::node::{Node, NodeConfig, NodeHandle};
use evchain_node::rpc::{MetricsAt, RpcConfig, RpcServer};
use evchain_node::wallet::Wallet;
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::block::Header;
use evchain_protocol::codec::{List, encode};
use evchain_protocol::crypto::{Hash, KeyPair};
use evchain_protocol::finality::{Justification, ParentProof, Subject, Vote};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::primitives::{Height, View};
use prometheus_client::registry::Registry;

/// How often it looks whether a view has begun.
const POLL: Duration = Duration::from_millis(5);

/// Runs a validator that signs what no honest one signs.
#[derive(Debug, Parser)]
struct Args {
    /// The word `start`, as for the honest program.
    command: String,
    #[arg(long)]
    genesis: PathBuf,
    #[arg(long)]
    wallet: PathBuf,
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    rpc: SocketAddr,
    #[arg(long)]
    metrics: SocketAddr,
    #[arg(long)]
    listen: Vec<Multiaddr>,
    #[arg(long = "peer")]
    peers: Vec<Multiaddr>,
    /// Stops when stdin ends, which it always does.
    #[arg(long)]
    stop_with_stdin: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let args = Args::parse();
    anyhow::ensure!(args.command == "start", "the only command is start");
    let genesis: Genesis = serde_json::from_slice(&std::fs::read(&args.genesis).context("the genesis")?)?;
    let key = Wallet::open(&args.wallet)?.main_key();
    let config = NodeConfig {
        data_dir: args.data,
        genesis,
        key: key.clone(),
        key_file: args.wallet,
        network: NetworkConfig { listen: args.listen, bootstrap: args.peers, ..NetworkConfig::default() },
        pool: PoolLimits::default(),
        observe: false,
        vote_without_log: false,
    };
    let mut registry = Registry::with_prefix("evchain");
    let node = Node::start(config, &mut registry).await?;
    let metrics = MetricsAt::Address(args.metrics);
    let rpc = RpcConfig { listen: args.rpc, metrics, ..RpcConfig::default() };
    let rpc = RpcServer::start(rpc, node.handle(), registry).await?;
    let cheat = tokio::spawn(cheat(node.handle(), key));
    let (ended, stdin) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Dropped when stdin ends or fails, which says so.
        let _ended = ended;
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    });
    let stopped = async move {
        let _ = stdin.await;
        cheat.abort();
        let _ = cheat.await;
        rpc.stop().await;
    };
    Ok(node.run_until(stopped).await?)
}

/// Cheats once in every view in which the key votes.
async fn cheat(node: NodeHandle, key: KeyPair) {
    let mut last = None;
    loop {
        let status = node.consensus.status();
        let place = (status.epoch, status.view);
        if status.votes && last != Some(place) {
            last = Some(place);
            match cheat_in(&node, &key, status) {
                Ok(done) => eprintln!("byzantine: epoch {}, view {}: {done}", status.epoch, status.view),
                Err(error) => eprintln!("byzantine: {error:#}"),
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn cheat_in(node: &NodeHandle, key: &KeyPair, status: ConsensusStatus) -> anyhow::Result<&'static str> {
    let chain = node.chain.reader().chain();
    let authorities = node.chain.reader().authorities()?;
    let index = authorities.set.index_of(&key.public_key()).context("the key is no authority's")?;
    let signer = AuthorityIndex::new(u8::try_from(index)?);
    let vote = |subject: Subject| {
        let signature = key.sign(subject.purpose(), chain, &subject.signed_bytes());
        Vote { subject, signer, signature }
    };
    let send = |message: &Message| -> anyhow::Result<()> {
        Ok(node.network.broadcast_to_authorities(&Arc::from(encode(message)))?)
    };
    let (epoch, view) = (status.epoch, status.view);
    let leads = status.leader == Some(key.public_key());
    if leads {
        let block = unjustified_block(node, key, status)?;
        let vote = vote(Subject::notarize(epoch, view, block.hash()));
        send(&Message::Proposal(Proposal { block, again: None, vote }))?;
    }
    let [one, other] = [1, 2].map(|byte| Hash::from_bytes([byte; Hash::LEN]));
    let subjects = [
        Subject::notarize(epoch, view, one),
        Subject::notarize(epoch, view, other),
        Subject::finalize(epoch, view, one),
        Subject::finalize(epoch, view, other),
        Subject::nullify(epoch, view),
    ];
    for subject in subjects {
        send(&Message::Vote(vote(subject)))?;
    }
    Ok(if leads {
        "proposed what nothing justifies, notarized and finalized two blocks, nullified the view"
    } else {
        "notarized and finalized two blocks, nullified the view"
    })
}

/// A block that claims to follow the epoch's root, as if nothing had happened since.
fn unjustified_block(
    node: &NodeHandle,
    key: &KeyPair,
    status: ConsensusStatus,
) -> anyhow::Result<Arc<Block>> {
    let reader = node.chain.reader();
    let (authorities, tip) = (reader.authorities()?, reader.tip());
    let just = Justification { parent: ParentProof::Root, skips: List::default() };
    let header = Header {
        chain: reader.chain(),
        epoch: status.epoch,
        height: Height::new(tip.height.get() + 1),
        view: status.view,
        parent_hash: tip.hash(),
        parent_view: View::ZERO,
        proposer: key.public_key(),
        time_ms: clock::now(),
        tx_root: Hash::ZERO,
        event_root: Hash::ZERO,
        state_root: Hash::ZERO,
        just_root: just.root(),
        authority_root: authorities.set.root(status.epoch),
        next_authority_root: Hash::ZERO,
    };
    Ok(Arc::new(Block::new(header, just, Payload::default())?))
}
