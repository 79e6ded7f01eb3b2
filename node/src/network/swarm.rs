//! The task that owns the swarm.

mod authorities;
mod gossiping;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use evchain_protocol::crypto::PublicKey;
use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, ping};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::announcement::Announcements;
use super::authority_links::AuthorityLinks;
use super::behaviour::{NodeBehaviour, NodeBehaviourEvent};
use super::config::NetworkLimits;
use super::connect::Connecting;
use super::error::RequestError;
use super::event::{EventSenders, NetworkEvent};
use super::gossip::{Batcher, Topics};
use super::gossip_health::GossipHealth;
use super::handle::{Command, PeerInfo};
use super::identity::{key_of_peer, peer_of_key};
use super::limits::{Admit, PeerRates};
use super::listen::{ListenAddresses, with_own_peer};
use super::metrics::NetworkMetrics;
use super::offences::Offences;
use super::peers::{PeerBook, is_same_host};
use super::protocols::{Protocols, Topic};
use super::status::NetworkStatus;
use super::sync::{Asker, SyncRequests};
pub(super) use authorities::Announcer;

/// How much of a peer's name for its software is kept.
const MAX_AGENT_CHARS: usize = 64;

/// A peer broke the rules and is to be disconnected and refused for a while.
#[derive(Debug)]
pub(super) struct Misbehaviour {
    pub(super) peer: PeerId,
    /// The label in the metrics.
    pub(super) reason: &'static str,
}

/// A peer with at least one connection.
struct ConnectedPeer {
    key: PublicKey,
    /// Of the newest connection.
    address: Multiaddr,
    /// Whether this node dialed it.
    is_dialed: bool,
    /// Whether it has told by identify who it is, as one does that lets this node in.
    is_identified: bool,
    agent: Option<String>,
}

/// What the task is made of.
pub(super) struct Parts {
    pub(super) swarm: Swarm<NodeBehaviour>,
    pub(super) addresses: ListenAddresses,
    pub(super) links: AuthorityLinks,
    pub(super) announcements: Announcements,
    pub(super) announcer: Announcer,
    pub(super) acceptors: [AbortOnDropHandle<()>; 2],
    pub(super) bootstrap: Vec<(PeerId, Multiaddr)>,
    pub(super) protocols: Protocols,
    pub(super) events: EventSenders,
    pub(super) status: watch::Sender<NetworkStatus>,
    pub(super) limits: Arc<NetworkLimits>,
    pub(super) metrics: NetworkMetrics,
}

/// The task's state.
pub(super) struct NetworkTask {
    swarm: Swarm<NodeBehaviour>,
    addresses: ListenAddresses,
    book: PeerBook,
    links: AuthorityLinks,
    announcements: Announcements,
    announcer: Announcer,
    /// When it was last said that peers may be refusing this node.
    refusal_told_at: Option<Instant>,
    sync: SyncRequests,
    topics: Topics,
    batcher: Batcher,
    identify_rates: PeerRates,
    gossip_rates: PeerRates,
    gossip_byte_rates: PeerRates,
    /// Bytes of received gossip that may wait for the node.
    gossip_budget: Arc<Semaphore>,
    gossip_health: GossipHealth,
    connecting: Connecting,
    peers: BTreeMap<PeerId, ConnectedPeer>,
    offences: Offences,
    bootstrap: BTreeSet<PeerId>,
    protocols: Protocols,
    events: EventSenders,
    status: watch::Sender<NetworkStatus>,
    upkeep_at: Instant,
    limits: Arc<NetworkLimits>,
    metrics: NetworkMetrics,
    _acceptors: [AbortOnDropHandle<()>; 2],
}

impl NetworkTask {
    pub(super) fn new(parts: Parts) -> Self {
        let (limits, metrics, events) = (&parts.limits, &parts.metrics, &parts.events);
        let bootstrap = parts.bootstrap.iter().map(|(peer, _)| *peer).collect();
        let mut task = Self {
            book: PeerBook::new(parts.bootstrap, limits, Instant::now()),
            sync: SyncRequests::new(events.requests.clone(), Arc::clone(limits), metrics.clone()),
            topics: Topics::new(&parts.protocols),
            batcher: Batcher::new(limits),
            identify_rates: PeerRates::new(limits.stream_rate),
            gossip_rates: PeerRates::new(limits.gossip_rate),
            gossip_byte_rates: PeerRates::new(limits.gossip_byte_rate),
            // The largest message always fits.
            gossip_budget: Arc::new(Semaphore::new(limits.gossip_queue_bytes.max(limits.max_gossip_bytes))),
            gossip_health: GossipHealth::default(),
            connecting: Connecting::default(),
            peers: BTreeMap::new(),
            offences: Offences::new(limits),
            bootstrap,
            swarm: parts.swarm,
            addresses: parts.addresses,
            links: parts.links,
            refusal_told_at: None,
            announcements: parts.announcements,
            announcer: parts.announcer,
            _acceptors: parts.acceptors,
            protocols: parts.protocols,
            events: parts.events,
            status: parts.status,
            upkeep_at: Instant::now(),
            limits: parts.limits,
            metrics: parts.metrics,
        };
        task.reserve_places();
        task
    }

    /// Runs until every handle is gone or one asks for the end.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut reports: mpsc::Receiver<Misbehaviour>,
    ) {
        let stopped = loop {
            let wake_at = self.wake_at();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = commands.recv() => match command {
                    None => break None,
                    Some(Command::Shutdown(done)) => break Some(done),
                    Some(command) => self.on_command(command),
                },
                Some(served) = self.sync.next_served() => {
                    self.sync.respond(&mut self.swarm.behaviour_mut().sync, served);
                }
                Some(misbehaviour) = reports.recv() => self.ban(&misbehaviour),
                () = tokio::time::sleep_until(wake_at.into()) => self.on_time(Instant::now()),
            }
        };
        drop(self);
        if let Some(done) = stopped {
            // Who asked may have given up.
            let _ = done.send(());
        }
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self) -> Instant {
        let always = self.announcer.due().min(self.upkeep_at);
        [self.book.next_dial(), self.batcher.flush_at()].into_iter().flatten().fold(always, Instant::min)
    }

    fn on_time(&mut self, now: Instant) {
        if let Some(items) = self.batcher.take_due(now) {
            self.publish(Topic::Transactions, items);
        }
        self.announce_if_due(now);
        self.upkeep_if_due(now);
        for (peer, addresses) in self.book.take_due(now) {
            self.dial(peer, addresses, now);
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        if self.swarm.is_connected(&peer) {
            self.book.connected(&peer);
            return;
        }
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .build();
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(%peer, %error, "not dialed");
            self.book.lost(&peer, now);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::SetAuthorities { authorities, done } => {
                self.set_authorities(authorities);
                // Who asked may have given up.
                let _ = done.send(());
            }
            Command::Publish { topic: Topic::Transactions, item, .. } => {
                if let Some(items) = self.batcher.push(item, Instant::now()) {
                    self.publish(Topic::Transactions, items);
                }
            }
            Command::Publish { topic, item, .. } => self.publish(topic, vec![item]),
            Command::LearnAddress(record) => drop(self.take_announcement(record)),
            Command::Judge { id, verdict } => self.judge(&id, verdict),
            Command::Request { peer, bytes, reply } => match peer_of_key(&peer) {
                Ok(peer) => self.sync.send(&mut self.swarm.behaviour_mut().sync, &peer, bytes, reply),
                // Who asked may have given up.
                Err(_) => drop(reply.send(Err(RequestError::NotConnected))),
            },
            Command::Connect(request) => self.connecting.connect(&mut self.swarm, request),
            Command::SetListed(keys) => {
                let door = &mut self.swarm.behaviour_mut().door;
                door.set_listed(keys);
                door.look_again();
            }
            Command::Ban { peer, reason } => {
                if let Ok(peer) = peer_of_key(&peer) {
                    self.ban(&Misbehaviour { peer, reason });
                }
            }
            // Who asked may have given up.
            Command::ConnectedPeers(reply) => drop(reply.send(self.connected_peers())),
            Command::ListenAddresses(reply) => self.addresses.tell(&self.swarm, reply),
            Command::Shutdown(_) => unreachable!("the loop ends at this command"),
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id, connection_id, endpoint, num_established, ..
            } => {
                self.on_connected(peer_id, connection_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                self.on_disconnected(peer_id, cause.as_ref());
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.metrics.failed_dials.inc();
                tracing::debug!(peer = ?peer_id, %error, "dial failed");
                self.connecting.failed(connection_id, &error);
                if let Some(peer) = peer_id.filter(|peer| !self.swarm.is_connected(peer)) {
                    self.book.lost(&peer, Instant::now());
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.metrics.failed_inbound.inc();
                tracing::debug!(address = %send_back_addr, %error, "inbound connection refused");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.addresses.on_new_address(&self.swarm);
                self.announcer.start_over(Instant::now());
                let address = with_own_peer(&self.swarm, address);
                tracing::info!(%address, "listening");
                self.report(NetworkEvent::Listening(address));
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "a listener has closed");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener error"),
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: NodeBehaviourEvent) {
        match event {
            NodeBehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            NodeBehaviourEvent::Ping(ping::Event { peer, connection, result: Err(error) }) => {
                tracing::debug!(%peer, %error, "closing a connection without sign of life");
                self.swarm.close_connection(connection);
            }
            NodeBehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => self.on_gossip(propagation_source, message_id, &message),
            NodeBehaviourEvent::Gossip(gossipsub::Event::SlowPeer { peer_id, .. }) => {
                self.on_slow_peer(peer_id);
            }
            NodeBehaviourEvent::Sync(event) => {
                let (peers, links) = (&self.peers, &self.links);
                let asker = |peer| Asker::new(peer, peers.get(&peer).map(|peer| &peer.address), links);
                let misbehaviour = self.sync.on_event(&mut self.swarm.behaviour_mut().sync, event, asker);
                if let Some(misbehaviour) = misbehaviour {
                    self.ban(&misbehaviour);
                }
            }
            _ => {}
        }
    }

    fn on_connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        count: u32,
    ) {
        let address = endpoint.get_remote_address().clone();
        let Ok(key) = key_of_peer(&peer) else {
            self.swarm.close_connection(connection);
            return;
        };
        // Authorities and bootstrap peers bypass the limits on all peers together, not this one.
        if count > self.limits.max_connections_per_peer {
            tracing::debug!(peer = %key, count, "closing a connection: the peer has too many");
            self.swarm.close_connection(connection);
        }
        self.connecting.connected(&peer);
        self.book.connected(&peer);
        if let Some(connected) = self.peers.get_mut(&peer) {
            connected.address = address;
            return;
        }
        tracing::debug!(peer = %key, %address, "connected");
        let is_dialed = endpoint.is_dialer();
        self.peers.insert(
            peer,
            ConnectedPeer { key, address: address.clone(), is_dialed, is_identified: false, agent: None },
        );
        self.count_peers();
        self.links.set_connected(&key, true);
        self.report(NetworkEvent::PeerConnected { peer: key, address });
    }

    fn on_disconnected(&mut self, peer: PeerId, cause: Option<&ConnectionError>) {
        self.book.lost(&peer, Instant::now());
        let Some(former) = self.peers.remove(&peer) else { return };
        let key = former.key;
        self.suspect_refusal(&peer, &former);
        self.gossip_health.disconnected(&peer);
        tracing::debug!(peer = %key, ?cause, "disconnected");
        self.count_peers();
        self.links.set_connected(&key, false);
        self.report(NetworkEvent::PeerDisconnected { peer: key });
        self.seek_authorities();
    }

    /// Learns what the peer says of itself; one of another chain has no business here.
    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        match self.identify_rates.admit(&peer, Instant::now()) {
            Admit::Yes => {}
            Admit::Drop => return self.metrics.dropped("identify_rate"),
            Admit::Disconnect => return self.ban(&Misbehaviour { peer, reason: "identify_flood" }),
        }
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        connected.is_identified = true;
        if info.protocol_version != self.protocols.version {
            tracing::warn!(
                peer = %connected.key, address = %connected.address,
                theirs = ?info.protocol_version.chars().take(2 * MAX_AGENT_CHARS).collect::<String>(),
                ours = %self.protocols.version,
                "disconnecting a node of another chain or protocol version"
            );
            self.ban(&Misbehaviour { peer, reason: "other_chain" });
            return;
        }
        let agent = info.agent_version.chars().filter(|char| !char.is_control()).take(MAX_AGENT_CHARS);
        connected.agent = Some(agent.collect());
        let seen = connected.address.clone();
        for address in info.listen_addrs.into_iter().filter(|address| is_same_host(address, &seen)) {
            self.book.learn(peer, address);
        }
    }

    fn ban(&mut self, misbehaviour: &Misbehaviour) {
        let Misbehaviour { peer, reason } = misbehaviour;
        let until = self.offences.add(*peer, Instant::now());
        if self.swarm.behaviour_mut().door.ban(*peer, until) {
            tracing::debug!(%peer, reason, "disconnecting and refusing a peer for a while");
            self.metrics.banned(reason);
        }
    }

    fn connected_peers(&self) -> Vec<PeerInfo> {
        self.peers
            .values()
            .map(|peer| PeerInfo {
                key: peer.key,
                address: peer.address.clone(),
                is_authority: self.links.is_authority(&peer.key),
                agent: peer.agent.clone(),
            })
            .collect()
    }

    fn count_peers(&self) {
        self.metrics.connected_peers.set(i64::try_from(self.peers.len()).unwrap_or(i64::MAX));
    }

    fn report(&self, event: NetworkEvent) {
        if self.events.status.try_send(event).is_err() {
            self.metrics.dropped("status_queue");
        }
    }
}
