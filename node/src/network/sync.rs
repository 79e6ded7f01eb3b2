//! Requests for catching up: opaque bytes there, opaque bytes back.
//!
//! On the wire a request is one frame; a response is a status byte, and a frame when the status
//! is "served".

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::request_response::{
    self, Behaviour, Event, InboundFailure, Message, OutboundFailure, OutboundRequestId, ProtocolSupport,
    ResponseChannel,
};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::config::NetworkLimits;
use super::error::RequestError;
use super::event::{NetworkEvent, SyncResponder};
use super::frame::{FrameReader, write_frame};
use super::identity::key_of_peer;
use super::limits::{Admit, PeerRates};
use super::metrics::NetworkMetrics;
use super::protocols::Protocols;
use super::swarm::Misbehaviour;

const SERVED: u8 = 1;
const BUSY: u8 = 0;

/// The protocol's behaviour.
pub(super) type SyncBehaviour = Behaviour<SyncCodec>;

pub(super) fn behaviour(protocols: &Protocols, limits: &NetworkLimits) -> SyncBehaviour {
    let codec = SyncCodec {
        max_request: limits.max_request_bytes,
        max_response: limits.max_response_bytes,
        frame_timeout: Duration::from_millis(limits.request_timeout_ms),
    };
    let streams = limits.max_inbound_requests_per_peer.saturating_add(limits.max_outbound_requests);
    let config = request_response::Config::default()
        .with_request_timeout(codec.frame_timeout)
        .with_max_concurrent_streams(streams);
    Behaviour::with_codec(codec, [(protocols.sync.clone(), ProtocolSupport::Full)], config)
}

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    Served(Vec<u8>),
    Busy,
}

/// Reads and writes requests and responses, bounded.
#[derive(Debug, Clone)]
pub(super) struct SyncCodec {
    max_request: usize,
    max_response: usize,
    frame_timeout: Duration,
}

impl SyncCodec {
    async fn read_frame<T>(&self, io: &mut T, max: usize) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = FrameReader::new(io, max, self.frame_timeout).next().await;
        frame
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl request_response::Codec for SyncCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_frame(io, self.max_request).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [BUSY];
        io.read_exact(&mut status).await?;
        match status {
            [SERVED] => Ok(Response::Served(self.read_frame(io, self.max_response).await?)),
            [BUSY] => Ok(Response::Busy),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown status of a response")),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match response {
            Response::Busy => io.write_all(&[BUSY]).await,
            Response::Served(bytes) => {
                io.write_all(&[SERVED]).await?;
                write_frame(io, &bytes).await
            }
        }
    }
}

/// Who waits for a response.
type Reply = oneshot::Sender<Result<Vec<u8>, RequestError>>;

/// A request of a peer that the node has dealt with.
pub(super) struct Served {
    peer: PeerId,
    channel: ResponseChannel<Response>,
    /// `None`: the node has dropped the responder, or took too long.
    bytes: Option<Vec<u8>>,
}

/// The requests under way, in both directions.
pub(super) struct SyncRequests {
    waiting: BTreeMap<OutboundRequestId, Reply>,
    serving: FuturesUnordered<BoxFuture<'static, Served>>,
    serving_by_peer: BTreeMap<PeerId, usize>,
    rates: PeerRates,
    events: mpsc::Sender<NetworkEvent>,
    limits: Arc<NetworkLimits>,
    metrics: NetworkMetrics,
}

impl SyncRequests {
    pub(super) fn new(
        events: mpsc::Sender<NetworkEvent>,
        limits: Arc<NetworkLimits>,
        metrics: NetworkMetrics,
    ) -> Self {
        Self {
            waiting: BTreeMap::new(),
            serving: FuturesUnordered::new(),
            serving_by_peer: BTreeMap::new(),
            rates: PeerRates::new(limits.request_rate),
            events,
            limits,
            metrics,
        }
    }

    /// Sends a request to a connected peer.
    pub(super) fn send(&mut self, sync: &mut SyncBehaviour, peer: &PeerId, bytes: Vec<u8>, reply: Reply) {
        if self.waiting.len() >= self.limits.max_outbound_requests {
            answer(reply, Err(RequestError::TooManyRequests));
        } else if !sync.is_connected(peer) {
            answer(reply, Err(RequestError::NotConnected));
        } else {
            self.metrics.sent("sync", bytes.len());
            let id = sync.send_request(peer, bytes);
            self.waiting.insert(id, reply);
        }
    }

    /// Takes in what the behaviour reports.
    pub(super) fn on_event(
        &mut self,
        sync: &mut SyncBehaviour,
        event: Event<Vec<u8>, Response>,
    ) -> Option<Misbehaviour> {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                return self.on_request(sync, peer, request, channel);
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                let outcome = match response {
                    Response::Served(bytes) => {
                        self.metrics.received("sync", bytes.len());
                        Ok(bytes)
                    }
                    Response::Busy => Err(RequestError::Busy),
                };
                self.finish(request_id, outcome);
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, %error, "request failed");
                self.finish(request_id, Err(request_error(error)));
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a peer's request was not answered");
                if matches!(error, InboundFailure::Io(_)) {
                    self.metrics.dropped("sync_malformed");
                }
            }
            Event::ResponseSent { .. } => {}
        }
        None
    }

    /// The next request that the node has dealt with; `None` when there is none under way.
    pub(super) async fn next_served(&mut self) -> Option<Served> {
        self.serving.next().await
    }

    /// Sends the node's response.
    pub(super) fn respond(&mut self, sync: &mut SyncBehaviour, served: Served) {
        if let Some(count) = self.serving_by_peer.get_mut(&served.peer) {
            *count -= 1;
            if *count == 0 {
                self.serving_by_peer.remove(&served.peer);
            }
        }
        let response = match served.bytes {
            Some(bytes) if bytes.len() <= self.limits.max_response_bytes => {
                self.metrics.sent("sync", bytes.len());
                Response::Served(bytes)
            }
            Some(bytes) => {
                tracing::error!(len = bytes.len(), "a response is larger than allowed and is not sent");
                self.metrics.dropped("sync_response_too_large");
                Response::Busy
            }
            None => Response::Busy,
        };
        // An error means that the peer has gone or no longer waits.
        let _ = sync.send_response(served.channel, response);
    }

    fn on_request(
        &mut self,
        sync: &mut SyncBehaviour,
        peer: PeerId,
        bytes: Vec<u8>,
        channel: ResponseChannel<Response>,
    ) -> Option<Misbehaviour> {
        self.metrics.received("sync", bytes.len());
        let refusal = match self.rates.admit(&peer, Instant::now()) {
            Admit::Yes => self.refusal(&peer),
            Admit::Drop => Some("sync_rate"),
            Admit::Disconnect => return Some(Misbehaviour { peer, reason: "sync_flood" }),
        };
        if refusal.is_none()
            && let Ok(from) = key_of_peer(&peer)
            && let Some(response) = self.ask_node(from, bytes)
        {
            *self.serving_by_peer.entry(peer).or_default() += 1;
            // Shorter than the whole request's, so that "busy" arrives before the peer gives up.
            let limit = Duration::from_millis(self.limits.request_timeout_ms) * 3 / 4;
            let serving = async move {
                let bytes = timeout(limit, response).await.ok().and_then(Result::ok);
                Served { peer, channel, bytes }
            };
            self.serving.push(serving.boxed());
            return None;
        }
        self.metrics.dropped(refusal.unwrap_or("sync_queue"));
        // An error means that the peer has gone or no longer waits.
        let _ = sync.send_response(channel, Response::Busy);
        None
    }

    fn refusal(&self, peer: &PeerId) -> Option<&'static str> {
        let of_peer = self.serving_by_peer.get(peer).copied().unwrap_or(0);
        if of_peer >= self.limits.max_inbound_requests_per_peer {
            return Some("sync_peer_limit");
        }
        (self.serving.len() >= self.limits.max_inbound_requests).then_some("sync_limit")
    }

    fn ask_node(&self, from: PublicKey, bytes: Vec<u8>) -> Option<oneshot::Receiver<Vec<u8>>> {
        let (sender, response) = oneshot::channel();
        let responder = SyncResponder::new(sender);
        self.events.try_send(NetworkEvent::SyncRequest { from, bytes, responder }).ok()?;
        Some(response)
    }

    fn finish(&mut self, id: OutboundRequestId, outcome: Result<Vec<u8>, RequestError>) {
        if let Some(reply) = self.waiting.remove(&id) {
            answer(reply, outcome);
        }
    }
}

fn request_error(error: OutboundFailure) -> RequestError {
    match error {
        OutboundFailure::Timeout => RequestError::Timeout,
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => RequestError::NotConnected,
        OutboundFailure::UnsupportedProtocols => RequestError::Unsupported,
        OutboundFailure::Io(error) => RequestError::Failed(error.to_string()),
    }
}

fn answer(reply: Reply, outcome: Result<Vec<u8>, RequestError>) {
    // Who asked may have given up.
    let _ = reply.send(outcome);
}
