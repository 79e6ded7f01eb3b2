//! Requests for catching up: opaque bytes there, opaque bytes back.
//!
//! On the wire a request is one frame; a response is a status byte and, when the status is "served", a frame
//! and a trailer. A request holds its place, and its response the bytes set aside for it, until the response
//! has left this process.

mod codec;
mod places;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use libp2p::PeerId;
use libp2p::request_response::{
    self, Behaviour, Event, InboundFailure, InboundRequestId, Message, OutboundFailure, OutboundRequestId,
    ProtocolSupport, ResponseChannel,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::config::NetworkLimits;
use super::error::RequestError;
use super::event::{NetworkEvent, SyncAnswer, SyncResponder};
use super::identity::key_of_peer;
use super::limits::{Admit, PeerRates};
use super::metrics::NetworkMetrics;
use super::protocols::Protocols;
use super::swarm::Misbehaviour;
use codec::{Response, SyncCodec};
pub(super) use places::{Asker, ByteBudget, Reservation};
use places::{Place, Places};

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

/// Who waits for a response.
type Reply = oneshot::Sender<Result<Vec<u8>, RequestError>>;

/// An own request that waits.
struct Waiting {
    peer: PeerId,
    reply: Reply,
}

/// A request of a peer that the node has dealt with.
pub(super) struct Served {
    id: InboundRequestId,
    channel: ResponseChannel<Response>,
    /// `None`: the node has dropped the responder, or took too long.
    answer: Option<SyncAnswer>,
}

/// What a peer's request holds.
struct Held {
    _place: Place,
    /// Once there is a response.
    bytes: Option<Reservation>,
}

/// The requests under way, in both directions.
pub(super) struct SyncRequests {
    waiting: BTreeMap<OutboundRequestId, Waiting>,
    serving: FuturesUnordered<BoxFuture<'static, Served>>,
    held: BTreeMap<InboundRequestId, Held>,
    /// Of responses that were not read, or whose stream was reset: parts of them may wait in the connection's
    /// buffers still, so that what they hold is given back later.
    unread: VecDeque<(Instant, Held)>,
    places: Places,
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
            held: BTreeMap::new(),
            unread: VecDeque::new(),
            places: Places::new(Arc::clone(&limits), metrics.clone()),
            rates: PeerRates::new(limits.request_rate),
            events,
            limits,
            metrics,
        }
    }

    /// Sends a request to a connected peer.
    pub(super) fn send(&mut self, sync: &mut SyncBehaviour, peer: &PeerId, bytes: Vec<u8>, reply: Reply) {
        let of_peer = self.waiting.values().filter(|waiting| waiting.peer == *peer).count();
        if self.waiting.len() >= self.limits.max_outbound_requests
            || of_peer >= self.limits.max_outbound_requests_per_peer
        {
            answer(reply, Err(RequestError::TooManyRequests));
        } else if !sync.is_connected(peer) {
            answer(reply, Err(RequestError::NotConnected));
        } else {
            self.metrics.sent("sync", bytes.len());
            let id = sync.send_request(peer, bytes);
            self.waiting.insert(id, Waiting { peer: *peer, reply });
        }
    }

    /// Takes in what the behaviour reports. `asker` tells of a connected peer where it comes from.
    pub(super) fn on_event(
        &mut self,
        sync: &mut SyncBehaviour,
        event: Event<Vec<u8>, Response>,
        asker: impl FnOnce(PeerId) -> Asker,
    ) -> Option<Misbehaviour> {
        match event {
            Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                return self.on_request(sync, &asker(peer), request_id, request, channel);
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
            Event::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, %error, "a peer's request was not answered");
                self.on_inbound_failure(request_id, &error);
            }
            Event::ResponseSent { request_id, .. } => drop(self.held.remove(&request_id)),
        }
        None
    }

    /// The next request that the node has dealt with; `None` when there is none under way.
    pub(super) async fn next_served(&mut self) -> Option<Served> {
        self.serving.next().await
    }

    /// Sends the node's response.
    pub(super) fn respond(&mut self, sync: &mut SyncBehaviour, served: Served) {
        // Not there: the peer has gone, or waited in vain.
        let Some(held) = self.held.get_mut(&served.id) else { return };
        let response = match served.answer {
            Some(SyncAnswer { bytes, reserved }) if bytes.len() <= self.limits.max_response_bytes => {
                self.metrics.sent("sync", bytes.len());
                held.bytes = Some(reserved);
                Response::Served(bytes)
            }
            Some(SyncAnswer { bytes, .. }) => {
                tracing::error!(len = bytes.len(), "a response is larger than allowed and is not sent");
                self.metrics.dropped("sync_response_too_large");
                Response::Busy
            }
            None => Response::Busy,
        };
        // An error means that the peer has gone or no longer waits, which an event tells too.
        let _ = sync.send_response(served.channel, response);
    }

    fn on_request(
        &mut self,
        sync: &mut SyncBehaviour,
        asker: &Asker,
        id: InboundRequestId,
        bytes: Vec<u8>,
        channel: ResponseChannel<Response>,
    ) -> Option<Misbehaviour> {
        self.metrics.received("sync", bytes.len());
        let now = Instant::now();
        self.unread.retain(|(until, _)| *until > now);
        let admitted = match self.rates.admit(&asker.peer, now) {
            Admit::Yes => self.ask_node(asker, id, bytes),
            Admit::Drop => Err("sync_rate"),
            Admit::Disconnect => return Some(Misbehaviour { peer: asker.peer, reason: "sync_flood" }),
        };
        match admitted {
            Ok(response) => {
                // Shorter than the whole request's, so that "busy" arrives before the peer gives up.
                let limit = Duration::from_millis(self.limits.request_timeout_ms) * 3 / 4;
                let serving = async move {
                    let answer = timeout(limit, response).await.ok().and_then(Result::ok);
                    Served { id, channel, answer }
                };
                self.serving.push(serving.boxed());
            }
            Err(reason) => {
                self.metrics.dropped(reason);
                // An error means that the peer has gone or no longer waits.
                let _ = sync.send_response(channel, Response::Busy);
            }
        }
        None
    }

    /// Hands a request to the node, if there is a place for it; otherwise says why not.
    fn ask_node(
        &mut self,
        asker: &Asker,
        id: InboundRequestId,
        bytes: Vec<u8>,
    ) -> Result<oneshot::Receiver<SyncAnswer>, &'static str> {
        let from: PublicKey = key_of_peer(&asker.peer).map_err(|_| "sync_queue")?;
        let (place, budget) = self.places.take(asker)?;
        let (sender, response) = oneshot::channel();
        let responder = SyncResponder::new(sender, budget, self.limits.max_response_bytes);
        self.events
            .try_send(NetworkEvent::SyncRequest { from, bytes, responder })
            .map_err(|_| "sync_queue")?;
        self.held.insert(id, Held { _place: place, bytes: None });
        Ok(response)
    }

    fn on_inbound_failure(&mut self, id: InboundRequestId, error: &InboundFailure) {
        let held = self.held.remove(&id);
        match error {
            // With the connection its buffers are gone.
            InboundFailure::ConnectionClosed | InboundFailure::ResponseOmission => return,
            InboundFailure::Io(_) => self.metrics.dropped("sync_cut_off"),
            InboundFailure::Timeout | InboundFailure::UnsupportedProtocols => {
                self.metrics.dropped("sync_unread");
            }
        }
        if let Some(held) = held.filter(|held| held.bytes.is_some()) {
            let until = Instant::now() + Duration::from_millis(self.limits.request_timeout_ms);
            self.unread.push_back((until, held));
        }
    }

    fn finish(&mut self, id: OutboundRequestId, outcome: Result<Vec<u8>, RequestError>) {
        if let Some(Waiting { reply, .. }) = self.waiting.remove(&id) {
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
