//! Goal: the links lose what they are told to lose, repair what they carry, and repeat by seed.
//! Method: a switch between two sockets on the loopback address; no privileges are needed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::chance::Chance;
use super::switch::{Links, Port, Switch};

const SOON: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(300);

#[test]
fn chance_repeats_and_stays_below() {
    let draw = |seed| {
        let mut chance = Chance::new(seed);
        (0..100).map(|_| chance.below(7)).collect::<Vec<_>>()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
    assert!((0..7).all(|number| draw(5).contains(&number)));
    assert!(draw(6).iter().all(|number| *number < 7));
}

struct Net {
    switch: Switch,
    hosts: Vec<UdpSocket>,
    ports: Vec<Port>,
}

async fn net() -> Net {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for _ in 0..2 {
        let host = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let here = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        ports.push(Port { here, there: host.local_addr().unwrap() });
        hosts.push(host);
    }
    Net { switch: Switch::start(&ports, 1).await.unwrap(), hosts, ports }
}

impl Net {
    async fn send(&self, frame: &[u8]) {
        self.hosts[0].send_to(frame, self.ports[0].here).await.unwrap();
    }

    async fn arrives(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2_000];
        let received: (usize, SocketAddr) =
            timeout(patience, self.hosts[1].recv_from(&mut buffer)).await.ok()?.unwrap();
        Some(buffer[..received.0].to_vec())
    }
}

/// A frame to host 2 with a TCP segment whose checksum was left to the network card.
fn frame() -> Vec<u8> {
    let mut frame = vec![8, 0, 0, 0, 0, 0, 42, 0];
    frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame.extend([0x45, 0, 0, 43, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x1f, 0x90, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0xaa, 0xbb, 0, 0, 7, 8, 9]);
    frame
}

#[tokio::test]
async fn frames_arrive_with_the_checksum_of_their_segment() {
    let net = net().await;
    net.send(&frame()).await;
    let arrived = net.arrives(SOON).await.expect("it arrives");
    // By hand: the words of the pseudo header and of the segment, added up and inverted.
    let words: u32 =
        [0x0a00, 0x0001, 0x0a00, 0x0002, 6, 23, 0x1f90, 80, 0, 1, 0, 2, 0x5010, 0x0100, 0, 0, 0x0708, 0x0900]
            .iter()
            .sum();
    let expected = !u16::try_from((words & 0xffff) + (words >> 16)).unwrap();
    assert_eq!(arrived[58..60], expected.to_be_bytes());
    assert_eq!(arrived[..58], frame()[..58]);
    assert_eq!(arrived[60..], frame()[60..]);
}

#[tokio::test]
async fn cut_links_carry_nothing_and_others_do() {
    let net = net().await;
    net.switch.set(Links { cut: vec![(1, 2)], ..Links::default() });
    net.send(&frame()).await;
    assert_eq!(net.arrives(NEVER).await, None);
    net.switch.set(Links { cut: vec![(2, 1)], ..Links::default() });
    net.send(&frame()).await;
    assert!(net.arrives(SOON).await.is_some());
}

#[tokio::test]
async fn bad_links_lose_some_frames() {
    let net = net().await;
    net.switch.set(Links { loss_permille: 500, ..Links::default() });
    let mut arrived = 0;
    for _ in 0..200 {
        net.send(&frame()).await;
        arrived += usize::from(net.arrives(Duration::from_millis(50)).await.is_some());
    }
    assert!((40..160).contains(&arrived), "{arrived} of 200");
}

#[tokio::test]
async fn frames_for_nobody_go_nowhere() {
    let net = net().await;
    let mut broadcast = frame();
    broadcast[8..14].fill(0xff);
    for bytes in [&broadcast[..], &frame()[..10], &[], &[0; 22]] {
        net.send(bytes).await;
        assert_eq!(net.arrives(NEVER).await, None);
    }
    // A segment that claims to be longer than its frame passes as it is.
    let mut long = frame();
    long[24..26].copy_from_slice(&[0xff, 0xff]);
    net.send(&long).await;
    assert_eq!(net.arrives(SOON).await, Some(long));
}
