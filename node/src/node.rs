//! A running node: its tasks, wired.

use std::path::PathBuf;
use std::time::Duration;

use evchain_consensus::authority_set::Committee;
use evchain_consensus::config::ConfigError;
use evchain_consensus::epochs::Epochs;
use evchain_consensus::wal::{LogRecord, Recovered, RecoveryError};
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::light::Checkpoint;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Height, View};
use evchain_protocol::state::account;
use evchain_protocol::state::authority::Authorities;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use crate::chain::{BlockLimits, ChainHandle, ChainReader, OpenError, OpenedChain};
use crate::consensus::{
    ConsensusHandle, ConsensusLog, EpochTurn, EventLoop, GossipedFinalization, Halted, Proposer,
    RecoveredLog, Serving, Standing, VotingError, VotingRight, take_frames, timing,
};
use crate::evidence::{EvidenceBook, EvidenceMetrics, Reporter};
use crate::gossip;
use crate::known_addresses::KnownAddresses;
use crate::mempool::{self, MempoolHandle, PoolLimits};
use crate::network::{
    self, GossipMessage, Members, NetworkConfig, NetworkEvent, NetworkEvents, NetworkHandle, NetworkMetrics,
    Topic,
};
use crate::store::StoreError;
use crate::store::tables::HaltNote;

/// Gossip messages with transactions that wait to be judged.
const GOSSIP_QUEUE: usize = 256;
/// How long a stopping node waits for its ledger's thread.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a node needs to start.
#[derive(Debug)]
pub struct NodeConfig {
    /// Where the database lies.
    pub data_dir: PathBuf,
    /// The chain.
    pub genesis: Genesis,
    /// Who the node is on the network and, if this is an authority's, in the consensus.
    pub key: KeyPair,
    /// The file that the key is from, beside which it is noted that it has voted.
    pub key_file: PathBuf,
    /// The network, but for its members, whom the node knows from the chain.
    pub network: NetworkConfig,
    /// The limits of the mempool.
    pub pool: PoolLimits,
    /// Follow the chain and sign nothing, whatever the key is.
    pub observe: bool,
    /// Vote although the consensus log may not hold what the key has signed. Only safe when everything
    /// that the key ever signed is final.
    pub vote_without_log: bool,
    /// Go on although the consensus has stopped on this database before.
    pub after_halt: bool,
    /// Blocks that are on the chain, by the operator's word, whoever signs another history.
    pub trust: Vec<Checkpoint>,
}

/// Why a node did not start or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The chain's folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The consensus log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The consensus log does not fit.
    #[error(
        "the consensus log cannot be used: {0}. Remove the data folder, or restore a backup: the node then catches up, and observes until the epoch is over in which its key has voted last"
    )]
    Recovery(#[from] RecoveryError),
    /// The chain's timing parameters.
    #[error("the chain's timing parameters cannot work: {0}")]
    Timing(#[from] ConfigError),
    /// The network.
    #[error(transparent)]
    Network(#[from] network::StartError),
    /// Whether the key may vote is not known.
    #[error("{0}. A node that is to follow the chain only starts with --observe")]
    Vote(#[from] VotingError),
    /// The consensus has stopped before.
    #[error(
        "the consensus stopped on this database at {at} ms: {reason}. This node votes on nothing until you know why: compare its chain with other operators' (`evchain query checkpoint HEIGHT` at each). If this chain is the right one start once with --after-halt; if not, remove the data folder and start with --trust HEIGHT:HASH"
    )]
    HaltedBefore {
        /// Why, as it was said then.
        reason: String,
        /// When, in ms since the Unix epoch.
        at: u64,
    },
    /// A folder could not be made.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The ledger's thread stopped.
    #[error("the ledger stopped: {0}")]
    Ledger(String),
    /// The consensus stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
}

/// Talks to a node's tasks. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    /// The ledger.
    pub chain: ChainHandle,
    /// Waiting transactions.
    pub mempool: MempoolHandle,
    /// The peers.
    pub network: NetworkHandle,
    /// The engine.
    pub consensus: ConsensusHandle,
}

/// A running node.
pub struct Node {
    handle: NodeHandle,
    ledger_failure: watch::Receiver<Option<String>>,
    consensus: JoinHandle<Halted>,
    serving_ended: oneshot::Receiver<()>,
    /// Tasks that end with the node.
    others: JoinSet<()>,
}

impl Node {
    /// Starts a node's tasks. Must be called within a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(config: NodeConfig, registry: &mut Registry) -> Result<Self, NodeError> {
        let opened = open(&config)?;
        let chain_id = opened.reader.chain();
        info!(chain = %chain_id, height = %opened.tip.height, key = %config.key.public_key(), "node: opened the chain");

        let params = opened.reader.params().map_err(OpenError::Store)?;
        let RecoveredLog { mut log, records } = ConsensusLog::open(opened.store())?;
        refuse_after_halt(&log, config.after_halt)?;
        let right = right(&config, &opened, &mut log, &records)?;
        let NodeConfig { key, network, pool, .. } = config;
        let engine = engine(&opened, &params, key.clone(), records, right.may_vote())?;

        let metrics = NetworkMetrics::registered(registry);
        let network = NetworkConfig { members: members(opened.reader.clone()), ..network };
        let (network, mut events) = network::start(network, chain_id, &key, metrics)?;
        let addresses = link(&opened, &network).await?;

        let mut others = JoinSet::new();
        let (mempool, mempool_task) = mempool::new(opened.reader.clone(), network.clone(), pool);
        others.spawn(mempool_task.run());
        let store = opened.store();
        let chain = opened.start(mempool.clone());
        let proposer = Proposer {
            chain: chain.handle.clone(),
            mempool: mempool.clone(),
            min_block_interval: params.min_block_interval,
            limits: BlockLimits::of(&params),
        };
        let turn = EpochTurn {
            chain: chain.handle.reader().clone(),
            network: network.clone(),
            key: key.public_key(),
            right,
        };
        let book = EvidenceBook::new(
            store,
            chain.handle.reader().clone(),
            key.public_key(),
            EvidenceMetrics::registered(registry),
        );
        let reporter = Reporter::new(book.clone(), mempool.clone(), chain_id, key);
        others.spawn(reporter.run());
        let (event_loop, serving_ended) =
            EventLoop::new(engine, log, chain.handle.clone(), network.clone(), proposer, turn, book)
                .map_err(|source| NodeError::Io {
                    action: "cannot start the thread that answers peers".to_owned(),
                    source,
                })?;
        let handle = NodeHandle { chain: chain.handle, mempool, network, consensus: event_loop.handle() };
        let (transactions, judged) = mpsc::channel(GOSSIP_QUEUE);
        others.spawn(gossip::take_transactions(
            judged,
            chain_id,
            handle.mempool.clone(),
            handle.network.clone(),
        ));
        others.spawn(take_frames(events.take_frames(), handle.consensus.clone(), handle.network.clone()));
        others.spawn(dispatch(events, transactions, addresses, event_loop.serving(), handle.clone()));
        let consensus = tokio::spawn(event_loop.run());
        Ok(Self { handle, ledger_failure: chain.failure, consensus, serving_ended, others })
    }

    /// Talks to the node's tasks.
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Runs until `stop` completes or the node cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        let result = tokio::select! {
            // The ledger first: a consensus without it stops too, and knows no reason.
            biased;
            () = stop => Ok(()),
            failure = self.ledger_failure.wait_for(Option::is_some) => {
                let reason = failure.ok().and_then(|reason| reason.clone());
                Err(NodeError::Ledger(reason.unwrap_or_else(|| "its thread has ended".to_owned())))
            }
            halted = &mut self.consensus => Err(match halted {
                Ok(halted) => NodeError::Halted(halted),
                Err(error) => NodeError::Ledger(format!("the consensus task failed: {error}")),
            }),
        };
        if let Err(error) = &result {
            error!(%error, "node: cannot go on");
        }
        self.stop().await;
        result
    }

    /// Ends the tasks, and waits until the ledger's thread has let go of the database.
    async fn stop(mut self) {
        // A task that has ended by itself was waited for already, which works only once.
        if !self.consensus.is_finished() {
            self.consensus.abort();
            // An error says that the task was aborted, which is what is wanted.
            let _ = self.consensus.await;
        }
        self.others.shutdown().await;
        self.handle.network.shutdown().await;
        drop(self.handle);
        let threads_ended = async {
            while self.ledger_failure.changed().await.is_ok() {}
            // An error says that the thread has ended too.
            let _ = self.serving_ended.await;
        };
        if tokio::time::timeout(STOP_PATIENCE, threads_ended).await.is_err() {
            warn!("node: somebody still talks to the ledger; stopping without it");
        }
    }
}

/// Whom the chain has admitted, as the network asks for it. A sponsored account is no member: whoever has a coin
/// can make as many as it likes.
fn members(chain: ChainReader) -> Members {
    Members::known_by(move |key| match chain.state().account(key) {
        Ok(found) => found.is_some_and(|found| matches!(found.standing, account::Standing::Admitted(_))),
        Err(error) => {
            warn!(%error, "node: cannot look up whether a peer is admitted");
            false
        }
    })
}

/// Tells the network who the authorities are and where they said that they are. The set is in force before
/// anything is sent; a stopped network shows itself elsewhere.
async fn link(opened: &OpenedChain, network: &NetworkHandle) -> Result<KnownAddresses, NodeError> {
    let authorities = opened.reader.authorities_to_link()?;
    let (addresses, known) = KnownAddresses::open(opened.store(), &authorities)?;
    let _ = network.set_authorities(authorities).await;
    for record in known {
        let _ = network.learn_address(record);
    }
    Ok(addresses)
}

/// The engine of the epoch that the database is in.
fn engine(
    opened: &OpenedChain,
    params: &Params,
    key: KeyPair,
    records: Vec<LogRecord>,
    may_vote: bool,
) -> Result<Epochs, NodeError> {
    let timing = timing(params);
    timing.check()?;
    let Authorities { epoch, set, last_height, .. } = opened.authorities.clone();
    let committee = Committee::new(opened.reader.chain(), epoch, set, opened.root).ending_at(last_height);
    let recovered = Recovered {
        tip: opened.tip,
        finalization: opened.finalization.clone(),
        boundary: opened.boundary.clone(),
        records,
        may_vote,
    };
    Ok(Epochs::new(timing, committee, Some(key), recovered)?)
}

/// Opens the chain, in a new folder if there is none.
fn open(config: &NodeConfig) -> Result<OpenedChain, NodeError> {
    let NodeConfig { data_dir, genesis, trust, .. } = config;
    std::fs::create_dir_all(data_dir).map_err(|source| NodeError::Io {
        action: format!("cannot make the folder {}", data_dir.display()),
        source,
    })?;
    Ok(OpenedChain::open(&data_dir.join("db"), genesis.clone(), trust.clone())?)
}

/// D9 of the consensus: what has stopped it is for its operator to judge.
fn refuse_after_halt(log: &ConsensusLog, may_go_on: bool) -> Result<(), NodeError> {
    let Some(HaltNote { reason, at }) = log.halt()? else { return Ok(()) };
    if !may_go_on {
        return Err(NodeError::HaltedBefore { reason, at: at.get() });
    }
    warn!(reason, "node: goes on after the consensus had stopped, as its operator says");
    Ok(log.forget_halt()?)
}

/// D7 of the consensus: whether the key may vote, as this start finds it.
fn right(
    config: &NodeConfig,
    opened: &OpenedChain,
    log: &mut ConsensusLog,
    records: &[LogRecord],
) -> Result<VotingRight, NodeError> {
    let NodeConfig { key, key_file, observe, vote_without_log, .. } = config;
    let key = key.public_key();
    if *observe {
        return Ok(VotingRight::observer(key));
    }
    let standing = standing(opened, key)?;
    Ok(VotingRight::at_start(key_file, key, standing, log, records, *vote_without_log)?)
}

/// Where the database stands, for whether the key may vote.
fn standing(opened: &OpenedChain, key: PublicKey) -> Result<Standing, NodeError> {
    let Authorities { epoch, set, first_height, last_height, .. } = &opened.authorities;
    let root = first_height.saturating_sub(Height::new(1));
    let began = match opened.reader.block(root)? {
        Some(block) => block.header().time_ms,
        None => opened.reader.genesis().time,
    };
    Ok(Standing {
        chain: opened.reader.chain(),
        epoch: *epoch,
        began,
        last_height: *last_height,
        height: opened.tip.height,
        final_view: opened.finalization.as_ref().map_or(View::ZERO, |end| end.subject.view()),
        is_member: set.index_of(&key).is_some(),
    })
}

/// Hands the network's events to those who know what to do with them, and waits for none of them.
async fn dispatch(
    mut events: NetworkEvents,
    transactions: mpsc::Sender<GossipMessage>,
    addresses: KnownAddresses,
    serving: Serving,
    node: NodeHandle,
) {
    while let Some(event) = events.recv().await {
        match event {
            // Taken out of the events.
            NetworkEvent::ConsensusMessage { .. } => {}
            NetworkEvent::Gossip(message) => match message.topic {
                // When the queue is full the message is dropped without verdict, so not forwarded.
                Topic::Transactions => drop(transactions.try_send(message)),
                Topic::Finalizations => {
                    for bytes in message.items {
                        let (from, id) = (message.from, message.id.clone());
                        if !node.consensus.offer(GossipedFinalization { from, bytes, id }) {
                            node.network.count_drop("finalization_queue");
                        }
                    }
                }
                // The network judges these itself.
                Topic::Addresses => {}
            },
            NetworkEvent::SyncRequest { from, bytes, responder } => {
                serving.request(from, bytes, responder);
            }
            // Sessions are the agents' business, and those have endpoints of their own.
            NetworkEvent::Session(session) => drop(session),
            NetworkEvent::AddressAnnounced { authority, record } => {
                if let Err(error) = addresses.keep(authority, &record) {
                    warn!(%error, "node: an authority's address could not be kept");
                }
            }
            NetworkEvent::PeerConnected { peer, address } => info!(%peer, %address, "network: connected"),
            NetworkEvent::PeerDisconnected { peer } => info!(%peer, "network: disconnected"),
            NetworkEvent::Listening(address) => info!(%address, "network: listening"),
        }
    }
}
