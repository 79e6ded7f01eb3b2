use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::chance::Chance;

/// Frames that one port has on their way; above, they are lost, as in any switch.
const QUEUE: usize = 8_192;
/// The longest frame.
const MAX_FRAME: usize = 65_536;
/// What VXLAN puts before a frame (RFC 7348, 5).
const VXLAN_HEADER: usize = 8;
const ETHERNET_HEADER: usize = 14;
const IPV4_HEADER: usize = 20;
const TCP_HEADER: usize = 20;
/// Where TCP's checksum stands in its header.
const TCP_CHECKSUM: usize = 16;

/// What the links between all hosts do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// How long a frame takes.
    pub(super) delay: Duration,
    /// How many frames of 1000 are lost.
    pub(super) loss_permille: u64,
    /// From whom nothing comes through to whom, hosts counted from 1.
    pub(super) cut: Vec<(usize, usize)>,
}

/// Where the switch meets one host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    /// The switch's end.
    pub(super) here: SocketAddr,
    /// The host's end.
    pub(super) there: SocketAddr,
}

/// The links between hosts: it takes the Ethernet frames that they send over VXLAN, and passes each
/// on, late or not at all. It needs nothing of the kernel but VXLAN, and can cut single directions.
///
/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Switch {
    links: watch::Sender<Links>,
    _tasks: JoinSet<()>,
}

impl Switch {
    /// Connects these ports, the first of which is host 1's.
    pub(super) async fn start(ports: &[Port], seed: u64) -> io::Result<Self> {
        let (links, receiver) = watch::channel(Links::default());
        let mut outlets = Vec::new();
        for port in ports {
            outlets.push((Arc::new(UdpSocket::bind(port.here).await?), port.there));
        }
        let outlets: Arc<[Outlet]> = outlets.into();
        let mut tasks = JoinSet::new();
        for host in 1..=ports.len() {
            let (queue, frames) = mpsc::channel(QUEUE);
            let inlet = Inlet {
                host,
                socket: outlets[host - 1].0.clone(),
                links: receiver.clone(),
                chance: Chance::new(seed.wrapping_add(host as u64)),
                queue,
            };
            tasks.spawn(inlet.run());
            tasks.spawn(deliver(frames, outlets.clone()));
        }
        Ok(Self { links, _tasks: tasks })
    }

    /// Changes what the links do from now on.
    pub(super) fn set(&self, links: Links) {
        self.links.send_replace(links);
    }
}

type Outlet = (Arc<UdpSocket>, SocketAddr);

struct Frame {
    due: Instant,
    to: usize,
    bytes: Vec<u8>,
}

/// Takes what one host sends.
struct Inlet {
    host: usize,
    socket: Arc<UdpSocket>,
    links: watch::Receiver<Links>,
    chance: Chance,
    queue: mpsc::Sender<Frame>,
}

impl Inlet {
    async fn run(mut self) {
        let mut buffer = vec![0; MAX_FRAME];
        // An error is about one frame only, such as one that came back since nobody listens there.
        loop {
            let Ok(length) = self.socket.recv(&mut buffer).await else { continue };
            let Some(to) = buffer.get(..length).and_then(destination) else { continue };
            let mut bytes = buffer[..length].to_vec();
            fill_tcp_checksum(&mut bytes);
            self.take(to, bytes);
        }
    }

    fn take(&mut self, to: usize, bytes: Vec<u8>) {
        let links = self.links.borrow();
        let is_lost = self.chance.below(1_000) < links.loss_permille;
        if is_lost || links.cut.contains(&(self.host, to)) {
            return;
        }
        // A full queue loses the frame.
        let _ = self.queue.try_send(Frame { due: Instant::now() + links.delay, to, bytes });
    }
}

async fn deliver(mut frames: mpsc::Receiver<Frame>, outlets: Arc<[Outlet]>) {
    while let Some(Frame { due, to, bytes }) = frames.recv().await {
        sleep_until(due).await;
        if let Some((socket, there)) = outlets.get(to - 1) {
            // What cannot be sent is lost.
            let _ = socket.send_to(&bytes, there).await;
        }
    }
}

/// The Ethernet address of a host.
pub(super) fn ethernet_address(host: usize) -> String {
    format!("02:00:00:00:00:{host:02x}")
}

/// The host to which a frame goes; none if it goes to all, which nobody needs here.
fn destination(bytes: &[u8]) -> Option<usize> {
    match bytes.get(VXLAN_HEADER..VXLAN_HEADER + 6)? {
        [2, 0, 0, 0, 0, host] if *host > 0 => Some(usize::from(*host)),
        _ => None,
    }
}

/// Fills in the checksum of a TCP segment. The kernel leaves that to the network card where frames
/// do not leave the machine, and nobody would do it here.
fn fill_tcp_checksum(bytes: &mut [u8]) {
    let Some(packet) = bytes.get_mut(VXLAN_HEADER + ETHERNET_HEADER - 2..) else { return };
    let [0x08, 0x00, packet @ ..] = packet else { return };
    let Some((header, segment)) = packet.split_at_mut_checked(IPV4_HEADER) else { return };
    // IPv4 without options, and TCP.
    if header[0] != 0x45 || header[9] != 6 {
        return;
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]])).saturating_sub(IPV4_HEADER);
    let Some(segment) = segment.get_mut(..length).filter(|segment| segment.len() >= TCP_HEADER) else {
        return;
    };
    segment[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
    // Source, destination, protocol and length go in too (RFC 9293, 3.1).
    let pseudo = sum(&header[12..20]) + 6 + length as u64;
    let mut checksum = pseudo + sum(segment);
    while checksum > 0xffff {
        checksum = (checksum & 0xffff) + (checksum >> 16);
    }
    let checksum = !u16::try_from(checksum).unwrap_or_default();
    segment[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|word| u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
    words.map(u64::from).sum()
}

/// The switch's end of the link to a host.
pub(super) fn port(here: Ipv4Addr, there: Ipv4Addr, number: u16) -> Port {
    Port { here: (here, number).into(), there: (there, number).into() }
}
