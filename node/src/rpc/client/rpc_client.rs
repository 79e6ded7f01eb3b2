use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evchain_protocol::crypto::{ChainId, PublicKey};
use evchain_protocol::primitives::{RegionId, TxRef};
use jsonrpsee::core::client::{BatchResponse, ClientT, Error as ClientError};
use jsonrpsee::core::params::BatchRequestBuilder;
use jsonrpsee::core::traits::ToRpcParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::endpoint::Endpoint;
use super::follow::Follow;
use crate::rpc::api::{EventsApiClient, NodeApiClient};
use crate::rpc::error::{RpcError, Unreachable};
use crate::rpc::types::{
    BidInfo, BlockNotice, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, MAX_WAIT_MS, PartyNotice, RequestInfo,
};

/// How long a node may take to answer a call that waits for nothing.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take to answer a call that waits for finality.
const WAIT_TIMEOUT: Duration = Duration::from_millis(MAX_WAIT_MS + 10_000);
/// How long connecting to a node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Talks to one of several nodes of a chain, and to the next when that one does not answer. Cheap to
/// clone; clones agree on which node they use.
///
/// Calls are those of [`NodeApiClient`]; their errors convert to [`RpcError`]. A call can reach two
/// nodes when the first does not answer; this is harmless, a transaction has one id everywhere.
#[derive(Debug, Clone)]
pub struct RpcClient {
    nodes: Arc<[Node]>,
    /// Which node is asked first. An index of `nodes`, shared by all clones and subscriptions.
    current: Arc<AtomicUsize>,
    /// The only node that is asked, in a view that [`RpcClient::pinned`] gave.
    pin: Option<usize>,
    chain: ChainId,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    http: HttpClient,
}

impl RpcClient {
    /// A client of these nodes, of which one at least answers now.
    ///
    /// # Errors
    /// [`RpcError::Unreachable`].
    pub async fn connect(endpoints: &[Endpoint]) -> Result<Self, RpcError> {
        let nodes = endpoints.iter().map(Node::new).collect::<Result<Arc<[Node]>, _>>()?;
        // The chain is not known yet, and nothing reads it before it is.
        let chain = ChainId(evchain_protocol::crypto::Hash::ZERO);
        let mut client = Self { nodes, current: Arc::default(), pin: None, chain };
        client.chain = NodeApiClient::chain(&client).await?.id;
        Ok(client)
    }

    /// The id of the chain, for signing.
    pub fn chain_id(&self) -> ChainId {
        self.chain
    }

    /// The node that answered last.
    pub fn current(&self) -> &Endpoint {
        &self.nodes[self.first()].endpoint
    }

    /// How many nodes there are, those that do not answer among them.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Which of the nodes is asked first, from 0.
    pub fn index(&self) -> usize {
        self.first()
    }

    /// A view that asks the current node alone, for questions whose answers must come from one node. It
    /// stays at that node when the others move on, and reports a failure in place of asking another.
    #[must_use]
    pub fn pinned(&self) -> Self {
        Self { pin: Some(self.first()), ..self.clone() }
    }

    /// Leaves this client's node for the next one: it answers, and not with what is needed. All clones
    /// follow, unless they have left that node already: of several that find it wanting one moves on.
    pub fn skip(&self) {
        leave(&self.current, self.first(), self.nodes.len());
    }

    /// Follows the final blocks from now on.
    ///
    /// # Errors
    /// [`RpcError`], if no node takes the subscription.
    pub async fn follow_blocks(&self) -> Result<Follow<BlockNotice>, RpcError> {
        self.follow(|node| Box::pin(async move { node.subscribe_blocks().await })).await
    }

    /// Follows new requests, of one region or of all.
    ///
    /// # Errors
    /// As [`RpcClient::follow_blocks`].
    pub async fn follow_requests(&self, region: Option<RegionId>) -> Result<Follow<RequestInfo>, RpcError> {
        self.follow(move |node| Box::pin(async move { node.subscribe_requests(region).await })).await
    }

    /// Follows new and lowered bids, for one request or for all.
    ///
    /// # Errors
    /// As [`RpcClient::follow_blocks`].
    pub async fn follow_bids(&self, request: Option<TxRef>) -> Result<Follow<BidInfo>, RpcError> {
        self.follow(move |node| Box::pin(async move { node.subscribe_bids(request).await })).await
    }

    /// Follows what happens to a party's money.
    ///
    /// # Errors
    /// As [`RpcClient::follow_blocks`].
    pub async fn follow_payments(&self, party: PublicKey) -> Result<Follow<PartyNotice>, RpcError> {
        self.follow(move |node| Box::pin(async move { node.subscribe_payments(party).await })).await
    }

    async fn follow<T: DeserializeOwned + Send + 'static>(
        &self,
        subscribe: impl super::follow::Subscribe<T> + 'static,
    ) -> Result<Follow<T>, RpcError> {
        Follow::start(Arc::clone(&self.nodes), Arc::clone(&self.current), Box::new(subscribe)).await
    }

    fn first(&self) -> usize {
        self.pin.unwrap_or_else(|| self.current.load(Ordering::Relaxed))
    }

    /// Calls the current node, and the others in turn while they do not answer; in a pinned view no others.
    async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
    ) -> Result<R, ClientError> {
        let patience = match method {
            "evchain_wait" | "evchain_submitAndWait" => WAIT_TIMEOUT,
            _ => CALL_TIMEOUT,
        };
        let mut tried = Vec::new();
        let first = self.first();
        let reach = if self.pin.is_some() { 1 } else { self.nodes.len() };
        for index in (0..reach).map(|offset| (first + offset) % self.nodes.len()) {
            let node = &self.nodes[index];
            let call = ClientT::request(&node.http, method, Params(params.clone()));
            let answer =
                tokio::time::timeout(patience, call).await.unwrap_or(Err(ClientError::RequestTimeout));
            match answer {
                Err(ClientError::Transport(reason)) => {
                    tried.push((node.endpoint.to_string(), with_hint(innermost(&*reason))));
                }
                Err(ClientError::RequestTimeout) => {
                    tried.push((
                        node.endpoint.to_string(),
                        format!("no answer within {} s", patience.as_secs()),
                    ));
                }
                answer => {
                    if index != first {
                        // Unless somebody has found a better one meanwhile.
                        let _ =
                            self.current.compare_exchange(first, index, Ordering::Relaxed, Ordering::Relaxed);
                    }
                    return answer;
                }
            }
        }
        Err(ClientError::Transport(Box::new(Unreachable { tried })))
    }
}

impl Node {
    fn new(endpoint: &Endpoint) -> Result<Self, RpcError> {
        let http = HttpClientBuilder::default()
            .max_request_size(MAX_REQUEST_BYTES)
            .max_response_size(MAX_RESPONSE_BYTES)
            .connect_timeout(CONNECT_TIMEOUT)
            .request_timeout(WAIT_TIMEOUT)
            .build(endpoint.http_url())?;
        Ok(Self { endpoint: endpoint.clone(), http })
    }
}

/// Parameters that were encoded once for several nodes.
struct Params(Option<Box<RawValue>>);

impl ToRpcParams for Params {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

impl ClientT for RpcClient {
    async fn notification<P: ToRpcParams + Send>(&self, method: &str, params: P) -> Result<(), ClientError> {
        self.nodes[self.first()].http.notification(method, params).await
    }

    async fn request<R, P>(&self, method: &str, params: P) -> Result<R, ClientError>
    where
        R: DeserializeOwned,
        P: ToRpcParams + Send,
    {
        let params = params.to_rpc_params()?;
        self.call(method, params).await
    }

    async fn batch_request<'a, R>(
        &self,
        batch: BatchRequestBuilder<'a>,
    ) -> Result<BatchResponse<'a, R>, ClientError>
    where
        R: DeserializeOwned + std::fmt::Debug + 'a,
    {
        self.nodes[self.first()].http.batch_request(batch).await
    }
}

/// Moves on from the node with this index, if it is the current one still.
pub(super) fn leave(current: &AtomicUsize, index: usize, count: usize) {
    let next = (index + 1) % count.max(1);
    let _ = current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
}

/// What can be done about a refusal, which has no other words than its code.
fn with_hint(reason: String) -> String {
    let is_forbidden = reason.contains("403");
    let hint = "the node does not allow this host name, see its --rpc-allow-host";
    if is_forbidden { format!("{reason}: {hint}") } else { reason }
}

/// What is really wrong, below the layers that only say that something is.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
