use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use evchain_node::network::peer_of_key;
use evchain_node::rpc::{Endpoint, NodeApiClient, RpcClient};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::Height;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::chain_files::ChainFiles;
use super::error::ClusterError;
use super::ports::free_ports;
use super::process::{Identity, Incident, Recipe, Validator};

/// How often ports are chosen anew when another program took one.
const PORT_ATTEMPTS: usize = 5;
/// How long the validators may take until their first common block.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long to wait before asking a validator again.
const POLL: Duration = Duration::from_millis(100);
/// Incidents that wait to be read.
const INCIDENTS: usize = 64;

/// How to run a testnet.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The node's program.
    pub node_bin: PathBuf,
    /// After how long a validator that ended is started again, if it is.
    pub restart_after: Option<Duration>,
    /// Where the validators run, by their order; those that are not named run on the loopback address.
    pub places: Vec<Place>,
}

/// Where and how a validator runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// A program with its arguments that becomes the node's, such as `ip netns exec NAME`.
    pub wrapper: Vec<OsString>,
    /// Where clients reach it.
    pub rpc_ip: Ipv4Addr,
    /// Where peers reach it.
    pub p2p_ip: Ipv4Addr,
}

impl Default for Place {
    fn default() -> Self {
        Self { wrapper: Vec::new(), rpc_ip: Ipv4Addr::LOCALHOST, p2p_ip: Ipv4Addr::LOCALHOST }
    }
}

/// Running validators.
///
/// They end when this is dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct Cluster {
    files: ChainFiles,
    validators: Vec<Validator>,
    node_bin: PathBuf,
    restart_after: Option<Duration>,
    /// For those that join.
    incident_sender: mpsc::Sender<Incident>,
    incidents: mpsc::Receiver<Incident>,
}

impl Cluster {
    /// Starts the chain's validators and waits until each has a block.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn start(files: ChainFiles, options: &ClusterOptions) -> Result<Self, ClusterError> {
        if !options.node_bin.is_file() {
            return Err(ClusterError::NoProgram(options.node_bin.clone()));
        }
        let mut files = files;
        let mut attempt = 1;
        loop {
            let mut cluster = Self::spawn(files, options)?;
            match cluster.wait_until_up().await {
                Ok(()) => return Ok(cluster),
                Err(ClusterError::Ended { tail, .. })
                    if attempt < PORT_ATTEMPTS && tail.contains("in use") =>
                {
                    attempt += 1;
                    files = cluster.stop().await;
                }
                Err(error) => {
                    cluster.stop().await;
                    return Err(error);
                }
            }
        }
    }

    /// The chain's files.
    pub fn files(&self) -> &ChainFiles {
        &self.files
    }

    /// The validators.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// The validators' RPC, beginning with another one for each `offset`, so that clients spread.
    pub fn endpoints(&self, offset: usize) -> Vec<Endpoint> {
        let count = self.validators.len();
        (0..count).map(|index| self.validators[(index + offset) % count].rpc.clone()).collect()
    }

    /// A client that asks one validator only.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn client_of(&self, validator: &Validator) -> Result<RpcClient, ClusterError> {
        Ok(RpcClient::connect(std::slice::from_ref(&validator.rpc)).await?)
    }

    /// The next thing that happens to a validator's process. Cancel safe.
    pub async fn next_incident(&mut self) -> Option<Incident> {
        self.incidents.recv().await
    }

    /// What has happened to the validators' processes and was not read yet.
    pub fn take_incidents(&mut self) -> Vec<Incident> {
        std::iter::from_fn(|| self.incidents.try_recv().ok()).collect()
    }

    /// Waits until every validator answers and has a block of at least this height.
    ///
    /// # Errors
    /// [`ClusterError::NoBlocks`].
    pub async fn wait_for_height(&self, height: Height, patience: Duration) -> Result<(), ClusterError> {
        let end = Instant::now() + patience;
        for validator in &self.validators {
            let left = end.saturating_duration_since(Instant::now());
            self.wait_for_height_of(validator, height, left).await?;
        }
        Ok(())
    }

    /// The same for one of them.
    ///
    /// # Errors
    /// [`ClusterError::NoBlocks`].
    pub async fn wait_for_height_of(
        &self,
        validator: &Validator,
        height: Height,
        patience: Duration,
    ) -> Result<(), ClusterError> {
        let end = Instant::now() + patience;
        while !has_height(validator, height).await {
            if Instant::now() >= end {
                let dir = self.files.dir().to_owned();
                return Err(ClusterError::NoBlocks { waited_s: patience.as_secs(), dir });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Stops every validator. Returns when all have ended.
    pub async fn stop(self) -> ChainFiles {
        futures::future::join_all(self.validators.into_iter().map(Validator::stop)).await;
        self.files
    }

    fn spawn(files: ChainFiles, options: &ClusterOptions) -> Result<Self, ClusterError> {
        let count = files.validators().len();
        let ports = free_ports(2 * count).map_err(ClusterError::Ports)?;
        let (rpc_ports, p2p_ports) = ports.split_at(count);
        let place = |index: usize| options.places.get(index).cloned().unwrap_or_default();
        let addresses = files
            .validators()
            .iter()
            .enumerate()
            .map(|(index, key)| p2p_address(key, place(index).p2p_ip, p2p_ports[index]))
            .collect::<Result<Vec<_>, _>>()?;
        let (incident_sender, incidents) = mpsc::channel(INCIDENTS);
        let mut cluster = Self {
            files,
            validators: Vec::new(),
            node_bin: options.node_bin.clone(),
            restart_after: options.restart_after,
            incident_sender,
            incidents,
        };
        for (index, own) in addresses.iter().enumerate() {
            let peers: Vec<_> = addresses.iter().filter(|address| *address != own).collect();
            cluster.start_validator(index + 1, place(index), (rpc_ports[index], p2p_ports[index]), &peers)?;
        }
        Ok(cluster)
    }

    /// The number of one more node, with a new key, that [`Self::join`] starts once an authority has admitted
    /// the key: the others let nobody else connect.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn add_newcomer(&mut self) -> Result<usize, ClusterError> {
        self.files.add_validator()
    }

    /// Starts the newcomer with this number, with an empty folder and the address of one peer: an observer
    /// until the authorities take it in.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn join(&mut self, number: usize, peer: usize) -> Result<(), ClusterError> {
        let ports = free_ports(2).map_err(ClusterError::Ports)?;
        let peer = self.validators[peer - 1].p2p.clone();
        self.start_validator(number, Place::default(), (ports[0], ports[1]), &[&peer])
    }

    fn start_validator(
        &mut self,
        number: usize,
        place: Place,
        (rpc_port, p2p_port): (u16, u16),
        peers: &[&String],
    ) -> Result<(), ClusterError> {
        let (files, key) = (&self.files, self.files.validators()[number - 1]);
        let Place { wrapper, rpc_ip, p2p_ip } = place;
        let rpc = format!("{rpc_ip}:{rpc_port}");
        let folders =
            Folders { wallet: files.validator_wallet_path(number), data: files.validator_data_dir(number) };
        let listen = format!("/ip4/{p2p_ip}/tcp/{p2p_port}");
        let recipe = Recipe {
            wrapper,
            program: self.node_bin.clone(),
            arguments: arguments(files, folders, &rpc, listen, peers.iter().copied()),
            log: files.validator_dir(number).join("log.txt"),
        };
        let p2p = p2p_address(&key, p2p_ip, p2p_port)?;
        let identity = Identity { number, key, rpc: endpoint(&rpc), p2p };
        let validator = Validator::start(identity, recipe, self.restart_after, self.incident_sender.clone())
            .map_err(ClusterError::io("start", &self.node_bin))?;
        self.validators.push(validator);
        Ok(())
    }

    /// Starts one more process with a validator's key, or a copy of it, and with this data. It is
    /// not started again when it ends, and counts as the validator after the last.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn start_twin(&self, of: usize, wallet: PathBuf, data: PathBuf) -> Result<Validator, ClusterError> {
        let log = wallet.with_extension("log");
        self.start_beside(of, self.node_bin.clone(), Folders { wallet, data }, log)
    }

    /// Starts another program with a validator's key and data, while the validator rests.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn start_in_place_of(&self, of: usize, program: PathBuf) -> Result<Validator, ClusterError> {
        let folders =
            Folders { wallet: self.files.validator_wallet_path(of), data: self.files.validator_data_dir(of) };
        let log = self.files.validator_dir(of).join("replacement-log.txt");
        self.start_beside(of, program, folders, log)
    }

    fn start_beside(
        &self,
        of: usize,
        program: PathBuf,
        folders: Folders,
        log: PathBuf,
    ) -> Result<Validator, ClusterError> {
        let ports = free_ports(2).map_err(ClusterError::Ports)?;
        let key = self.files.validators()[of - 1];
        let rpc = format!("{}:{}", Ipv4Addr::LOCALHOST, ports[0]);
        let peers = self.validators.iter().filter(|other| other.number != of).map(|other| &other.p2p);
        let listen = format!("/ip4/{}/tcp/{}", Ipv4Addr::LOCALHOST, ports[1]);
        let recipe = Recipe {
            wrapper: Vec::new(),
            program: program.clone(),
            arguments: arguments(&self.files, folders, &rpc, listen, peers),
            log,
        };
        let p2p = p2p_address(&key, Ipv4Addr::LOCALHOST, ports[1])?;
        let identity = Identity { number: self.validators.len() + 1, key, rpc: endpoint(&rpc), p2p };
        // Nobody follows what becomes of it: whoever starts it asks.
        let (incidents, _) = mpsc::channel(1);
        Validator::start(identity, recipe, None, incidents).map_err(ClusterError::io("start", program))
    }

    /// Waits until each validator has made a block with the others.
    async fn wait_until_up(&mut self) -> Result<(), ClusterError> {
        let end = Instant::now() + START_TIMEOUT;
        loop {
            let mut up = 0;
            for validator in &self.validators {
                if let Some(how) = validator.ended() {
                    let (log, tail) = (validator.log.clone(), validator.log_tail());
                    return Err(ClusterError::Ended { number: validator.number, how, log, tail });
                }
                up += usize::from(has_height(validator, Height::new(1)).await);
            }
            if up == self.validators.len() {
                return Ok(());
            }
            if Instant::now() >= end {
                let dir = self.files.dir().to_owned();
                return Err(ClusterError::NoBlocks { waited_s: START_TIMEOUT.as_secs(), dir });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn has_height(validator: &Validator, height: Height) -> bool {
    let Ok(client) = RpcClient::connect(std::slice::from_ref(&validator.rpc)).await else { return false };
    client.status().await.is_ok_and(|status| status.height >= height)
}

fn p2p_address(key: &PublicKey, ip: Ipv4Addr, port: u16) -> Result<String, ClusterError> {
    let peer = peer_of_key(key).map_err(|_| ClusterError::NotAPeer(*key))?;
    Ok(format!("/ip4/{ip}/tcp/{port}/p2p/{peer}"))
}

fn endpoint(address: &str) -> Endpoint {
    address.parse().unwrap_or_else(|_| unreachable!("an address and a port are an endpoint"))
}

/// What a node's process keeps.
struct Folders {
    wallet: PathBuf,
    data: PathBuf,
}

fn arguments<'a>(
    files: &ChainFiles,
    folders: Folders,
    rpc: &str,
    listen: String,
    peers: impl Iterator<Item = &'a String>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["start".into(), "--stop-with-stdin".into()];
    let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    option("--genesis", files.genesis_path().into());
    option("--wallet", folders.wallet.into());
    option("--data", folders.data.into());
    option("--rpc", rpc.into());
    // The system chooses, so that validators do not try each other's ports.
    option("--metrics", "127.0.0.1:0".into());
    option("--listen", listen.into());
    for peer in peers {
        option("--peer", peer.into());
    }
    arguments
}
