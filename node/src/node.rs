//! A running node: its tasks, wired.

use std::path::PathBuf;
use std::time::Duration;

use evchain_consensus::authority_set::Committee;
use evchain_consensus::config::ConfigError;
use evchain_consensus::epochs::Epochs;
use evchain_consensus::wal::{LogRecord, Recovered, RecoveryError};
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::Epoch;
use evchain_protocol::state::account::Standing;
use evchain_protocol::state::authority::Authorities;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use crate::chain::{BlockLimits, ChainHandle, ChainReader, OpenError, OpenedChain};
use crate::consensus::{
    ConsensusHandle, ConsensusLog, EpochTurn, EventLoop, Halted, Inbound, Proposer, RecoveredLog, timing,
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
    /// The network, but for its members, whom the node knows from the chain.
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
    /// A folder could not be made, or the note beside the key could not be written.
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
        std::fs::create_dir_all(&data_dir).map_err(|source| NodeError::Io {
            action: format!("cannot make the folder {}", data_dir.display()),
            source,
        })?;
        let opened = OpenedChain::open(&data_dir.join("db"), genesis)?;
        let chain_id = opened.reader.chain();
        info!(chain = %chain_id, height = %opened.tip.height, key = %key.public_key(), "node: opened the chain");

        let params = opened.reader.params().map_err(OpenError::Store)?;
        let record = VotingRecord::beside(&key_file);
        let RecoveredLog { mut log, records } = ConsensusLog::open(opened.store())?;
        let votes_from = if observe {
            Epoch::MAX
        } else {
            votes_from(&opened, &mut log, &record, key.public_key(), vote_without_log)?
        };
        let engine = engine(&opened, &params, key.clone(), records, votes_from)?;

        let metrics = NetworkMetrics::registered(registry);
        let network = NetworkConfig { members: members(opened.reader.clone()), ..network };
        let (network, events) = network::start(network, chain_id, &key, metrics)?;
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
            record,
            key: key.public_key(),
            votes_from,
        };
        let book = EvidenceBook::new(
            store,
            chain.handle.reader().clone(),
            key.public_key(),
            EvidenceMetrics::registered(registry),
        );
        let reporter = Reporter::new(book.clone(), mempool.clone(), chain_id, key);
        others.spawn(reporter.run());
        let event_loop =
            EventLoop::new(engine, log, chain.handle.clone(), network.clone(), proposer, turn, book);
        let handle = NodeHandle { chain: chain.handle, mempool, network, consensus: event_loop.handle() };
        let (transactions, judged) = mpsc::channel(GOSSIP_QUEUE);
        others.spawn(gossip::take_transactions(
            judged,
            chain_id,
            handle.mempool.clone(),
            handle.network.clone(),
        ));
        others.spawn(dispatch(events, transactions, addresses, handle.clone()));
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

/// Whom the chain has admitted, as the network asks for it. A sponsored account is no member: whoever has a coin
/// can make as many as it likes.
fn members(chain: ChainReader) -> Members {
    Members::known_by(move |key| match chain.state().account(key) {
        Ok(account) => account.is_some_and(|account| matches!(account.standing, Standing::Admitted(_))),
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
    votes_from: Epoch,
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
        votes_from,
    };
    Ok(Epochs::new(timing, committee, Some(key), recovered)?)
}

/// The first epoch in which the key may vote: a database that does not hold what the key signed, or
/// that is older than the key's last vote, leaves out the epochs up to that vote's.
fn votes_from(
    opened: &OpenedChain,
    log: &mut ConsensusLog,
    record: &VotingRecord,
    key: PublicKey,
    vote_without_log: bool,
) -> Result<Epoch, NodeError> {
    let (chain, now) = (opened.reader.chain(), opened.authorities.epoch);
    let io = |source| NodeError::Io {
        action: format!("cannot note in {} that this key votes", record.path().display()),
        source,
    };
    let is_complete = log.is_of(key)?;
    let forgotten = record
        .last_epoch(chain)
        .map_err(io)?
        .filter(|last| !vote_without_log && (!is_complete || *last > now))
        .map(|last| last.saturating_add(Epoch::new(1)));
    if let Some(from) = forgotten {
        warn!(
            votes_from = %from,
            "node: this key has voted on this chain before, and this database does not hold what it signed. The node \
             observes until the next epoch, since voting again could contradict earlier votes. See --vote-without-log"
        );
    } else if opened.authorities.set.index_of(&key).is_some() {
        // Before the note beside the key: after a crash in between the key may still vote here.
        log.claim(key)?;
        record.add(chain, now).map_err(io)?;
    }
    Ok(forgotten.unwrap_or(Epoch::ZERO))
}

/// Hands the network's events to those who know what to do with them.
async fn dispatch(
    mut events: NetworkEvents,
    transactions: mpsc::Sender<GossipMessage>,
    addresses: KnownAddresses,
    node: NodeHandle,
) {
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
                // The network judges these itself.
                Topic::Addresses => {}
            },
            NetworkEvent::SyncRequest { from, bytes, responder } => {
                node.consensus.deliver(Inbound::Request { from, bytes, responder }).await;
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
