use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::Methods as RpcModule;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::access::{Access, is_host, is_origin};
use super::calls::Calls;
use super::health::HealthWatch;
use super::hosts::Hosts;
use super::http::Service;
use super::listener;
use super::methods::Methods;
use super::metrics::{NodeCollector, RpcCollector};
use super::queries::Queries;
use super::subscriptions::Subscriptions;
use crate::node::NodeHandle;
use crate::rpc::api::{EventsApiServer, NodeApiServer};
use crate::rpc::types::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};

/// How long connections may take to end.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// The first port that is tried for health and metrics unless another is named.
const METRICS_PORT: u16 = 9_101;
/// How many ports are tried.
const METRICS_PORTS: u16 = 100;
/// Connections to the port for health and metrics.
const METRICS_CONNECTIONS: usize = 32;
/// The least that a connection must be able to hold: the largest request and the largest answer.
const LEAST_BYTES: usize = MAX_REQUEST_BYTES as usize + MAX_RESPONSE_BYTES as usize;

/// Where health and metrics are served, besides the port of the RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsAt {
    /// Nowhere else.
    #[default]
    Nowhere,
    /// On the first free port of this machine from 9101 on.
    FirstFree,
    /// There. Port 0: the system chooses.
    Address(SocketAddr),
}

/// How the RPC is served. What a TOML file can set are its limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcConfig {
    /// Where to listen. Port 0: the system chooses.
    #[serde(skip)]
    pub listen: SocketAddr,
    /// Where else health and metrics are served.
    #[serde(skip)]
    pub metrics: MetricsAt,
    /// Host names by which clients may call the node, besides `localhost`, this machine's loopback
    /// addresses and the address that a connection came to; `*` for all.
    #[serde(skip)]
    pub allow_hosts: Vec<String>,
    /// Origins of web pages that may call the node, such as `https://wallet.example`; `*` for all.
    #[serde(skip)]
    pub cors: Vec<String>,
    /// Connections at a time; more are closed at once, or take the place of silent ones.
    pub max_connections: usize,
    /// The same for one host: an IPv4 address or an IPv6 network of 64 bits.
    pub max_connections_per_host: usize,
    /// Subscriptions of one connection.
    pub max_subscriptions: u32,
    /// Calls in one batch.
    pub max_batch: u32,
    /// Messages that wait for one connection.
    pub max_queued_messages: u32,
    /// Messages of one WebSocket that are being answered; nothing more is read meanwhile.
    pub max_calls_per_connection: usize,
    /// Calls of one host in a second; no limit if none.
    pub max_calls_per_second: Option<NonZeroU32>,
    /// Calls that wait for finality.
    pub max_waits: usize,
    /// The same for one host.
    pub max_waits_per_host: usize,
    /// Bytes of requests and answers that are held.
    pub max_bytes: usize,
    /// The same for one host.
    pub max_bytes_per_host: usize,
    /// The same for one connection.
    pub max_bytes_per_connection: usize,
    /// How long a client may take for a request, be silent between two, or read nothing, in ms.
    pub patience_ms: u64,
}

impl Default for RpcConfig {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9100)),
            metrics: MetricsAt::default(),
            allow_hosts: Vec::new(),
            cors: Vec::new(),
            max_connections: 512,
            max_connections_per_host: 384,
            max_subscriptions: 16,
            max_batch: 64,
            max_queued_messages: 256,
            max_calls_per_connection: 64,
            max_calls_per_second: None,
            max_waits: 16_384,
            max_waits_per_host: 12_288,
            max_bytes: 128 * MIB,
            max_bytes_per_host: 96 * MIB,
            max_bytes_per_connection: 36 * MIB,
            patience_ms: 30_000,
        }
    }
}

impl RpcConfig {
    /// How long a client may be silent, or slow.
    pub(super) const fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }

    /// Whether these limits can work.
    ///
    /// # Errors
    /// [`ServeError::Setting`], which says what to change.
    pub fn check(&self) -> Result<(), ServeError> {
        let wrong = |text: String| Err(ServeError::Setting(text));
        if let Some(name) = self.allow_hosts.iter().find(|name| !is_host(name)) {
            return wrong(format!(
                "--rpc-allow-host '{name}' is no host: write a name or an address without port, such as node.example.org"
            ));
        }
        if let Some(origin) = self.cors.iter().find(|origin| !is_origin(origin)) {
            return wrong(format!(
                "--rpc-cors '{origin}' is no origin: write it as browsers do, such as https://wallet.example"
            ));
        }
        let counts = [
            ("max_connections", self.max_connections),
            ("max_connections_per_host", self.max_connections_per_host),
            ("max_batch", self.max_batch as usize),
            ("max_calls_per_connection", self.max_calls_per_connection),
            ("max_waits", self.max_waits),
            ("max_waits_per_host", self.max_waits_per_host),
            ("patience_ms", usize::try_from(self.patience_ms).unwrap_or(usize::MAX)),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return wrong(format!("[rpc_limits] {name} is 0, with which nobody is served: write at least 1"));
        }
        let bytes = [
            // Large answers have half of a budget.
            ("max_bytes_per_connection", self.max_bytes_per_connection, LEAST_BYTES),
            ("max_bytes_per_host", self.max_bytes_per_host, LEAST_BYTES * 2),
            ("max_bytes", self.max_bytes, LEAST_BYTES * 2),
        ];
        if let Some((name, given, least)) = bytes.iter().find(|(_, given, least)| given < least) {
            return wrong(format!(
                "[rpc_limits] {name} is {given}: the largest answer needs at least {least}"
            ));
        }
        Ok(())
    }
}

/// Why the RPC is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error(
        "cannot serve RPC on {address}: {source}. Is another node running there? --rpc chooses another address"
    )]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The address for health and metrics cannot be listened on.
    #[error(
        "cannot serve health and metrics on {address}: {source}. Is another node running there? --metrics chooses another address"
    )]
    ListenMetrics {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no more threads.
    #[error("cannot start the RPC's threads: {0}. Are there too many processes?")]
    Threads(#[source] std::io::Error),
    /// A setting that cannot work.
    #[error("{0}")]
    Setting(String),
    /// Two methods have one name.
    #[error("the table of methods is wrong: {0}")]
    Table(String),
}

/// The RPC of a node, served until this is dropped or stopped.
#[derive(Debug)]
pub struct RpcServer {
    serving: Serving,
    _threads: Threads,
}

/// Threads of the RPC's own. Calls, however many, so wait for each other, and the system sees to it that consensus,
/// whose tasks run on other threads, has its part of the processors.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    const NUMBER: usize = 2;

    fn new() -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(Self::NUMBER).thread_name("rpc").enable_all().build().map(|it| Self(Some(it)))
    }
}

impl std::ops::Deref for Threads {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("taken only where it ends")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Reads that are under way end by themselves: an asynchronous task must not wait for them.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What is served.
#[derive(Debug)]
struct Serving {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl RpcServer {
    /// Serves the RPC of a node, its health at `/health`, and at `/metrics` these metrics
    /// and the node's own.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start(config: RpcConfig, node: NodeHandle, metrics: Registry) -> Result<Self, ServeError> {
        config.check()?;
        let threads = Threads::new().map_err(ServeError::Threads)?;
        match threads.spawn(serve(config, node, metrics)).await {
            Ok(serving) => Ok(Self { serving: serving?, _threads: threads }),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// Where health and metrics are served besides.
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.serving.metrics
    }

    /// Ends all connections.
    pub async fn stop(self) {
        let Serving { stop, tasks, .. } = &self.serving;
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(STOP_GRACE, tasks.wait()).await.is_err() {
            debug!("rpc: connections were cut");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Connections have tasks of their own, which end at this signal.
        self.stop.cancel();
    }
}

/// Serves within the threads that this is run on.
async fn serve(config: RpcConfig, node: NodeHandle, mut metrics: Registry) -> Result<Serving, ServeError> {
    let listening = |source| ServeError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    if !address.ip().is_loopback() {
        warn!(%address, "rpc: served beyond this machine, without authentication or encryption");
    }
    let metrics_listener = listen_for_metrics(config.metrics).await?;
    let metrics_address = match &metrics_listener {
        Some(listener) => Some(listener.local_addr().map_err(listening)?),
        None => None,
    };

    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let hosts = Hosts::new(&config);
    let health = HealthWatch::new(node.clone(), Arc::clone(&hosts));
    tasks.spawn(health.clone().run(stop.clone()));
    metrics.register_collector(Box::new(NodeCollector::new(node.clone())));
    metrics.register_collector(Box::new(RpcCollector::new(Arc::clone(&hosts), health.clone())));
    let service = Service {
        calls: Some(Calls::new(methods(node)?, config.max_batch as usize)),
        access: Access::new(&config.allow_hosts, &config.cors),
        health,
        metrics: Arc::new(metrics),
        config: Arc::new(config.clone()),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    if let Some(listener) = metrics_listener {
        let few = RpcConfig {
            max_connections: METRICS_CONNECTIONS,
            max_connections_per_host: METRICS_CONNECTIONS / 2,
            ..config
        };
        let service = Service { calls: None, ..service.clone() };
        tasks.spawn(listener::serve(listener, Hosts::new(&few), service));
    }
    tasks.spawn(listener::serve(listener, hosts, service));
    Ok(Serving { address, metrics: metrics_address, stop, tasks })
}

/// The table of all methods.
pub(super) fn methods(node: NodeHandle) -> Result<RpcModule, ServeError> {
    let queries = Queries::new(node.chain.reader().clone());
    let mut methods = Methods { node, queries: queries.clone() }.into_rpc();
    methods
        .merge(Subscriptions::new(queries).into_rpc())
        .map_err(|error| ServeError::Table(error.to_string()))?;
    Ok(RpcModule::from(methods))
}

async fn listen_for_metrics(at: MetricsAt) -> Result<Option<TcpListener>, ServeError> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    match at {
        MetricsAt::Nowhere => return Ok(None),
        MetricsAt::FirstFree => {
            for port in METRICS_PORT..METRICS_PORT + METRICS_PORTS {
                if let Ok(listener) = TcpListener::bind(local(port)).await {
                    return Ok(Some(listener));
                }
            }
        }
        MetricsAt::Address(_) => {}
    }
    let address = if let MetricsAt::Address(address) = at { address } else { local(METRICS_PORT) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|source| ServeError::ListenMetrics { address, source })
}
