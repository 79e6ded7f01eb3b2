//! Goal: whom an endpoint expects gets in and is served, whatever strangers hold.
//! Method: strangers with keys of their own take all the connections and sessions that they are given, and
//! half-open sockets all handshakes of a host; then those who are expected come.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

use super::support::{CHAIN, key, keys, loopback, soon};
use crate::network::{
    GuestKeys, Guests, NetworkLimits, Service, SessionEndpoint, SessionError, SessionStream, StrangerLimits,
};

const LONG: Duration = Duration::from_secs(30);
const HOST: u8 = 1;
const STRANGERS: StrangerLimits =
    StrangerLimits { connections: 4, stay: Duration::from_mins(1), sessions: 2, handshakes_of_host: 4 };

struct Host {
    endpoint: SessionEndpoint,
    sessions: mpsc::Receiver<SessionStream>,
    at: Vec<Multiaddr>,
    expected: watch::Sender<GuestKeys>,
}

impl Host {
    async fn start(expected: &[u8], strangers: StrangerLimits) -> Self {
        let expected: GuestKeys = Arc::new(expected.iter().map(|seed| key(*seed)).collect());
        let (expected, keys_of_guests) = watch::channel(expected);
        let limits =
            NetworkLimits { max_connections: 6, max_inbound_sessions: 1, ..NetworkLimits::default() };
        let guests = Some(Guests { keys: keys_of_guests, strangers });
        let (endpoint, sessions) = SessionEndpoint::start_for(
            Service::Charging,
            Some(loopback()),
            CHAIN,
            &keys(HOST),
            limits,
            guests,
        )
        .unwrap();
        let at = soon("an address", endpoint.listen_addresses()).await.unwrap();
        Self { endpoint, sessions, at, expected }
    }

    /// Somebody else with the key of this seed opens a session.
    async fn visit(&self, seed: u8) -> (SessionEndpoint, Result<SessionStream, SessionError>) {
        let (endpoint, _) =
            SessionEndpoint::start(Service::Charging, None, CHAIN, &keys(seed), NetworkLimits::default())
                .unwrap();
        let opened = soon("an outcome", endpoint.open_session(key(HOST), self.at.clone())).await;
        (endpoint, opened)
    }

    /// The next session, which is this one's.
    async fn meets(&mut self, seed: u8) -> SessionStream {
        let session = soon("a session", self.sessions.recv()).await.unwrap();
        assert_eq!(session.remote(), key(seed));
        session
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_hold_what_they_may_and_guests_come_in() {
    let mut host = Host::start(&[100, 101, 102, 103], STRANGERS).await;
    let (mut visitors, mut held) = (Vec::new(), Vec::new());
    for seed in 10..20 {
        let (endpoint, opened) = host.visit(seed).await;
        match opened {
            Ok(stream) => {
                held.push(host.meets(seed).await);
                visitors.push((endpoint, Some(stream)));
            }
            Err(_) => visitors.push((endpoint, None)),
        }
    }
    assert!(held.len() >= STRANGERS.sessions, "strangers are let in where nobody needs the room");
    // More guests than places that all share, beside all those strangers.
    let mut guests = Vec::new();
    for seed in 100..104 {
        let (endpoint, opened) = host.visit(seed).await;
        let mut ours = opened.unwrap_or_else(|error| panic!("guest {seed}: {error}"));
        let mut theirs = host.meets(seed).await;
        ours.send(b"open").await.unwrap();
        assert_eq!(theirs.receive(LONG).await, Ok(b"open".to_vec()));
        guests.push((endpoint, ours, theirs));
    }
    // Strangers who come later make none of them go, though theirs are the oldest connections of the host.
    for seed in 40..50 {
        let (endpoint, opened) = host.visit(seed).await;
        visitors.push((endpoint, opened.ok()));
    }
    for (_, ours, theirs) in &mut guests {
        ours.send(b"still there").await.unwrap();
        assert_eq!(theirs.receive(LONG).await, Ok(b"still there".to_vec()));
    }
    // Who pays now is expected from now on.
    host.expected.send_replace(Arc::new([key(30)].into()));
    let (_endpoint, opened) = host.visit(30).await;
    opened.unwrap();
    drop(host.endpoint);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_has_one_session_and_its_time_ends() {
    let mut host = Host::start(&[], StrangerLimits { stay: Duration::from_secs(1), ..STRANGERS }).await;
    let (endpoint, opened) = host.visit(10).await;
    let mut stream = opened.unwrap();
    let _theirs = host.meets(10).await;
    let second = endpoint.open_session(key(HOST), host.at.clone()).await;
    assert_eq!(second.map(|_| ()), Err(SessionError::Refused));
    let ended = stream.receive(LONG).await;
    assert!(matches!(ended, Err(SessionError::Closed | SessionError::Failed(_))), "{ended:?}");
}

/// A connection from this host that never says anything.
async fn half_open(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(from)), 0)).unwrap();
    soon("a connection", socket.connect(to)).await.unwrap()
}

fn socket_address(address: &Multiaddr) -> SocketAddr {
    let (mut host, mut port) = (None, None);
    for part in address {
        match part {
            Protocol::Ip4(it) => host = Some(IpAddr::V4(it)),
            Protocol::Tcp(it) => port = Some(it),
            _ => {}
        }
    }
    SocketAddr::new(host.unwrap(), port.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_cannot_hold_all_handshakes() {
    let mut host = Host::start(&[100], STRANGERS).await;
    let at = socket_address(&host.at[0]);
    let mut sockets = Vec::new();
    // As many as may be under way in all, again and again for as long as the guest takes.
    for _ in 0..NetworkLimits::default().max_pending_connections {
        sockets.push(half_open([127, 0, 0, 9], at).await);
    }
    let (_endpoint, opened) = host.visit(100).await;
    opened.unwrap();
    host.meets(100).await;
    drop(sockets);
}
