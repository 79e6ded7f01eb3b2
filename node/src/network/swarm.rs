//! The task that owns the swarm.

mod authorities;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use futures::StreamExt;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, ping};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::announcement::Announcements;
use super::authority_links::AuthorityLinks;
use super::behaviour::{NodeBehaviour, NodeBehaviourEvent};
use super::config::NetworkLimits;
use super::connect::Connecting;
use super::error::RequestError;
use super::event::{EventSenders, GossipId, GossipMessage, NetworkEvent, Verdict};
use super::gossip::{self, Batcher, Topics};
use super::handle::{Command, PeerInfo};
use super::identity::{key_of_peer, peer_of_key};
use super::limits::{Admit, PeerRates};
use super::listen::{ListenAddresses, with_own_peer};
use super::metrics::NetworkMetrics;
use super::offences::Offences;
use super::peers::{PeerBook, is_same_host};
use super::protocols::{Protocols, Topic};
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
    pub(super) always_allowed: BTreeSet<PeerId>,
    pub(super) protocols: Protocols,
    pub(super) events: EventSenders,
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
    sync: SyncRequests,
    topics: Topics,
    batcher: Batcher,
    gossip_rates: PeerRates,
    connecting: Connecting,
    peers: BTreeMap<PeerId, ConnectedPeer>,
    banned_until: BTreeMap<PeerId, Instant>,
    offences: Offences,
    /// Bootstrap peers and, with an allow list, those on it.
    always_allowed: BTreeSet<PeerId>,
    protocols: Protocols,
    events: EventSenders,
    limits: Arc<NetworkLimits>,
    metrics: NetworkMetrics,
    _acceptors: [AbortOnDropHandle<()>; 2],
}

impl NetworkTask {
    pub(super) fn new(parts: Parts) -> Self {
        let (limits, metrics, events) = (&parts.limits, &parts.metrics, &parts.events);
        Self {
            book: PeerBook::new(parts.bootstrap, limits, Instant::now()),
            sync: SyncRequests::new(events.requests.clone(), Arc::clone(limits), metrics.clone()),
            topics: Topics::new(&parts.protocols),
            batcher: Batcher::new(limits),
            gossip_rates: PeerRates::new(limits.gossip_rate),
            connecting: Connecting::default(),
            peers: BTreeMap::new(),
            banned_until: BTreeMap::new(),
            offences: Offences::new(limits),
            swarm: parts.swarm,
            addresses: parts.addresses,
            always_allowed: parts.always_allowed,
            links: parts.links,
            announcements: parts.announcements,
            announcer: parts.announcer,
            _acceptors: parts.acceptors,
            protocols: parts.protocols,
            events: parts.events,
            limits: parts.limits,
            metrics: parts.metrics,
        }
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
        /// Any time that is not soon.
        const IDLE: Duration = Duration::from_hours(1);
        let unban_at = self.banned_until.values().min().copied();
        [self.book.next_dial(), self.batcher.flush_at(), unban_at, Some(self.announcer.due())]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn on_time(&mut self, now: Instant) {
        if let Some(items) = self.batcher.take_due(now) {
            self.publish(Topic::Transactions, items);
        }
        let blocked = &mut self.swarm.behaviour_mut().blocked;
        self.banned_until.retain(|peer, until| {
            let stays = *until > now;
            if !stays {
                blocked.unblock_peer(*peer);
            }
            stays
        });
        self.announce_if_due(now);
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
            Command::Publish { topic: Topic::Transactions, item } => {
                if let Some(items) = self.batcher.push(item, Instant::now()) {
                    self.publish(Topic::Transactions, items);
                }
            }
            Command::Publish { topic, item } => self.publish(topic, vec![item]),
            Command::LearnAddress(record) => drop(self.take_announcement(record)),
            Command::Judge { id, verdict } => self.judge(&id, verdict),
            Command::Request { peer, bytes, reply } => match peer_of_key(&peer) {
                Ok(peer) => self.sync.send(&mut self.swarm.behaviour_mut().sync, &peer, bytes, reply),
                // Who asked may have given up.
                Err(_) => drop(reply.send(Err(RequestError::NotConnected))),
            },
            Command::Connect(request) => self.connecting.connect(&mut self.swarm, request),
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
                let address = endpoint.get_remote_address().clone();
                self.on_connected(peer_id, connection_id, address, num_established.get());
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

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, address: Multiaddr, count: u32) {
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
        self.peers.insert(peer, ConnectedPeer { key, address: address.clone(), agent: None });
        self.count_peers();
        self.links.set_connected(&key, true);
        self.report(NetworkEvent::PeerConnected { peer: key, address });
    }

    fn on_disconnected(&mut self, peer: PeerId, cause: Option<&ConnectionError>) {
        self.book.lost(&peer, Instant::now());
        let Some(ConnectedPeer { key, .. }) = self.peers.remove(&peer) else { return };
        tracing::debug!(peer = %key, ?cause, "disconnected");
        self.count_peers();
        self.links.set_connected(&key, false);
        self.report(NetworkEvent::PeerDisconnected { peer: key });
        self.seek_authorities();
    }

    /// Learns what the peer says of itself; one of another chain has no business here.
    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
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

    fn on_gossip(&mut self, source: PeerId, message: MessageId, content: &gossipsub::Message) {
        self.metrics.received("gossip", content.data.len());
        let id = GossipId { message, source };
        let refused = match self.gossip_rates.admit(&source, Instant::now()) {
            Admit::Yes => None,
            Admit::Drop => Some("gossip_rate"),
            Admit::Disconnect => {
                self.judge(&id, Verdict::Ignore);
                self.ban(&Misbehaviour { peer: source, reason: "gossip_flood" });
                return;
            }
        };
        if let Some(reason) = refused {
            self.metrics.dropped(reason);
            self.judge(&id, Verdict::Ignore);
            return;
        }
        let (Some(topic), Ok(from)) = (self.topics.get(&content.topic), key_of_peer(&source)) else {
            self.judge(&id, Verdict::Reject);
            return;
        };
        match gossip::decode_batch(topic, &content.data, self.limits.max_gossip_bytes) {
            Ok(items) if topic == Topic::Addresses => {
                for item in items {
                    let verdict = self.take_announcement(item);
                    self.judge(&id, verdict);
                }
            }
            Ok(items) => {
                let message = GossipMessage { topic, items, from, id: id.clone() };
                if self.events.gossip.try_send(message).is_err() {
                    self.metrics.dropped("gossip_queue");
                    self.judge(&id, Verdict::Ignore);
                }
            }
            Err(error) => {
                tracing::debug!(peer = %from, topic = topic.name(), error, "malformed gossip");
                self.metrics.dropped("gossip_malformed");
                self.judge(&id, Verdict::Reject);
            }
        }
    }

    fn judge(&mut self, id: &GossipId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id.message, &id.source, acceptance);
        if verdict == Verdict::Reject {
            let score = gossip.peer_score(&id.source);
            self.metrics.dropped("gossip_rejected");
            if score.is_some_and(|score| score < gossip::ban_threshold()) {
                self.ban(&Misbehaviour { peer: id.source, reason: "gossip_invalid" });
            }
        }
    }

    fn publish(&mut self, topic: Topic, items: Vec<Vec<u8>>) {
        let Some(data) = gossip::encode_batch(items) else {
            self.metrics.dropped("gossip_batch_too_long");
            return;
        };
        let len = data.len();
        let name = self.protocols.gossip_topic(topic);
        match self.swarm.behaviour_mut().gossip.publish(name, data) {
            Ok(_) => self.metrics.sent("gossip", len),
            // Nobody to tell, or everybody has been told.
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => {
                self.metrics.dropped("gossip_unpublished");
                tracing::debug!(topic = topic.name(), %error, "not published");
            }
        }
    }

    fn ban(&mut self, misbehaviour: &Misbehaviour) {
        let Misbehaviour { peer, reason } = misbehaviour;
        let until = self.offences.add(*peer, Instant::now());
        if self.banned_until.len() >= self.limits.max_known_peers.max(1)
            && let Some(soonest) =
                self.banned_until.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer)
        {
            self.banned_until.remove(&soonest);
            self.swarm.behaviour_mut().blocked.unblock_peer(soonest);
        }
        self.banned_until.insert(*peer, until);
        if self.swarm.behaviour_mut().blocked.block_peer(*peer) {
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
