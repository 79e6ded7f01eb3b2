use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jsonrpsee::Methods as RpcModule;
use jsonrpsee::server::{
    BatchRequestConfig, PingConfig, Server, ServerConfig, ServerHandle, StopHandle, stop_channel,
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tower::Service;
use tracing::{debug, warn};

use super::health::health;
use super::listener::Limited;
use super::methods::Methods;
use super::metrics::NodeCollector;
use super::queries::Queries;
use super::subscriptions::Subscriptions;
use crate::node::NodeHandle;
use crate::rpc::api::{EventsApiServer, NodeApiServer};
use crate::rpc::types::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};

/// How the RPC is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcConfig {
    /// Where to listen. Port 0: the system chooses.
    pub listen: SocketAddr,
    /// Connections at a time; more are closed at once.
    pub max_connections: usize,
    /// Subscriptions of one connection.
    pub max_subscriptions: u32,
    /// Calls in one batch.
    pub max_batch: u32,
    /// Messages that wait for one connection.
    pub max_queued_messages: u32,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9100)),
            max_connections: 512,
            max_subscriptions: 16,
            max_batch: 64,
            max_queued_messages: 256,
        }
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
    /// Two methods have one name.
    #[error("the table of methods is wrong: {0}")]
    Table(String),
}

/// The RPC of a node, served until this is dropped or stopped.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    stop: ServerHandle,
    task: tokio::task::JoinHandle<()>,
}

impl RpcServer {
    /// Serves the RPC of a node, its health at `/health`, and at `/metrics` these metrics
    /// and the node's own.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start(
        config: RpcConfig,
        node: NodeHandle,
        mut metrics: Registry,
    ) -> Result<Self, ServeError> {
        metrics.register_collector(Box::new(NodeCollector::new(node.clone())));
        let listening = |source| ServeError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        if !address.ip().is_loopback() {
            warn!(%address, "rpc: served beyond this machine, without authentication or encryption");
        }
        let (stop_handle, stop) = stop_channel();
        let router = router(config, node, Arc::new(metrics), stop_handle.clone())?;
        let listener = Limited::new(listener, config.max_connections);
        let task = tokio::spawn(async move {
            let stopped = axum::serve(listener, router).with_graceful_shutdown(stop_handle.shutdown()).await;
            if let Err(error) = stopped {
                warn!(%error, "rpc: stopped");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections.
    pub async fn stop(mut self) {
        // An error means that it has stopped already.
        let _ = self.stop.stop();
        let grace = std::time::Duration::from_secs(1);
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            debug!("rpc: connections were cut");
        }
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        // Connections have tasks of their own, which end at this signal.
        let _ = self.stop.stop();
        self.task.abort();
    }
}

fn router(
    config: RpcConfig,
    node: NodeHandle,
    metrics: Arc<Registry>,
    stop: StopHandle,
) -> Result<Router, ServeError> {
    let queries = Queries::new(node.chain.reader().clone());
    let mut methods = Methods { node: node.clone(), queries: queries.clone() }.into_rpc();
    methods
        .merge(Subscriptions { queries }.into_rpc())
        .map_err(|error| ServeError::Table(error.to_string()))?;
    let methods = RpcModule::from(methods);

    let server_config = ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .max_connections(u32::try_from(config.max_connections).unwrap_or(u32::MAX))
        .max_subscriptions_per_connection(config.max_subscriptions)
        .set_message_buffer_capacity(config.max_queued_messages.max(1))
        .set_batch_request_config(BatchRequestConfig::Limit(config.max_batch))
        .enable_ws_ping(PingConfig::new())
        .build();
    let builder = Server::builder().set_config(server_config).to_service_builder();
    let rpc = tower::service_fn(move |request: axum::extract::Request| {
        // A service of its own for each request: subscriptions are told apart by its number.
        let mut service = builder.clone().build(methods.clone(), stop.clone());
        async move {
            let answer = service.call(request).await;
            let answer = answer.map(|response| response.map(axum::body::Body::new));
            let failed = |error| (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
            Ok::<Response, Infallible>(answer.unwrap_or_else(failed))
        }
    });
    Ok(Router::new()
        .route("/health", get(serve_health))
        .with_state(node)
        .route("/metrics", get(serve_metrics).with_state(metrics))
        .fallback_service(rpc))
}

async fn serve_health(State(node): State<NodeHandle>) -> Response {
    let health = health(&node).await;
    let status = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Writing numbers and truth values as JSON cannot fail.
    let body = serde_json::to_string(&health).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn serve_metrics(State(metrics): State<Arc<Registry>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
