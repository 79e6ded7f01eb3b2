//! Clusters of nodes for tests.

#![allow(dead_code, unreachable_pub)] // each test uses its part

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use evchain_node::clock;
use evchain_node::consensus::ConsensusStatus;
use evchain_node::mempool::PoolLimits;
use evchain_node::network::{Multiaddr, NetworkConfig, peer_of_key};
use evchain_node::node::{Node, NodeConfig, NodeHandle};
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::genesis::{Genesis, GenesisAccount};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Nonce, Span};
use evchain_protocol::state::account::Roles;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, Transaction};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// The key with this number.
pub fn key(number: u64) -> KeyPair {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    KeyPair::from_secret(&secret)
}

/// Who has all the money at the start.
pub fn rich() -> KeyPair {
    key(1_000)
}

struct Member {
    key: KeyPair,
    /// The one member that it is told of; all if none.
    knows: Option<usize>,
    address: Multiaddr,
    running: Option<Running>,
}

struct Running {
    handle: NodeHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Validators, and perhaps observers, of one chain.
pub struct Cluster {
    folder: TempDir,
    genesis: Genesis,
    members: Vec<Member>,
}

impl Cluster {
    /// This many validators of a new chain.
    pub async fn start(validators: u64) -> Self {
        Self::start_with(validators, |_| {}).await
    }

    /// The same with other parameters.
    pub async fn start_with(validators: u64, change: impl FnOnce(&mut Params)) -> Self {
        Self::start_from(validators, |genesis| change(&mut genesis.params)).await
    }

    /// The same with another genesis.
    pub async fn start_from(validators: u64, change: impl FnOnce(&mut Genesis)) -> Self {
        // With RUST_LOG=debug a failure tells its story. Fails where another test did it already.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .try_init();
        let members: Vec<Member> = (0..validators).map(|number| Member::new(key(number))).collect();
        let mut genesis = genesis(members.iter().map(|member| member.key.public_key()).collect());
        change(&mut genesis);
        let mut cluster = Self { folder: tempfile::tempdir().expect("a folder"), genesis, members };
        for index in 0..cluster.members.len() {
            cluster.restart(index).await;
        }
        cluster
    }

    /// A node more that has no vote, and is told of the first one only.
    pub async fn add_observer(&mut self) -> usize {
        self.members.push(Member { knows: Some(0), ..Member::new(key(500)) });
        let index = self.members.len() - 1;
        self.restart(index).await;
        index
    }

    /// The handle of a running node.
    pub fn handle(&self, index: usize) -> NodeHandle {
        self.members[index].running.as_ref().expect("the node runs").handle.clone()
    }

    /// The chain's genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Starts a node that does not run, on what it kept.
    pub async fn restart(&mut self, index: usize) {
        let knows = self.members[index].knows;
        let bootstrap = self
            .members
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index && knows.is_none_or(|known| known == *other))
            .map(|(_, member)| member.dialable())
            .collect();
        let member = &mut self.members[index];
        let folder: PathBuf = self.folder.path().join(index.to_string());
        std::fs::create_dir_all(&folder).expect("a folder");
        let config = NodeConfig {
            data_dir: folder.clone(),
            genesis: self.genesis.clone(),
            key: member.key.clone(),
            key_file: folder.join("key"),
            network: NetworkConfig {
                listen: vec![member.address.clone()],
                bootstrap,
                ..NetworkConfig::default()
            },
            pool: PoolLimits::default(),
            observe: false,
            vote_without_log: false,
        };
        let node = Node::start(config, &mut Registry::default()).await.expect("the node starts");
        let handle = node.handle();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            node.run_until(stopped).await.expect("the node runs until it is stopped");
        });
        member.running = Some(Running { handle, stop, task });
    }

    /// Stops a node.
    pub async fn stop_one(&mut self, index: usize) {
        let Running { handle, stop, task } = self.members[index].running.take().expect("the node runs");
        drop(handle);
        stop.send(()).expect("the node waits for it");
        task.await.expect("the node ends in order");
    }

    /// Removes the database of a node that does not run; what lies beside its key stays.
    pub fn wipe(&self, index: usize) {
        let folder = self.folder.path().join(index.to_string()).join("db");
        std::fs::remove_dir_all(folder).expect("a database");
    }

    /// Stops all nodes.
    pub async fn stop(mut self) {
        for index in 0..self.members.len() {
            if self.members[index].running.is_some() {
                self.stop_one(index).await;
            }
        }
    }

    /// Waits until this holds at every running node.
    pub async fn wait_until_all(&self, holds: impl Fn(&NodeHandle) -> bool) {
        let wait = async {
            for running in self.members.iter().filter_map(|member| member.running.as_ref()) {
                while !holds(&running.handle) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        let held = tokio::time::timeout(PATIENCE, wait).await;
        assert!(held.is_ok(), "it does not hold everywhere in time: {:#?}", self.statuses());
    }

    fn statuses(&self) -> Vec<(usize, ConsensusStatus)> {
        let running = self.members.iter().enumerate();
        running
            .filter_map(|(i, member)| Some((i, member.running.as_ref()?.handle.consensus.status())))
            .collect()
    }

    /// Every two running nodes have the same block at each height that both have.
    pub fn assert_one_history(&self) {
        let readers: Vec<_> = self
            .members
            .iter()
            .filter_map(|member| member.running.as_ref())
            .map(|running| running.handle.chain.reader().clone())
            .collect();
        let common = readers.iter().map(|reader| reader.tip().height).min().expect("a node runs");
        assert!(common.get() > 0, "there is something to compare");
        for height in 1..=common.get() {
            let height = evchain_protocol::primitives::Height::new(height);
            let hashes: Vec<_> = readers
                .iter()
                .map(|reader| reader.block(height).unwrap().expect("a final block").hash())
                .collect();
            assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "two blocks at height {height}");
        }
    }
}

impl Member {
    fn new(key: KeyPair) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
        Self { key, knows: None, address, running: None }
    }

    fn dialable(&self) -> Multiaddr {
        let peer = peer_of_key(&self.key.public_key()).expect("a usable key");
        format!("{}/p2p/{peer}", self.address).parse().expect("an address")
    }
}

fn genesis(authorities: Vec<PublicKey>) -> Genesis {
    let rich =
        GenesisAccount { key: rich().public_key(), balance: Amount::new(1_000_000), roles: Roles::CONSUMER };
    Genesis {
        name: "test".to_owned().try_into().expect("a name"),
        time: clock::now(),
        treasury: authorities[0],
        authorities: List::new(authorities).expect("few authorities"),
        params: Params {
            state_tree_depth: 8,
            idle_interval: Span::new(200),
            hop_bound: Span::new(250),
            ..Params::default()
        },
        accounts: List::new(vec![rich]).expect("one account"),
    }
}

/// A signed transfer of the rich account, encoded.
pub fn transfer(cluster: &Cluster, nonce: u64, to: PublicKey, amount: u64) -> Vec<u8> {
    let action = Action::Transfer(Transfer { to, amount: Amount::new(amount) });
    signed(cluster, &rich(), nonce, action)
}

/// A signed transaction, encoded.
pub fn signed(cluster: &Cluster, sender: &KeyPair, nonce: u64, action: Action) -> Vec<u8> {
    let chain = cluster.genesis.build().expect("a usable genesis").chain;
    Transaction { sender: sender.public_key(), nonce: Nonce::new(nonce), action }
        .sign(sender, chain)
        .to_bytes()
}
