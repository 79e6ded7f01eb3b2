//! Sessions without a node: what a charging agent's process runs.

use std::sync::Arc;

use evchain_protocol::crypto::{ChainId, KeyPair, PublicKey};
use futures::StreamExt;
use libp2p::ping;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::behaviour::{self, EndpointBehaviour, EndpointBehaviourEvent};
use super::config::NetworkLimits;
use super::connect::{ConnectRequest, Connecting};
use super::error::{SessionError, StartError};
use super::guests::Guests;
use super::identity::libp2p_keys;
use super::listen::ListenAddresses;
use super::metrics::NetworkMetrics;
use super::protocols::{Protocols, Service};
use super::session::{SessionAcceptor, SessionOpener, SessionStream};
use super::start::Shared;
use super::swarm::Misbehaviour;

/// Commands that wait for the endpoint's task.
const COMMAND_QUEUE: usize = 64;

/// Opens and accepts sessions, and does nothing else. Its sessions end when the last clone of
/// the endpoint is dropped.
#[derive(Clone)]
pub struct SessionEndpoint {
    local_key: PublicKey,
    commands: mpsc::Sender<Command>,
    sessions: SessionOpener,
}

enum Command {
    Connect(ConnectRequest),
    ListenAddresses(oneshot::Sender<Vec<Multiaddr>>),
}

impl SessionEndpoint {
    /// Starts an endpoint of this service with this key, listening on `listen` if one is given, and returns it
    /// with the sessions that others open: at most `max_inbound_sessions` at a time. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        service: Service,
        listen: Option<Multiaddr>,
        chain: ChainId,
        keys: &KeyPair,
        limits: NetworkLimits,
    ) -> Result<(Self, mpsc::Receiver<SessionStream>), StartError> {
        Self::start_for(service, listen, chain, keys, limits, None)
    }

    /// The same, with room for those who are expected: strangers are let in as far as there is room beside
    /// them, and give way.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_for(
        service: Service,
        listen: Option<Multiaddr>,
        chain: ChainId,
        keys: &KeyPair,
        limits: NetworkLimits,
        guests: Option<Guests>,
    ) -> Result<(Self, mpsc::Receiver<SessionStream>), StartError> {
        let limits = Arc::new(limits);
        let protocol = Protocols::new(chain).of_service(service);
        let libp2p_keys = libp2p_keys(keys).map_err(|error| StartError::Identity(error.to_string()))?;
        let mut swarm =
            behaviour::swarm(libp2p_keys, EndpointBehaviour::new(&limits, guests.clone()), &limits)?;
        let mut control = swarm.behaviour().streams.new_control();
        let incoming =
            control.accept(protocol.clone()).map_err(|error| StartError::Settings(error.to_string()))?;
        let of_strangers = guests.as_ref().map_or(0, |guests| guests.strangers.sessions);
        let (accepted, inbound) = mpsc::channel((limits.max_inbound_sessions + of_strangers).max(1));
        let addresses = ListenAddresses::start(&mut swarm, listen)?;
        let (misbehaviours, reports) = mpsc::channel(COMMAND_QUEUE);
        let shared = Shared { limits, metrics: NetworkMetrics::default(), misbehaviours };
        let acceptor = SessionAcceptor::new(incoming, accepted, shared.clone()).expecting(guests);
        let acceptor = AbortOnDropHandle::new(tokio::spawn(acceptor.run()));
        let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
        tokio::spawn(async move {
            run(swarm, addresses, inbox, reports).await;
            drop(acceptor);
        });
        let sessions = SessionOpener::new(control, protocol, &shared);
        Ok((Self { local_key: keys.public_key(), commands, sessions }, inbound))
    }

    /// The endpoint's own key.
    pub fn local_key(&self) -> PublicKey {
        self.local_key
    }

    /// Opens a session with the peer at one of these addresses, and waits until the peer has
    /// accepted it.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn open_session(
        &self,
        peer: PublicKey,
        addresses: Vec<Multiaddr>,
    ) -> Result<SessionStream, SessionError> {
        let (request, connected) = ConnectRequest::new(&peer, addresses)?;
        self.commands.send(Command::Connect(request)).await.map_err(|_| SessionError::Stopped)?;
        connected.await.map_err(|_| SessionError::Stopped)??;
        self.sessions.open(peer).await
    }

    /// The addresses on which the endpoint listens, each ending in its own `/p2p/` part; waits
    /// for the first if it was told to listen and has none yet.
    ///
    /// # Errors
    /// [`SessionError::Stopped`].
    pub async fn listen_addresses(&self) -> Result<Vec<Multiaddr>, SessionError> {
        let (reply, addresses) = oneshot::channel();
        self.commands.send(Command::ListenAddresses(reply)).await.map_err(|_| SessionError::Stopped)?;
        addresses.await.map_err(|_| SessionError::Stopped)
    }
}

/// Runs until every handle is gone.
async fn run(
    mut swarm: Swarm<EndpointBehaviour>,
    mut addresses: ListenAddresses,
    mut commands: mpsc::Receiver<Command>,
    mut reports: mpsc::Receiver<Misbehaviour>,
) {
    let mut connecting = Connecting::default();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Connect(request)) => connecting.connect(&mut swarm, request),
                Some(Command::ListenAddresses(reply)) => addresses.tell(&swarm, reply),
            },
            Some(Misbehaviour { peer, reason }) = reports.recv() => {
                tracing::debug!(%peer, reason, "disconnecting a peer");
                // An error means that it has gone already.
                let _ = swarm.disconnect_peer_id(peer);
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { .. } => addresses.on_new_address(&swarm),
                event => on_event(&mut swarm, &mut connecting, event),
            },
        }
    }
}

fn on_event(
    swarm: &mut Swarm<EndpointBehaviour>,
    connecting: &mut Connecting,
    event: SwarmEvent<EndpointBehaviourEvent>,
) {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => connecting.connected(&peer_id),
        SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
            connecting.failed(connection_id, &error);
        }
        SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
            tracing::debug!(address = %send_back_addr, %error, "inbound connection refused");
        }
        SwarmEvent::Behaviour(EndpointBehaviourEvent::Ping(ping::Event {
            peer,
            connection,
            result: Err(error),
        })) => {
            tracing::debug!(%peer, %error, "closing a connection without sign of life");
            swarm.close_connection(connection);
        }
        SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener error"),
        _ => {}
    }
}
