//! Sessions: a stream of bounded messages between two authenticated peers, used by consumer and
//! producer while charging.
//!
//! The one who accepts a session says so with one byte, so that a full peer can be told from one
//! that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams, OpenStreamError};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::config::NetworkLimits;
use super::error::SessionError;
use super::frame::{FrameError, FrameReader, write_frame};
use super::guests::Guests;
use super::identity::{key_of_peer, peer_of_key};
use super::limits::{Admit, PeerRates};
use super::metrics::NetworkMetrics;
use super::start::Shared;
use super::swarm::Misbehaviour;

const ACCEPTED: u8 = 1;
const REFUSED: u8 = 0;

/// How long `close` waits for the other side to have read everything.
const LINGER: Duration = Duration::from_secs(1);

/// A session with one peer. Dropping it ends the session.
#[derive(Debug)]
pub struct SessionStream {
    remote: PublicKey,
    frames: FrameReader<Stream>,
    max_len: usize,
    send_timeout: Duration,
    /// Set by what leaves the stream in the middle of a frame.
    is_broken: bool,
    metrics: Arc<NetworkMetrics>,
    /// For a session that the other side opened: its place among the inbound sessions.
    _place: Option<Place>,
}

impl SessionStream {
    /// The other side's authenticated key.
    pub fn remote(&self) -> PublicKey {
        self.remote
    }

    /// Sends one message. Not cancel safe: a session whose send was cut short is closed.
    ///
    /// # Errors
    /// [`SessionError::TooLarge`], after which the session goes on; [`SessionError::Timeout`],
    /// [`SessionError::Closed`] and [`SessionError::Failed`], after which it does not.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), SessionError> {
        if message.len() > self.max_len {
            return Err(SessionError::TooLarge { len: message.len(), max: self.max_len });
        }
        if std::mem::replace(&mut self.is_broken, true) {
            return Err(SessionError::Closed);
        }
        timeout(self.send_timeout, write_frame(self.frames.stream_mut(), message))
            .await
            .map_err(|_| SessionError::Timeout)?
            .map_err(|error| SessionError::Failed(error.to_string()))?;
        self.is_broken = false;
        self.metrics.sent("session", message.len());
        Ok(())
    }

    /// Waits for a message, at most this long. Cancel safe.
    ///
    /// # Errors
    /// [`SessionError::Timeout`], after which the session goes on; [`SessionError::Closed`],
    /// [`SessionError::TooLarge`] and [`SessionError::Failed`], after which it does not.
    pub async fn receive(&mut self, within: Duration) -> Result<Vec<u8>, SessionError> {
        if self.is_broken {
            return Err(SessionError::Closed);
        }
        let outcome = timeout(within, self.frames.next()).await.map_err(|_| SessionError::Timeout)?;
        if !matches!(outcome, Ok(Some(_))) {
            self.is_broken = true;
        }
        let message = match outcome {
            Ok(message) => message.ok_or(SessionError::Closed)?,
            Err(FrameError::TooLarge { len, max }) => return Err(SessionError::TooLarge { len, max }),
            Err(error) => return Err(SessionError::Failed(error.to_string())),
        };
        self.metrics.received("session", message.len());
        Ok(message)
    }

    /// Ends the session after everything sent has been read, or after a second.
    pub async fn close(mut self) {
        let stream = self.frames.stream_mut();
        let drain = async {
            stream.close().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        // Closing is a courtesy: the session is over, whatever comes of it.
        let _ = timeout(LINGER, drain).await;
    }
}

/// Opens sessions with connected peers.
#[derive(Clone)]
pub(super) struct SessionOpener {
    control: Control,
    protocol: StreamProtocol,
    limits: Arc<NetworkLimits>,
    metrics: Arc<NetworkMetrics>,
}

impl SessionOpener {
    pub(super) fn new(control: Control, protocol: StreamProtocol, shared: &Shared) -> Self {
        let limits = Arc::clone(&shared.limits);
        Self { control, protocol, limits, metrics: Arc::new(shared.metrics.clone()) }
    }

    pub(super) async fn open(&self, remote: PublicKey) -> Result<SessionStream, SessionError> {
        let limit = Duration::from_millis(self.limits.session_timeout_ms);
        let stream = timeout(limit, self.negotiate(&remote)).await.map_err(|_| SessionError::Timeout)??;
        Ok(session(remote, stream, &self.limits, &self.metrics, None))
    }

    async fn negotiate(&self, remote: &PublicKey) -> Result<Stream, SessionError> {
        let peer = peer_of_key(remote).map_err(|_| SessionError::UnusableKey)?;
        let mut control = self.control.clone();
        let mut stream =
            control.open_stream(peer, self.protocol.clone()).await.map_err(|error| match error {
                OpenStreamError::UnsupportedProtocol(_) => SessionError::Unsupported,
                error => SessionError::Failed(error.to_string()),
            })?;
        let mut answer = [REFUSED];
        match stream.read_exact(&mut answer).await {
            Ok(()) if answer == [ACCEPTED] => Ok(stream),
            Ok(()) => Err(SessionError::Refused),
            Err(error) => Err(SessionError::Failed(error.to_string())),
        }
    }
}

/// Accepts the sessions that peers open, as far as there is room.
pub(super) struct SessionAcceptor {
    incoming: IncomingStreams,
    accepted: mpsc::Sender<SessionStream>,
    misbehaviours: mpsc::Sender<Misbehaviour>,
    limits: Arc<NetworkLimits>,
    metrics: Arc<NetworkMetrics>,
    rates: PeerRates,
    places: Arc<Semaphore>,
    /// Whose first session needs none of the places that all share, and what others have.
    guests: Option<(Guests, Arc<Semaphore>)>,
    places_of_peers: BTreeMap<PeerId, Arc<Semaphore>>,
}

impl SessionAcceptor {
    pub(super) fn new(
        incoming: IncomingStreams,
        accepted: mpsc::Sender<SessionStream>,
        shared: Shared,
    ) -> Self {
        let Shared { limits, metrics, misbehaviours } = shared;
        Self {
            incoming,
            accepted,
            misbehaviours,
            metrics: Arc::new(metrics),
            rates: PeerRates::new(limits.stream_rate),
            places: Arc::new(Semaphore::new(limits.max_inbound_sessions)),
            guests: None,
            places_of_peers: BTreeMap::new(),
            limits,
        }
    }

    /// With room for guests, if there are any, and a room of their own for strangers.
    pub(super) fn expecting(mut self, guests: Option<Guests>) -> Self {
        self.guests = guests.map(|guests| {
            let places = Arc::new(Semaphore::new(guests.strangers.sessions));
            (guests, places)
        });
        self
    }

    /// Runs until the swarm is gone.
    pub(super) async fn run(mut self) {
        while let Some((peer, stream)) = self.incoming.next().await {
            let Ok(remote) = key_of_peer(&peer) else { continue };
            let admitted = self.rates.admit(&peer, Instant::now());
            if admitted == Admit::Disconnect {
                // A full queue: the next stream reports it again.
                let _ = self.misbehaviours.try_send(Misbehaviour { peer, reason: "session_streams" });
            }
            if admitted != Admit::Yes {
                self.metrics.dropped("session_rate");
                tracing::debug!(peer = %remote, "dropping a session: the peer opens too many streams");
                continue;
            }
            let place = self.place(&peer, &remote);
            if place.is_none() {
                self.metrics.dropped("session_limit");
                tracing::debug!(peer = %remote, "refusing a session: no room for another");
            }
            tokio::spawn(self.greet(remote, stream, place));
        }
    }

    fn place(&mut self, peer: &PeerId, remote: &PublicKey) -> Option<Place> {
        let max = self.limits.max_inbound_sessions_per_peer;
        self.places_of_peers.retain(|_, places| places.available_permits() < max);
        let of_peer = self.places_of_peers.entry(*peer).or_insert_with(|| Arc::new(Semaphore::new(max)));
        let is_first = of_peer.available_permits() == max;
        let of_peer = Arc::clone(of_peer).try_acquire_owned().ok()?;
        let shared = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let of_all = match &self.guests {
            Some((guests, _)) if guests.expects(remote) && is_first => None,
            Some((guests, strangers)) if !guests.expects(remote) => {
                Some(shared(strangers).filter(|_| is_first)?)
            }
            _ => Some(shared(&self.places)?),
        };
        let open = self.metrics.inbound_sessions.clone();
        open.inc();
        Some(Place { open, _of_peer: of_peer, _of_all: of_all })
    }

    /// Tells the peer whether it has a place, and hands the session to the node.
    fn greet(
        &self,
        remote: PublicKey,
        mut stream: Stream,
        place: Option<Place>,
    ) -> impl Future<Output = ()> + use<> {
        let (limits, metrics) = (Arc::clone(&self.limits), Arc::clone(&self.metrics));
        // The queue has as many places as there are sessions, so it is full only when the node
        // takes none and its sessions end in the queue; those are refused like any above the limit.
        let queue = self.accepted.clone().try_reserve_owned().ok().filter(|_| place.is_some());
        async move {
            let answer = if queue.is_some() { ACCEPTED } else { REFUSED };
            let greeting = async {
                stream.write_all(&[answer]).await?;
                stream.flush().await
            };
            let limit = Duration::from_millis(limits.session_timeout_ms);
            let is_greeted = matches!(timeout(limit, greeting).await, Ok(Ok(())));
            match queue {
                Some(queue) if is_greeted => {
                    queue.send(session(remote, stream, &limits, &metrics, place));
                }
                // Closing, not dropping, lets the answer arrive.
                _ => drop(timeout(limit, stream.close()).await),
            }
        }
    }
}

/// A place among the inbound sessions; free again when dropped.
#[derive(Debug)]
struct Place {
    open: Gauge,
    _of_peer: OwnedSemaphorePermit,
    /// None for a guest's own place.
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

fn session(
    remote: PublicKey,
    stream: Stream,
    limits: &NetworkLimits,
    metrics: &Arc<NetworkMetrics>,
    place: Option<Place>,
) -> SessionStream {
    let max_len = limits.max_session_message_bytes;
    let send_timeout = Duration::from_millis(limits.session_timeout_ms);
    SessionStream {
        remote,
        frames: FrameReader::new(stream, max_len, send_timeout),
        max_len,
        send_timeout,
        is_broken: false,
        metrics: Arc::clone(metrics),
        _place: place,
    }
}
