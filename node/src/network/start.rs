//! Putting the network together.

use std::sync::Arc;

use evchain_protocol::crypto::{ChainId, KeyPair};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::announcement::Announcements;
use super::authority_links::{AuthorityAcceptor, AuthorityLinks};
use super::behaviour::{self, NodeBehaviour};
use super::config::{NetworkConfig, NetworkLimits};
use super::door::Door;
use super::error::StartError;
use super::event::{EventSenders, NetworkEvents};
use super::handle::{COMMAND_QUEUE, NetworkHandle, PUBLISH_QUEUE_BYTES};
use super::identity::{key_of_peer, libp2p_keys};
use super::listen::ListenAddresses;
use super::metrics::NetworkMetrics;
use super::peers::peer_in;
use super::protocols::Protocols;
use super::session::{SessionAcceptor, SessionOpener};
use super::status::NetworkStatus;
use super::swarm::{Announcer, Misbehaviour, NetworkTask, Parts};

/// Events about peers and addresses that wait for the node.
const STATUS_QUEUE: usize = 1_024;

/// Reports of misbehaviour that wait for the network's task.
const MISBEHAVIOUR_QUEUE: usize = 64;

/// What the tasks of the network have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) limits: Arc<NetworkLimits>,
    pub(super) metrics: NetworkMetrics,
    /// To whoever disconnects peers.
    pub(super) misbehaviours: mpsc::Sender<Misbehaviour>,
}

/// Starts the network. It stops when the last handle is dropped or
/// [`NetworkHandle::shutdown`] is called. Must be called within a tokio runtime.
///
/// # Errors
/// See [`StartError`].
pub fn start(
    config: NetworkConfig,
    chain: ChainId,
    keys: &KeyPair,
    metrics: NetworkMetrics,
) -> Result<(NetworkHandle, NetworkEvents), StartError> {
    let NetworkConfig { listen, announce, bootstrap, admission, listed, members, limits } = config;
    let limits = Arc::new(limits);
    let protocols = Protocols::new(chain);
    let local_key = keys.public_key();
    let libp2p_keys = libp2p_keys(keys).map_err(|error| StartError::Identity(error.to_string()))?;
    let local_peer = libp2p_keys.public().to_peer_id();
    let bootstrap = bootstrap_peers(bootstrap, local_peer)?;

    let door = Door::new(admission, members, listed, &limits, metrics.clone());
    let behaviour = NodeBehaviour::new(&libp2p_keys, &protocols, &limits, door)?;
    let mut swarm = behaviour::swarm(libp2p_keys, behaviour, &limits)?;

    let mut control = swarm.behaviour().streams.new_control();
    let registered = |error: libp2p_stream::AlreadyRegistered| StartError::Settings(error.to_string());
    let consensus_streams = control.accept(protocols.consensus.clone()).map_err(registered)?;
    let session_streams = control.accept(protocols.session.clone()).map_err(registered)?;
    let addresses = ListenAddresses::start(&mut swarm, listen)?;

    let (senders, events) = event_queues(&limits);
    let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
    let (misbehaviours, reports) = mpsc::channel(MISBEHAVIOUR_QUEUE);
    let shared = Shared { limits, metrics, misbehaviours };
    let links = AuthorityLinks::new(local_key, control.clone(), protocols.consensus.clone(), &shared);
    let (status, seen_status) = watch::channel(NetworkStatus::default());
    let handle = NetworkHandle {
        local_key,
        commands,
        links: links.table(),
        sessions: SessionOpener::new(control, protocols.session.clone(), &shared),
        status: seen_status,
        // One item always fits.
        publish_budget: Arc::new(Semaphore::new(PUBLISH_QUEUE_BYTES.max(shared.limits.max_gossip_bytes))),
        limits: Arc::clone(&shared.limits),
        metrics: shared.metrics.clone(),
    };
    let authorities = links.watch_authorities();
    let authority_acceptor =
        AuthorityAcceptor::new(consensus_streams, authorities, senders.consensus.clone(), shared.clone());
    let session_acceptor = SessionAcceptor::new(session_streams, senders.sessions.clone(), shared.clone());
    let task = NetworkTask::new(Parts {
        swarm,
        addresses,
        links,
        announcements: Announcements::new(chain),
        announcer: Announcer::new(keys.clone(), chain, announce),
        acceptors: [
            AbortOnDropHandle::new(tokio::spawn(authority_acceptor.run())),
            AbortOnDropHandle::new(tokio::spawn(session_acceptor.run())),
        ],
        bootstrap,
        protocols,
        events: senders,
        status,
        limits: shared.limits,
        metrics: shared.metrics,
    });
    tokio::spawn(task.run(inbox, reports));
    Ok((handle, events))
}

fn bootstrap_peers(addresses: Vec<Multiaddr>, own: PeerId) -> Result<Vec<(PeerId, Multiaddr)>, StartError> {
    let mut peers = Vec::new();
    for address in addresses {
        match peer_in(&address).filter(|peer| key_of_peer(peer).is_ok()) {
            // One list for all nodes of a network is convenient, so the own address may be on it.
            Some(peer) if peer == own => {}
            Some(peer) => peers.push((peer, address)),
            None => return Err(StartError::BootstrapWithoutPeer(address)),
        }
    }
    Ok(peers)
}

fn event_queues(limits: &NetworkLimits) -> (EventSenders, NetworkEvents) {
    let (consensus, consensus_events) = mpsc::channel(limits.consensus_receive_queue.max(1));
    let (requests, request_events) = mpsc::channel(limits.max_inbound_requests.max(1));
    let (sessions, session_events) = mpsc::channel(limits.max_inbound_sessions.max(1));
    let (status, status_events) = mpsc::channel(STATUS_QUEUE);
    let (gossip, gossip_events) = mpsc::channel(limits.gossip_queue.max(1));
    let events = NetworkEvents {
        consensus: consensus_events,
        requests: request_events,
        sessions: session_events,
        status: status_events,
        gossip: gossip_events,
    };
    (EventSenders { consensus, requests, sessions, status, gossip }, events)
}
