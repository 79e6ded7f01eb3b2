//! Goal: what peers ask for and do not read costs this node a bounded number of bytes, and keeps nobody else
//! from being answered.
//! Method: real sockets. Clients ask and never read their streams, or never read their socket at all; the node
//! answers every request that reaches it as large as it may. What its answers hold is read from its gauges.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::AsyncWriteExt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::support::{CHAIN, Node, Stranger, key, loopback, soon};
use crate::network::{Admission, Multiaddr, NetworkEvent, NetworkLimits, RequestError};

const KIB: usize = 1024;
/// One answer: more than a stream's window, so that it does not leave unless it is read.
const ANSWER: usize = 600 * KIB;
const LARGEST: usize = 1_024 * KIB;

fn limits() -> NetworkLimits {
    NetworkLimits {
        max_response_bytes: LARGEST,
        max_response_bytes_per_peer: 2 * LARGEST,
        max_response_bytes_per_host: 3 * LARGEST,
        max_response_bytes_in_all: 8 * LARGEST,
        request_timeout_ms: 60_000,
        ..NetworkLimits::default()
    }
}

/// Answers everything, and counts the answers.
fn serve(mut node: Node, len: usize) -> (Arc<AtomicUsize>, JoinHandle<Node>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answered);
    let task = tokio::spawn(async move {
        while let Some(event) = node.events.recv().await {
            if let NetworkEvent::SyncRequest { mut responder, .. } = event
                && responder.reserve()
            {
                counter.fetch_add(1, Ordering::Relaxed);
                responder.respond(vec![7; len]);
            }
        }
        node
    });
    (answered, task)
}

/// Asks so often, and reads no answer.
async fn ask_without_reading(stranger: &mut Stranger, times: usize) -> Vec<libp2p::Stream> {
    let mut streams = Vec::new();
    for _ in 0..times {
        let mut stream = stranger.open("sync").await;
        stream.write_all(&[0, 0, 0, 1, 9]).await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_hold_a_bounded_number_of_bytes_and_honest_peers_are_served() {
    let node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits()).await;
    node.handle.set_authorities(vec![node.key, key(90)]).await.unwrap();
    let metrics = node.probe();
    let at = node.address.clone();
    let elsewhere = Muzzle::before(&node, "127.0.0.9:0").await;
    let mut strangers = Vec::new();
    for seed in 2..8 {
        strangers.push(Stranger::connect(seed, &node).await);
    }
    let (answered, serving) = serve(node, ANSWER);
    let mut unread = Vec::new();
    // Each request is answered, or told that this node is busy.
    let all_of = async |requests: u64| {
        let busy = |reason: &str| metrics.value(&format!("network_drops_total{{reason=\"{reason}\"}}"));
        let wait = async {
            while busy("sync_peer_limit") + busy("sync_host_limit") + busy("sync_bytes")
                < requests - answered.load(Ordering::Relaxed) as u64
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("the end of the requests", wait).await;
        answered.load(Ordering::Relaxed)
    };
    // A third answer to one stranger would be above its 2 MiB, though its host could have it.
    let (first, others) = strangers.split_first_mut().unwrap();
    unread.extend(ask_without_reading(first, 10).await);
    assert_eq!(all_of(10).await, 2);
    // A fifth one to six keys of one host would be above 3 MiB.
    for stranger in others {
        unread.extend(ask_without_reading(stranger, 10).await);
    }
    assert_eq!(all_of(60).await, 4);
    assert_eq!(metrics.value("network_response_bytes"), 4 * ANSWER as u64);
    assert!(metrics.value("network_response_bytes_peak") <= 3 * LARGEST as u64);

    // An authority, on the same host too, and a peer from elsewhere are served all the while.
    for (seed, at) in [(90, &at), (91, &elsewhere.address)] {
        let honest = Node::start_with(seed, CHAIN, loopback(), &[], Admission::Open, limits()).await;
        soon("a connection", honest.handle.connect(key(1), vec![at.clone()])).await.unwrap();
        for _ in 0..5 {
            let answer = soon("an answer", honest.handle.request(key(1), vec![1])).await;
            assert_eq!(answer.map(|answer| answer.len()), Ok(ANSWER));
        }
    }
    // Their connections end, which frees their buffers; a stream that is reset alone would keep its place.
    drop(strangers);
    soon("everything to be given back", async {
        while metrics.value("network_response_bytes") > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(unread);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_leave_a_quarter_of_the_places_to_authorities() {
    let limits = NetworkLimits { max_inbound_requests: 4, ..limits() };
    let mut node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    node.handle.set_authorities(vec![node.key, key(90)]).await.unwrap();
    let mut stranger = Stranger::connect(2, &node).await;
    let mut asked = ask_without_reading(&mut stranger, 4).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(
            node.wait_for("a stranger's request", |event| match event {
                NetworkEvent::SyncRequest { responder, .. } => Some(responder),
                _ => None,
            })
            .await,
        );
    }
    node.wait_metric("network_drops_total{reason=\"sync_limit\"}", 1).await;
    let mut authority = Stranger::connect(90, &node).await;
    asked.extend(ask_without_reading(&mut authority, 1).await);
    node.wait_for("the authority's request", |event| {
        matches!(event, NetworkEvent::SyncRequest { from, .. } if from == key(90)).then_some(())
    })
    .await;
    drop((held, asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_read_in_time_is_cut_off_and_its_place_kept_for_as_long() {
    let limits = NetworkLimits { request_timeout_ms: 3_000, max_inbound_requests_per_peer: 1, ..limits() };
    let node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let metrics = node.probe();
    let mut stranger = Stranger::connect(2, &node).await;
    let (answered, serving) = serve(node, ANSWER);
    let unread = ask_without_reading(&mut stranger, 1).await;
    metrics.wait("network_drops_total{reason=\"sync_unread\"}", 1).await;
    // Parts of the answer may still be in the connection's buffers.
    assert_eq!(metrics.value("network_response_bytes"), ANSWER as u64);
    let refused = ask_without_reading(&mut stranger, 1).await;
    metrics.wait("network_drops_total{reason=\"sync_peer_limit\"}", 1).await;
    assert_eq!(answered.load(Ordering::Relaxed), 1);
    soon("a further answer", async {
        while answered.load(Ordering::Relaxed) < 2 {
            drop(ask_without_reading(&mut stranger, 1).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    drop((unread, refused));
    serving.abort();
}

/// Passes bytes on between a client and a node, to which it comes from another address of this machine; from the
/// node only until it is told to stop reading.
struct Muzzle {
    address: Multiaddr,
    is_closed: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Muzzle {
    async fn before(node: &Node, from: &str) -> Self {
        let from: SocketAddr = from.parse().unwrap();
        let parts: Vec<String> = node.address.to_string().split('/').map(str::to_owned).collect();
        let target: SocketAddr = format!("{}:{}", parts[2], parts[4]).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let is_closed = Arc::new(AtomicBool::new(false));
        let muzzled = Arc::clone(&is_closed);
        let task = tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let socket = TcpSocket::new_v4().unwrap();
            // So that the system takes little of what is not read.
            socket.set_recv_buffer_size(8 * 1024).unwrap();
            socket.bind(from).unwrap();
            let node = socket.connect(target).await.unwrap();
            pass_on(client, node, &muzzled).await;
        });
        Self { address: address.parse().unwrap(), is_closed, task }
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Muzzle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(client: TcpStream, node: TcpStream, is_closed: &AtomicBool) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let there = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_node).await });
    let mut bytes = vec![0; 4 * KIB];
    while !is_closed.load(Ordering::Relaxed) {
        // A short wait, so that the end is seen while nothing comes.
        if let Ok(Ok(read)) = timeout(Duration::from_millis(20), from_node.read(&mut bytes)).await
            && (read == 0 || to_client.write_all(&bytes[..read]).await.is_err())
        {
            return;
        }
    }
    // Both ends stay open.
    let _ = there.await;
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_a_socket_that_nobody_reads_hold_their_places_however_small_they_are() {
    // Each would fit whole into what the multiplexer queues for a stream.
    const SMALL: usize = 100 * KIB;
    const REQUESTS: usize = 200;
    let limits = NetworkLimits { ping_interval_ms: 60_000, ..limits() };
    let node = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits).await;
    let metrics = node.probe();
    let muzzle = Muzzle::before(&node, "127.0.0.1:0").await;
    let mut stranger = Stranger::connect_lazily(2, &node, &muzzle.address).await;
    let (answered, serving) = serve(node, SMALL);
    // A first exchange, so that everything that needs an answer to be set up is.
    let mut unread = ask_without_reading(&mut stranger, 1).await;
    soon("the first answer", async {
        while answered.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    muzzle.close();
    soon("the requests", async {
        while unread.len() < REQUESTS {
            unread.extend(ask_without_reading(&mut stranger, 1).await);
            // One after the other, so that only answers that have not left are in the way of the next.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    metrics.wait("network_drops_total{reason=\"sync_peer_limit\"}", 50).await;
    // The system's buffers take a few MB; the rest of 20 MB is never made.
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered < REQUESTS * 2 / 3, "{answered} answers were made for a socket that nobody reads");
    assert!(metrics.value("network_response_bytes") >= SMALL as u64);
    assert!(metrics.value("network_response_bytes_peak") <= 2 * LARGEST as u64);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_questions_to_one_peer_are_few() {
    let limits = NetworkLimits { max_outbound_requests_per_peer: 2, ..limits() };
    let mut a = Node::start_with(1, CHAIN, loopback(), &[], Admission::Open, limits.clone()).await;
    let mut b = Node::start_with(2, CHAIN, loopback(), &[&a.address], Admission::Open, limits).await;
    a.wait_connected(b.key).await;
    b.wait_connected(a.key).await;
    let ask = || {
        let handle = a.handle.clone();
        tokio::spawn(async move { handle.request(key(2), vec![1]).await })
    };
    let under_way = [ask(), ask()];
    let mut responders = Vec::new();
    for _ in 0..2 {
        responders.push(
            b.wait_for("a request", |event| match event {
                NetworkEvent::SyncRequest { responder, .. } => Some(responder),
                _ => None,
            })
            .await,
        );
    }
    assert_eq!(soon("an outcome", ask()).await.unwrap(), Err(RequestError::TooManyRequests));
    for responder in responders {
        responder.respond(vec![3]);
    }
    for request in under_way {
        assert_eq!(soon("an answer", request).await.unwrap(), Ok(vec![3]));
    }
}
