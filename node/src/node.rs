//! A running node: its tasks, wired.

use std::path::PathBuf;
use std::time::Duration;

use evchain_consensus::authority_set::Committee;
use evchain_consensus::config::{Config as ConsensusConfig, ConfigError};
use evchain_consensus::engine::Engine;
use evchain_consensus::wal::{Recovered, RecoveryError};
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::primitives::Epoch;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use crate::chain::{BlockLimits, ChainHandle, OpenError, OpenedChain};
use crate::consensus::{ConsensusHandle, ConsensusLog, EventLoop, Halted, Inbound, Proposer, RecoveredLog};
use crate::gossip;
use crate::mempool::{self, MempoolHandle, PoolLimits};
use crate::network::{
    self, GossipMessage, NetworkConfig, NetworkEvent, NetworkEvents, NetworkHandle, NetworkMetrics, Topic,
};
use crate::store::tables::VOTER;
use crate::store::{Batch, Durability, StoreError};
use crate::voting_record::VotingRecord;

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
    /// The network.
    pub network: NetworkConfig,
    /// The limits of the mempool.
    pub pool: PoolLimits,
    /// Follow the chain and sign nothing, whatever the key is.
    pub observe: bool,
    /// Vote with a key that has voted before although its consensus log is gone. Only safe when
    /// everything that the key ever signed is final.
    pub vote_without_log: bool,
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
        "the consensus log cannot be used: {0}. Restore a backup, or remove the data folder: the node then observes until it has caught up"
    )]
    Recovery(#[from] RecoveryError),
    /// The chain's timing parameters.
    #[error("the chain's timing parameters cannot work: {0}")]
    Timing(#[from] ConfigError),
    /// The network.
    #[error(transparent)]
    Network(#[from] network::StartError),
    /// A task or thread could not be started, or the note beside the key could not be written.
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
    /// Tasks that end with the node.
    others: JoinSet<()>,
}

impl Node {
    /// Starts a node's tasks. Must be called within a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(config: NodeConfig, registry: &mut Registry) -> Result<Self, NodeError> {
        let NodeConfig { data_dir, genesis, key, key_file, network, pool, observe, vote_without_log } =
            config;
        let params = genesis.params.clone();
        std::fs::create_dir_all(&data_dir).map_err(|source| NodeError::Io {
            action: format!("cannot make the folder {}", data_dir.display()),
            source,
        })?;
        let opened = OpenedChain::open(&data_dir.join("db"), genesis)?;
        let chain_id = opened.reader.chain();
        info!(chain = %chain_id, height = %opened.tip.height, key = %key.public_key(), "node: opened the chain");

        let is_authority = opened.authorities.index_of(&key.public_key()).is_some();
        let votes = is_authority
            && !observe
            && may_vote(&opened, key.public_key(), &VotingRecord::beside(&key_file), vote_without_log)?;
        let RecoveredLog { log, records } = ConsensusLog::open(opened.store())?;
        let timing = ConsensusConfig {
            hop_bound: params.hop_bound,
            idle: params.idle_interval,
            max_clock_drift: params.max_skew,
        };
        timing.check()?;
        let committee = Committee::new(chain_id, Epoch::ZERO, opened.authorities.clone(), opened.root);
        let recovered = Recovered {
            tip: opened.tip,
            finalization: opened.finalization.clone(),
            records,
            observe_only: !votes,
        };
        let engine = Engine::new(timing, committee, is_authority.then(|| key.clone()), recovered)?;

        let metrics = NetworkMetrics::registered(registry);
        let (network, events) = network::start(network, chain_id, &key, metrics)?;
        // The set is in force before anything is sent; a stopped network shows itself below.
        let _ = network.set_authorities(opened.authorities.keys().to_vec()).await;

        let mut others = JoinSet::new();
        let (mempool, mempool_task) = mempool::new(opened.reader.clone(), network.clone(), pool);
        others.spawn(mempool_task.run());
        let chain = opened.start(mempool.clone()).map_err(|source| NodeError::Io {
            action: "cannot start the ledger's thread".to_owned(),
            source,
        })?;
        let proposer = Proposer {
            chain: chain.handle.clone(),
            mempool: mempool.clone(),
            min_block_interval: params.min_block_interval,
            limits: BlockLimits {
                transactions: params.max_block_transactions as usize,
                bytes: params.max_block_bytes as usize,
            },
        };
        let event_loop = EventLoop::new(engine, log, chain.handle.clone(), network.clone(), proposer, votes);
        let handle = NodeHandle { chain: chain.handle, mempool, network, consensus: event_loop.handle() };
        let (transactions, judged) = mpsc::channel(GOSSIP_QUEUE);
        others.spawn(gossip::take_transactions(
            judged,
            chain_id,
            handle.mempool.clone(),
            handle.network.clone(),
        ));
        others.spawn(dispatch(events, transactions, handle.clone()));
        let consensus = tokio::spawn(event_loop.run());
        Ok(Self { handle, ledger_failure: chain.failure, consensus, others })
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
            () = stop => Ok(()),
            halted = &mut self.consensus => Err(match halted {
                Ok(halted) => NodeError::Halted(halted),
                Err(error) => NodeError::Ledger(format!("the consensus task failed: {error}")),
            }),
            failure = self.ledger_failure.wait_for(Option::is_some) => {
                let reason = failure.ok().and_then(|reason| reason.clone());
                Err(NodeError::Ledger(reason.unwrap_or_else(|| "its thread has ended".to_owned())))
            }
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
        let thread_ended = async { while self.ledger_failure.changed().await.is_ok() {} };
        if tokio::time::timeout(STOP_PATIENCE, thread_ended).await.is_err() {
            warn!("node: somebody still talks to the ledger; stopping without it");
        }
    }
}

/// An authority may vote if its key never did, or if this database holds all that the key signed.
fn may_vote(
    opened: &OpenedChain,
    key: PublicKey,
    record: &VotingRecord,
    vote_without_log: bool,
) -> Result<bool, NodeError> {
    let chain = opened.reader.chain();
    let io = |source| NodeError::Io {
        action: format!("cannot note in {} that this key votes", record.path().display()),
        source,
    };
    let store = opened.store();
    let is_complete = store.get(&VOTER, &())? == Some(key);
    if record.holds(chain).map_err(io)? && !is_complete && !vote_without_log {
        warn!(
            "node: this key has voted on this chain before, and this database does not hold what it signed. The node \
             observes only, since voting again could contradict earlier votes. See --vote-without-log"
        );
        return Ok(false);
    }
    // Before the note beside the key: after a crash in between the key may still vote here.
    if !is_complete {
        let mut batch = Batch::default();
        batch.put(&VOTER, &(), &key);
        store.write(batch, Durability::Synced)?;
    }
    record.add(chain).map_err(io)?;
    Ok(true)
}

/// Hands the network's events to those who know what to do with them.
async fn dispatch(mut events: NetworkEvents, transactions: mpsc::Sender<GossipMessage>, node: NodeHandle) {
    while let Some(event) = events.recv().await {
        match event {
            NetworkEvent::ConsensusMessage { from, bytes } => {
                node.consensus.deliver(Inbound::Frame { from, bytes }).await;
            }
            NetworkEvent::Gossip(message) => match message.topic {
                // When the queue is full the message is dropped without verdict, so not forwarded.
                Topic::Transactions => drop(transactions.try_send(message)),
                Topic::Finalizations => {
                    for bytes in message.items {
                        let (from, id) = (message.from, message.id.clone());
                        node.consensus.deliver(Inbound::Finalization { from, bytes, id }).await;
                    }
                }
            },
            NetworkEvent::SyncRequest { from, bytes, responder } => {
                node.consensus.deliver(Inbound::Request { from, bytes, responder }).await;
            }
            // Sessions are the agents' business, and those have endpoints of their own.
            NetworkEvent::Session(session) => drop(session),
            NetworkEvent::PeerConnected { peer, address } => info!(%peer, %address, "network: connected"),
            NetworkEvent::PeerDisconnected { peer } => info!(%peer, "network: disconnected"),
            NetworkEvent::Listening(address) => info!(%address, "network: listening"),
        }
    }
}
