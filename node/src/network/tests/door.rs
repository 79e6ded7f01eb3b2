//! Goal: the parts that decide without sockets who comes in: places, hosts, rates that nobody flushes, and
//! whether gossip gets out.
//! Method: connections by number, hosts by address, instants that are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::{CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, ToSwarm};

use super::support::key;
use crate::host::Host;
use crate::network::door::Door;
use crate::network::door::places::{Bans, Places, Refused};
use crate::network::gossip_health::{Change, GossipHealth};
use crate::network::limits::{Admit, PeerRates, Rates};
use crate::network::{Admission, Members, Multiaddr, NetworkLimits, NetworkMetrics, RateLimit, peer_of_key};

fn peer(seed: u8) -> PeerId {
    peer_of_key(&key(seed)).unwrap()
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn host(ip: &str) -> Host {
    Host::of_ip(ip.parse().unwrap())
}

fn limits() -> NetworkLimits {
    NetworkLimits {
        max_connections: 6,
        max_connections_per_host: 4,
        max_connections_per_peer: 2,
        max_pending_connections: 4,
        max_pending_connections_per_host: 2,
        ..NetworkLimits::default()
    }
}

#[test]
fn a_host_is_an_ipv4_address_or_the_half_of_an_ipv6_address() {
    assert_eq!(host("2001:db8:1:2::1"), host("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(host("2001:db8:1:2::1"), host("2001:db8:1:3::1"));
    assert_ne!(host("10.0.0.1"), host("10.0.0.2"));
    assert_eq!(host("::ffff:10.0.0.1"), host("10.0.0.1"));
    let of = |address: &str| Host::of(&address.parse::<Multiaddr>().unwrap());
    assert_eq!(of("/ip6/2001:db8:1:2::5/tcp/9"), Some(host("2001:db8:1:2::1")));
    assert_eq!(of("/dns4/example.org/tcp/9"), None);
    assert_eq!(host("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
}

#[test]
fn strangers_handshakes_are_shared_and_those_with_lasting_hosts_are_not() {
    let mut places = Places::new(&limits());
    places.reserve(BTreeSet::from([peer(1)]), BTreeSet::from([host("10.0.0.1")]));
    let mut next = 0;
    let mut knock = |places: &mut Places, ip: &str| {
        next += 1;
        places.knock(id(next), Some(host(ip))).map(|()| next)
    };
    let first = knock(&mut places, "10.0.0.2").unwrap();
    knock(&mut places, "10.0.0.2").unwrap();
    assert_eq!(knock(&mut places, "10.0.0.2"), Err(Refused::HandshakesOfHost));
    knock(&mut places, "2001:db8::1").unwrap();
    knock(&mut places, "2001:db8::2").unwrap();
    assert_eq!(knock(&mut places, "2001:db8::3"), Err(Refused::HandshakesOfHost), "one /64");
    assert_eq!(knock(&mut places, "10.0.0.3"), Err(Refused::Handshakes));
    // A lasting host has as many for itself, which take none from the others.
    for _ in 0..4 {
        knock(&mut places, "10.0.0.1").unwrap();
    }
    assert_eq!(knock(&mut places, "10.0.0.1"), Err(Refused::HandshakesOfHost));
    places.handshake_over(id(first));
    knock(&mut places, "10.0.0.3").unwrap();
    // Own dials: strangers are limited, the lasting peers are not.
    for number in 100..104 {
        assert_eq!(places.dial(id(number), Some(peer(2))), Ok(()));
    }
    assert_eq!(places.dial(id(104), Some(peer(2))), Err(Refused::Handshakes));
    assert_eq!(places.dial(id(105), Some(peer(1))), Ok(()));
    places.handshake_over(id(100));
    assert_eq!(places.dial(id(106), None), Ok(()));
}

/// Lets a peer in, with who goes for it, and numbers the connections by the order.
struct Room {
    places: Places,
    next: usize,
}

impl Room {
    fn new() -> Self {
        Self { places: Places::new(&limits()), next: 0 }
    }

    /// The seed of the peer that gives way, if one does.
    fn enter(&mut self, seed: u8, ip: &str) -> Result<Option<PeerId>, Refused> {
        let (host, id) = (Some(host(ip)), id(self.next));
        let gives_way = self.places.enter(&peer(seed), host)?;
        if let Some(gone) = gives_way {
            self.places.left(gone.connection);
        }
        self.places.entered(id, peer(seed), host);
        self.next += 1;
        Ok(gives_way.map(|gone| gone.peer))
    }
}

#[test]
fn places_are_counted_by_peer_by_host_and_in_all_but_for_the_reserved() {
    let mut room = Room::new();
    room.places.reserve(BTreeSet::from([peer(1)]), BTreeSet::new());
    for _ in 0..9 {
        assert_eq!(room.enter(1, "10.0.0.2"), Ok(None), "an authority has places of its own");
    }
    assert_eq!(room.enter(2, "10.0.0.2"), Ok(None));
    assert_eq!(room.enter(2, "10.0.0.3"), Ok(None));
    assert_eq!(room.enter(2, "10.0.0.4"), Err(Refused::PlacesOfPeer));
    for seed in 3..6 {
        assert_eq!(room.enter(seed, "10.0.0.2"), Ok(None));
    }
    assert_eq!(room.enter(6, "10.0.0.2"), Err(Refused::PlacesOfHost));
}

#[test]
fn the_crowded_host_gives_way_until_none_is_crowded_and_bad_scores_do_always() {
    let mut room = Room::new();
    for seed in 10..14 {
        room.enter(seed, "10.0.0.2").unwrap();
    }
    for seed in 20..22 {
        room.enter(seed, "10.0.0.3").unwrap();
    }
    // The one that is of least use, or else came last.
    room.places.set_scores(BTreeMap::from([
        (peer(10), 3.0),
        (peer(11), 1.0),
        (peer(12), 2.0),
        (peer(13), 2.0),
    ]));
    assert_eq!(room.enter(30, "10.0.0.4"), Ok(Some(peer(11))));
    room.places.set_scores(BTreeMap::new());
    assert_eq!(room.enter(31, "10.0.0.4"), Ok(Some(peer(13))));
    assert_eq!(room.enter(32, "10.0.0.4"), Err(Refused::Places), "two each: taking turns helps nobody");
    assert_eq!(room.enter(40, "10.0.0.5"), Ok(Some(peer(31))));
    assert_eq!(room.enter(41, "10.0.0.6"), Ok(Some(peer(21))));
    assert_eq!(room.enter(42, "10.0.0.7"), Ok(Some(peer(12))));
    assert_eq!(room.enter(43, "10.0.0.8"), Err(Refused::Places), "one each");
    room.places.set_scores(BTreeMap::from([(peer(10), -0.5), (peer(20), -0.1)]));
    assert_eq!(room.enter(43, "10.0.0.8"), Ok(Some(peer(10))));
}

/// As the swarm does it, up to where the connection stands.
fn come_in(door: &mut Door, seed: u8, ip: &str) -> Result<(), ConnectionDenied> {
    let local: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let remote: Multiaddr = format!("/ip4/{ip}/tcp/1").parse().unwrap();
    door.handle_pending_inbound_connection(id(seed.into()), &local, &remote)?;
    door.handle_established_inbound_connection(id(seed.into()), peer(seed), &local, &remote)?;
    let endpoint = ConnectedPoint::Listener { local_addr: local, send_back_addr: remote };
    door.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id: peer(seed),
        connection_id: id(seed.into()),
        endpoint: &endpoint,
        failed_addresses: &[],
        other_established: 0,
    }));
    Ok(())
}

#[test]
fn two_newcomers_do_not_make_one_connection_go_twice() {
    let mut door =
        Door::new(Admission::Open, Members::default(), BTreeSet::new(), &limits(), NetworkMetrics::default());
    for seed in 10..14 {
        come_in(&mut door, seed, "10.0.0.2").unwrap();
    }
    for seed in 20..22 {
        come_in(&mut door, seed, "10.0.0.3").unwrap();
    }
    // The swarm has closed nothing yet when the second one comes.
    for seed in 30..32 {
        come_in(&mut door, seed, "10.0.0.4").unwrap();
    }
    let mut gone = BTreeSet::new();
    while let Poll::Ready(event) = door.poll(&mut Context::from_waker(Waker::noop())) {
        let ToSwarm::CloseConnection { connection: CloseConnection::One(connection), .. } = event else {
            panic!("not the end of one connection: {event:?}");
        };
        gone.insert(connection);
    }
    assert_eq!(gone, BTreeSet::from([id(12), id(13)]));
}

#[test]
fn bans_end_and_are_bounded() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut bans = Bans::new(&NetworkLimits { max_known_peers: 2, ..NetworkLimits::default() });
    assert!(bans.add(peer(1), at(100)));
    assert!(!bans.add(peer(1), at(200)), "it was refused already");
    assert!(bans.holds(&peer(1), at(199)));
    assert!(!bans.holds(&peer(1), at(200)));
    bans.lift_due(at(200));
    assert!(bans.add(peer(1), at(300)));
    bans.add(peer(2), at(400));
    bans.add(peer(3), at(500));
    let holds: Vec<bool> = (1..=3).map(|seed| bans.holds(&peer(seed), at(250))).collect();
    assert_eq!(holds, [false, true, true], "the one that would end first");
}

#[test]
fn no_number_of_names_refills_a_bucket() {
    let start = Instant::now();
    let mut rates = Rates::<u32>::new(RateLimit { per_second: 1, burst: 3, excess: 2 });
    while rates.admit(&0, start) == Admit::Yes {}
    // More names than are tracked, each of which has used something of its bucket.
    let later = start + Duration::from_millis(500);
    let admitted = (1..5_000).filter(|name| rates.admit(name, later) == Admit::Yes).count();
    assert_eq!(admitted, Rates::<u32>::MAX_TRACKED - 1 + 3, "those without a bucket share one");
    assert_eq!(rates.admit(&0, later), Admit::Drop, "the first one is still known");
    assert_ne!(rates.admit(&4_999, later), Admit::Disconnect, "nobody is blamed for others");
    // Once the buckets are full again, there is room for others.
    let much_later = start + Duration::from_mins(1);
    for name in [9_998, 9_999] {
        let admitted: Vec<_> = (0..3).map(|_| rates.admit(&name, much_later)).collect();
        assert_eq!(admitted, [Admit::Yes; 3], "{name} has a bucket of its own");
    }
}

#[test]
fn bytes_are_counted_as_units() {
    let start = Instant::now();
    let mut rates = PeerRates::new(RateLimit { per_second: 1_000, burst: 3_000, excess: 2 });
    let mut admit = |bytes, now| rates.admit_units(&peer(1), bytes, now);
    assert_eq!(
        [admit(2_000, start), admit(2_000, start), admit(1_000, start)],
        [Admit::Yes, Admit::Drop, Admit::Yes]
    );
    assert_eq!(admit(2_000, start), Admit::Disconnect);
    assert_eq!(admit(2_000, start + Duration::from_secs(2)), Admit::Yes);
}

#[test]
fn failing_gossip_is_told_once_and_so_is_its_end() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut health = GossipHealth::default();
    assert_eq!((health.check(at(0)), health.failing_since()), (None, None));
    health.failed(at(1));
    assert_eq!((health.check(at(5)), health.failing_since()), (None, Some(at(1))));
    health.failed(at(5));
    assert_eq!(health.check(at(6)), Some(Change::Fails));
    assert_eq!((health.check(at(7)), health.failing_since()), (None, Some(at(1))));
    assert_eq!(health.published(), Some(Change::WorksAgain));
    assert_eq!((health.check(at(8)), health.failing_since()), (None, None));
    // A short failure is not worth a word, and an old one says nothing of today.
    health.failed(at(10));
    assert_eq!(health.published(), None);
    health.failed(at(20));
    assert_eq!(health.check(at(30)), Some(Change::Fails));
    assert_eq!(health.check(at(80)), Some(Change::WorksAgain));
    assert_eq!(health.failing_since(), None);
}

#[test]
fn a_link_counts_as_dead_when_it_is_slow_without_a_break() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut health = GossipHealth::default();
    let mut dead = (0..29).map(|second| health.slow(peer(1), at(second)));
    assert!(dead.all(|is_dead| !is_dead));
    // A break of some seconds: it took something.
    let mut again = (33..62).map(|second| health.slow(peer(1), at(second)));
    assert!(again.all(|is_dead| !is_dead));
    assert!(health.slow(peer(1), at(62)));
    health.disconnected(&peer(1));
    assert!(!health.slow(peer(1), at(63)));
}
