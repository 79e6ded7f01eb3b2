use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use jsonrpsee::core::client::{Error as ClientError, Subscription};
use jsonrpsee::ws_client::{PingConfig, WsClient, WsClientBuilder};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use super::endpoint::Endpoint;
use super::rpc_client::{Node, innermost, leave};
use crate::rpc::error::{RpcError, Unreachable};
use crate::rpc::types::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};

/// How long connecting and subscribing may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after all nodes were tried in vain; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Items that wait here for whoever follows; above, the subscription starts anew.
const BUFFERED_ITEMS: usize = 1_024;
/// A node that says nothing for as long is given up.
const SILENCE: Duration = Duration::from_secs(20);

/// Makes a subscription at a node.
pub(super) trait Subscribe<T>:
    Fn(Arc<WsClient>) -> BoxFuture<'static, Result<Subscription<T>, ClientError>> + Send + Sync
{
}

impl<T, F> Subscribe<T> for F where
    F: Fn(Arc<WsClient>) -> BoxFuture<'static, Result<Subscription<T>, ClientError>> + Send + Sync
{
}

/// A subscription that outlives the connection it came by: it goes on at the next node that answers.
pub struct Follow<T> {
    nodes: Arc<[Node]>,
    /// The node at which it subscribes first: the one that the client uses for its calls.
    current: Arc<AtomicUsize>,
    /// The node at which it is subscribed, or was last.
    at: usize,
    subscribe: Arc<dyn Subscribe<T>>,
    live: Option<Live<T>>,
    /// An attempt to subscribe, which goes on when `next` is cancelled.
    attempt: Option<AbortOnDropHandle<Attempt<T>>>,
    pause: Duration,
}

/// At which node it is subscribed now.
type Attempt<T> = Result<(Live<T>, usize), RpcError>;

/// Something that a subscription brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed<T> {
    /// The next item.
    Item(T),
    /// The subscription was interrupted and goes on from here. What came between must be asked for.
    Resumed,
}

/// The subscription, and the connection that it ends with.
struct Live<T> {
    subscription: Subscription<T>,
    _connection: Arc<WsClient>,
}

impl<T: DeserializeOwned + Send + 'static> Follow<T> {
    pub(super) async fn start(
        nodes: Arc<[Node]>,
        current: Arc<AtomicUsize>,
        subscribe: Box<dyn Subscribe<T>>,
    ) -> Result<Self, RpcError> {
        let (at, subscribe) = (current.load(Ordering::Relaxed), Arc::from(subscribe));
        let mut follow =
            Self { nodes, current, at, subscribe, live: None, attempt: None, pause: FIRST_PAUSE };
        follow.resume(Duration::ZERO).await?;
        Ok(follow)
    }

    /// The next item, or that some were lost. Waits for as long as it takes, for a node to come back
    /// too. Cancel safe: an attempt to subscribe goes on with the next call.
    pub async fn next(&mut self) -> Followed<T> {
        loop {
            match &mut self.live {
                Some(live) => match live.subscription.next().await {
                    Some(Ok(item)) => return Followed::Item(item),
                    // An item that cannot be read is lost just like those of a lost connection.
                    Some(Err(_)) | None => self.live = None,
                },
                None => match self.resume(self.pause).await {
                    Ok(()) => return Followed::Resumed,
                    Err(error) => {
                        tracing::debug!(%error, "subscription interrupted");
                        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    }
                },
            }
        }
    }

    /// The node that it is subscribed at.
    pub fn node(&self) -> &Endpoint {
        &self.nodes[self.at].endpoint
    }

    /// Gives the node up that it is subscribed at, which is alive and brings nothing: the client's calls
    /// leave it, too, and the next item comes from where they go. Nothing where it is not subscribed.
    pub fn skip(&mut self) {
        if self.live.take().is_some() {
            leave(&self.current, self.at, self.nodes.len());
        }
    }

    /// Subscribes anew, at the node that the client's calls use now.
    pub fn restart(&mut self) {
        self.live = None;
    }

    /// Subscribes at the first node that takes it, after a pause.
    async fn resume(&mut self, pause: Duration) -> Result<(), RpcError> {
        let attempt = self.attempt.get_or_insert_with(|| {
            let (nodes, subscribe) = (Arc::clone(&self.nodes), Arc::clone(&self.subscribe));
            let current = Arc::clone(&self.current);
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                subscribe_at_any(&nodes, current.load(Ordering::Relaxed), &*subscribe).await
            }))
        });
        let came = attempt.await;
        self.attempt = None;
        let (live, at) = came.unwrap_or_else(|error| Err(RpcError::Unreadable(error.to_string())))?;
        (self.live, self.at, self.pause) = (Some(live), at, FIRST_PAUSE);
        Ok(())
    }
}

/// Asks each node in turn, `first` first.
async fn subscribe_at_any<T>(nodes: &[Node], first: usize, subscribe: &dyn Subscribe<T>) -> Attempt<T> {
    let (mut tried, mut refused) = (Vec::new(), None);
    for index in (0..nodes.len()).map(|offset| (first + offset) % nodes.len()) {
        let endpoint = &nodes[index].endpoint;
        let attempt = open(endpoint.ws_url(), subscribe);
        match tokio::time::timeout(SUBSCRIBE_TIMEOUT, attempt).await {
            Ok(Ok(live)) => return Ok((live, index)),
            // One with too many subscriptions says so; another may take it.
            Ok(Err(ClientError::Call(refusal))) => refused = Some(ClientError::Call(refusal)),
            Ok(Err(error)) => tried.push((endpoint.to_string(), innermost(&error))),
            Err(_) => tried
                .push((endpoint.to_string(), format!("no answer within {} s", SUBSCRIBE_TIMEOUT.as_secs()))),
        }
    }
    Err(refused.map_or_else(|| Unreachable { tried }.into(), RpcError::from))
}

async fn open<T>(url: String, subscribe: &dyn Subscribe<T>) -> Result<Live<T>, ClientError> {
    let ping = PingConfig::new().ping_interval(SILENCE / 2).inactive_limit(SILENCE);
    let client = WsClientBuilder::default()
        .max_request_size(MAX_REQUEST_BYTES)
        .max_response_size(MAX_RESPONSE_BYTES)
        .max_frame_size(MAX_RESPONSE_BYTES)
        .max_buffer_capacity_per_subscription(BUFFERED_ITEMS)
        .enable_ws_ping(ping)
        .build(url)
        .await?;
    let connection = Arc::new(client);
    let subscription = subscribe(Arc::clone(&connection)).await?;
    Ok(Live { subscription, _connection: connection })
}
