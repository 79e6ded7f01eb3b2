//! Goal: clients that mean harm, or web pages that use somebody else's browser, neither fill the node's
//! memory nor keep honest clients away, and nobody is told to pay twice.
//! Method: a validator in this process with a real RPC server, attacked by raw sockets of several loopback
//! addresses, which count as hosts of their own. What is held is read from the node's own metrics.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use evchain_node::mempool::Outcome;
use evchain_node::rpc::{
    CallError, Followed, NodeApiClient, RpcConfig, RpcError, RpcServer, ServeError, TransactionKey,
};
use evchain_node::wallet::Sender;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::genesis::GenesisAccount;
use evchain_protocol::primitives::{Amount, Height, Span};
use evchain_protocol::state::account::Roles;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::transfer::Transfer;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::{self, Cluster, transfer};
use crate::served::Served;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// Where honest clients and attackers come from.
const HONEST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

impl Served {
    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        connect(self.rpc.address(), from).await
    }

    /// The whole answer to a request, which must end the connection.
    async fn ask(&self, from: Ipv4Addr, request: &str) -> String {
        ask(self.rpc.address(), from, request).await
    }

    async fn call(&self, from: Ipv4Addr, call: &Value) -> Value {
        let answer = self.ask(from, &post(&call.to_string(), "connection: close\r\n")).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        serde_json::from_str(body).unwrap_or_else(|error| panic!("no JSON, {error}: {answer:?}"))
    }

    /// A metric's value, from the port that clients do not fill.
    async fn metric(&self, name: &str) -> u64 {
        let answer = ask(self.rpc.metrics_address().unwrap(), HONEST, &get("/metrics", "")).await;
        let line = answer.lines().find(|line| line.split(' ').next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {answer}"))
    }

    async fn until_metric(&self, name: &str, holds: impl Fn(u64) -> bool) {
        let wait = async {
            while !holds(self.metric(name).await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{name}: {}", self.metric(name).await);
    }

    /// A WebSocket after its handshake.
    async fn websocket(&self, from: Ipv4Addr) -> TcpStream {
        upgraded(self.connect(from).await).await
    }

    /// A WebSocket with a small buffer for what comes, so that unread answers soon wait at the node.
    async fn deaf_websocket(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket.bind((ATTACKER, 0).into()).unwrap();
        upgraded(socket.connect(self.rpc.address()).await.unwrap()).await
    }
}

/// The same of a socket.
async fn upgraded(mut stream: TcpStream) -> TcpStream {
    let upgrade = "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

async fn connect(to: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn ask(to: SocketAddr, from: Ipv4Addr, request: &str) -> String {
    let mut stream = connect(to, from).await;
    // One that is closed at once has no answer.
    let _ = stream.write_all(request.as_bytes()).await;
    rest(stream).await
}

/// What else comes until the other side closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "it is never closed: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request that ends its connection.
fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n")
}

fn post(body: &str, headers: &str) -> String {
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn call(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": format!("evchain_{method}"), "params": params})
}

/// A text message as clients send it, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short message");
    let mut frame = vec![0x81, 0x80 | 0x7e];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// The memory of this process, in MB; only for people to read.
fn memory_mb() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
        / 1_000_000
}

/// A chain whose genesis is some MB of JSON, so that a short call has a long answer.
async fn with_long_answers() -> Cluster {
    let accounts = |genesis: &mut evchain_protocol::genesis::Genesis| {
        let many = (2_000..12_000).map(|number| GenesisAccount {
            key: common::key(number).public_key(),
            balance: Amount::new(1),
            roles: Roles::CONSUMER,
        });
        let mut accounts: Vec<_> = genesis.accounts.iter().cloned().collect();
        accounts.extend(many);
        genesis.accounts = List::new(accounts).expect("as many accounts as may be");
    };
    Cluster::start_from(1, accounts).await
}

/// Sends the same bytes again and again and never reads, until the other side has had enough.
/// Gives how many bytes it got rid of.
async fn pour(mut stream: TcpStream, bytes: Vec<u8>, most: usize) -> usize {
    let mut sent = 0;
    while sent < most {
        let rest = &bytes[sent % bytes.len()..];
        match tokio::time::timeout(PATIENCE, stream.write(rest)).await.expect("it is taken or closed") {
            Ok(0) | Err(_) => break,
            Ok(count) => sent += count,
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_and_never_read_hold_bounded_bytes_and_are_closed() {
    const MB: u64 = 1_000_000;
    let limit = RpcConfig::default().max_bytes as u64;
    let served = Served::of(with_long_answers().await, |config| config.patience_ms = 3_000).await;
    let client = served.client().await;
    println!("before: {} MB", memory_mb());

    // As much as would be answered by hundreds of GB, in calls that are padded to be many bytes.
    let padded = call("genesis", &json!([])).to_string() + &" ".repeat(900);
    let rubbish = frame(&"?".repeat(900)).repeat(64);
    let mut attacks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        attacks.spawn(pour(served.websocket(ATTACKER).await, frame(&padded), 256_000_000));
        attacks.spawn(pour(served.websocket(ATTACKER).await, rubbish.clone(), 256_000_000));
        attacks.spawn(pour(served.connect(ATTACKER).await, post(&padded, "").into_bytes(), 256_000_000));
    }
    let (mut most, mut nonce) = (0, 0);
    loop {
        match tokio::time::timeout(Duration::from_millis(50), attacks.join_next()).await {
            Ok(None) => break,
            Ok(Some(sent)) => {
                let sent = sent.expect("an attack ends in order");
                assert!(sent < 256_000_000, "it was read from all the time: {sent} bytes");
            }
            Err(_) => {}
        }
        most = most.max(served.metric("rpc_bytes").await);
        assert!(client.status().await.is_ok(), "an honest client is served");
        if nonce < 5 {
            let finality = client.submit_and_wait(served.transfer(nonce, 1), 60_000).await;
            assert!(finality.is_ok(), "an honest client pays: {finality:?}");
            nonce += 1;
        }
    }
    println!("under attack: {} MB, {} MB of requests and answers at most", memory_mb(), most / MB);
    assert!(most > MB, "the attack held something: {most}");
    assert!(most <= limit, "{most} bytes of {limit}");
    served.until_metric("rpc_bytes", |bytes| bytes < MB).await;
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_does_not_read_is_not_read_from() {
    let served = Served::start(|_| ()).await;
    let mut deaf = served.deaf_websocket().await;
    // Each is answered by a short text that counts for nobody: its place alone bounds how many there are.
    let rubbish = frame(&"?".repeat(900)).repeat(64);
    let mut sent = 0;
    loop {
        match tokio::time::timeout(Duration::from_secs(3), deaf.write(&rubbish[sent % rubbish.len()..])).await
        {
            Err(_) => break,
            Ok(Ok(count)) if count > 0 && sent < 256_000_000 => sent += count,
            Ok(other) => panic!("it was read from all the time: {sent} bytes, and then {other:?}"),
        }
    }
    println!("{} MB were taken", sent / 1_000_000);
    drop(deaf);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_take_no_room_from_others() {
    // Of which a quarter is for small answers, and as much for what waits.
    let served = Served::of(with_long_answers().await, |config| {
        (config.max_bytes, config.max_bytes_per_host) = (48_000_000, 48_000_000);
    })
    .await;
    let gapped = served.client().await.submit(served.transfer(5, 1)).await.unwrap();
    let wait = call("wait", &json!([gapped, 60_000])).to_string();
    // More than there is for them, in three ways: many calls, long messages, and long answers before the wait.
    let padded = format!("{}{wait}", " ".repeat(60_000));
    let after_long_ones = format!("[{},{wait}]", call("genesis", &json!([])));
    let mut waiting = Vec::new();
    for (message, count, connections) in [(wait, 64, 100), (padded, 50, 8), (after_long_ones, 1, 12)] {
        for _ in 0..connections {
            let mut stream = served.websocket(ATTACKER).await;
            for _ in 0..count {
                stream.write_all(&frame(&message)).await.unwrap();
            }
            waiting.push(stream);
        }
        served.until_metric("rpc_bytes", |bytes| bytes > 11_000_000).await;
        if count == 64 {
            // For whom there is no room to wait is told so, and that it was accepted.
            let submit = call("submitAndWait", &json!([served.transfer(6, 1), 60_000]));
            let accepted = served.call(HONEST, &submit).await;
            assert_eq!(accepted["error"]["data"]["error"], "busy", "{accepted}");
            assert!(accepted["error"]["data"]["transaction"].is_string(), "{accepted}");
        }
        for method in ["chain", "genesis"] {
            let answer = served.call(HONEST, &call(method, &json!([]))).await;
            assert!(answer["result"].is_object(), "{method}: {}", answer["error"]);
        }
        waiting.clear();
        served.until_metric("rpc_bytes", |bytes| bytes < 100_000).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_repeats_what_was_long() {
    let served = Served::start(|_| ()).await;
    let long = "A".repeat(100 * 1024);
    let mut known = call("chain", &json!([]));
    let mut unknown = call("nothing", &json!([]));
    known["id"] = json!(long);
    unknown["id"] = json!(long);
    // Within what may be an answer, but for which it would be repeated.
    let parameter = call("account", &json!(["A".repeat(20 * 1024)]));
    let broken = json!({ "id": long });
    let mut version = call("chain", &json!([]));
    version["jsonrpc"] = json!(long);
    let refused =
        [(known, -32_600), (unknown, -32_600), (parameter, -32_602), (broken, -32_600), (version, -32_600)];
    for (sent, code) in refused {
        let answer = served.call(ATTACKER, &sent).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(answer.to_string().len() < 5_000, "{answer}");
    }
    // What may be an id comes back.
    let mut named = call("chain", &json!([]));
    named["id"] = json!("A".repeat(256));
    assert_eq!(served.call(HONEST, &named).await["id"], named["id"]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_told_from_what_is_too_long() {
    let served = Served::start(|_| ()).await;
    let head =
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let broken = served.ask(ATTACKER, &format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n")).await;
    assert!(broken.starts_with("HTTP/1.1 400"), "{broken}");
    let long = served.ask(ATTACKER, &post(&" ".repeat(2_000_000), "connection: close\r\n")).await;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");

    // A message in two parts is one message.
    let text = call("chain", &json!([])).to_string();
    let (first, last) = text.split_at(20);
    let (mut beginning, mut end) = (frame(first), frame(last));
    (beginning[0], end[0]) = (0x01, 0x80);
    let mut websocket = served.websocket(ATTACKER).await;
    websocket.write_all(&[&beginning[..], &end].concat()).await.unwrap();
    assert_eq!(websocket.read_u8().await.ok(), Some(0x81), "an answer");
    // A pong between the parts ends the connection, without an answer to half a message.
    let pong = [0x8a, 0x80, 0, 0, 0, 0];
    let mut websocket = served.websocket(ATTACKER).await;
    websocket.write_all(&[&beginning[..], &pong, &end].concat()).await.unwrap();
    let said = rest(websocket).await;
    assert!(!said.contains("jsonrpc"), "{said}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_count_until_they_have_left() {
    const CALLS: u64 = 12;
    let served = Served::of(with_long_answers().await, |_| ()).await;
    let genesis = call("genesis", &json!([])).to_string();
    let answer = served.ask(HONEST, &post(&genesis, "connection: close\r\n")).await.len() as u64;
    let mut deaf = served.websocket(ATTACKER).await;
    for _ in 0..CALLS {
        deaf.write_all(&frame(&genesis)).await.unwrap();
    }
    // Room is made for each answer, and given back where it is shorter, until all are made.
    let (mut held, mut same) = (0, 0);
    while same < 20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = served.metric("rpc_bytes").await;
        same = if now == held { same + 1 } else { 0 };
        held = now;
    }
    // The system takes some MB.
    assert!(answer > 1_000_000, "{answer}");
    assert!(held + 8_000_000 >= CALLS * answer, "{held} of {CALLS} times {answer} bytes count");
    drop(deaf);
    served.until_metric("rpc_bytes", |bytes| bytes < 100_000).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_never_reads_keeps_no_other_waiting() {
    // Slow and full blocks, whose notices are long.
    let cluster = Cluster::start_with(1, |params| params.min_block_interval = Span::new(200)).await;
    let served = Served::of(cluster, |config| {
        (config.patience_ms, config.max_queued_messages) = (12_000, 32);
    })
    .await;
    let client = served.client().await;
    let mut blocks = client.follow_blocks().await.unwrap();
    tokio::time::timeout(PATIENCE, blocks.next()).await.expect("a block");
    let mut deaf = served.deaf_websocket().await;
    for _ in 0..16 {
        deaf.write_all(&frame(&call("subscribeBlocks", &json!([])).to_string())).await.unwrap();
    }
    // More than the system takes, until no more of it waits than did a block before.
    let stuck = async {
        let mut held = 0;
        for nonce in 0.. {
            let transfer = served.transfer(nonce, 1);
            if nonce % 60 < 59 {
                client.submit(transfer).await.unwrap();
                continue;
            }
            client.submit_and_wait(transfer, 60_000).await.unwrap();
            let before = std::mem::replace(&mut held, served.metric("rpc_bytes").await);
            if held > 100_000 && held == before {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, stuck).await.expect("what is not read waits, and counts");
    // All others hear of each block as it comes.
    let tip = || served.cluster.handle(0).chain.reader().tip().height;
    let until = tip().saturating_add(Height::new(5));
    let hears = async {
        loop {
            if let Followed::Item(block) = blocks.next().await
                && block.header.height >= until
            {
                return;
            }
        }
    };
    let connections = served.metric("rpc_connections").await;
    tokio::time::timeout(PATIENCE, hears).await.expect("nobody waits for the deaf one");
    assert_eq!(served.metric("rpc_connections").await, connections, "nobody had to wait for its end");
    assert!(served.metric("rpc_bytes").await < 16_000_000);
    // It is given up, though it stays, and goes on to speak.
    let closed = async {
        while deaf.write_all(&frame("?")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.expect("it is closed");
    drop((deaf, blocks, client));
    served.until_metric("rpc_connections", |connections| connections == 0).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_shut_nobody_out_and_are_closed() {
    let served = Served::start(|config| {
        (config.max_connections, config.max_connections_per_host, config.patience_ms) = (8, 6, 1_000);
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(served.connect(ATTACKER).await);
        silent.push(served.connect(HONEST).await);
    }
    // More than there are places, and the honest ones are served all the same.
    for path in ["/health", "/metrics"] {
        assert!(served.ask(HONEST, &get(path, "")).await.starts_with("HTTP/1.1 200"), "{path}");
        let beside = ask(served.rpc.metrics_address().unwrap(), HONEST, &get(path, "")).await;
        assert!(beside.starts_with("HTTP/1.1 200"), "{path}: {beside}");
    }
    assert!(served.call(HONEST, &call("chain", &json!([]))).await["result"]["id"].is_string());
    assert!(served.metric("rpc_connections_evicted_total").await > 0);
    for stream in silent {
        rest(stream).await;
    }
    // Half a head, half a body, and a connection that had its answer and says nothing more.
    let mut head = served.connect(ATTACKER).await;
    head.write_all(b"POST / HTTP/1.1\r\nhost: local").await.unwrap();
    rest(head).await;
    let mut body = served.connect(ATTACKER).await;
    let whole = post(&call("chain", &json!([])).to_string(), "");
    body.write_all(&whole.as_bytes()[..whole.len() - 10]).await.unwrap();
    assert!(rest(body).await.starts_with("HTTP/1.1 408"));
    let mut idle = served.connect(ATTACKER).await;
    idle.write_all(whole.as_bytes()).await.unwrap();
    assert!(rest(idle).await.starts_with("HTTP/1.1 200"));
    served.until_metric("rpc_connections", |connections| connections == 0).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_with_a_connection_each_shut_nobody_out() {
    // None is closed for its silence meanwhile.
    let served = Served::start(|config| (config.max_connections, config.patience_ms) = (8, 600_000)).await;
    let hosts = |from: u8| (from..from + 8).map(|number| Ipv4Addr::new(127, 0, 1, number));
    let mut held = Vec::new();
    for from in hosts(1) {
        held.push(served.connect(from).await);
    }
    served.until_metric("rpc_connections", |connections| connections == 8).await;
    assert!(served.ask(HONEST, &get("/health", "")).await.contains("healthy"));
    served.until_metric("rpc_connections", |connections| connections == 7).await;
    // Nor those that have asked for something, and stay.
    held.clear();
    served.until_metric("rpc_connections", |connections| connections == 0).await;
    for from in hosts(11) {
        let mut stream = served.connect(from).await;
        stream.write_all(post(&call("chain", &json!([])).to_string(), "").as_bytes()).await.unwrap();
        assert!(stream.read_u8().await.is_ok(), "an answer");
        held.push(stream);
    }
    // Once their answers have left.
    let served_too = async { while !served.ask(HONEST, &get("/health", "")).await.contains("healthy") {} };
    tokio::time::timeout(PATIENCE, served_too).await.expect("an idle one gives way");
    // Nor WebSockets, while nothing is under way on them.
    drop(held);
    served.until_metric("rpc_connections", |connections| connections == 0).await;
    let mut websockets = Vec::new();
    for from in hosts(21) {
        let mut websocket = served.websocket(from).await;
        websocket.write_all(&frame(&call("chain", &json!([])).to_string())).await.unwrap();
        assert!(websocket.read_u8().await.is_ok(), "an answer");
        websockets.push(websocket);
    }
    let served_too = async { while !served.ask(HONEST, &get("/health", "")).await.contains("healthy") {} };
    tokio::time::timeout(PATIENCE, served_too).await.expect("an idle one gives way");
    drop(websockets);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_has_its_share_of_the_places_and_the_fullest_gives_way() {
    let served = Served::start(|config| {
        (config.max_connections, config.max_connections_per_host) = (8, 6);
    })
    .await;
    let whole = post(&call("chain", &json!([])).to_string(), "");
    let mut held = Vec::new();
    for from in [ATTACKER; 6].into_iter().chain([ANOTHER; 2]) {
        if from == ANOTHER && held.len() == 6 {
            assert_eq!(served.ask(ATTACKER, &get("/health", "")).await, "", "the rest is not for it");
        }
        let mut stream = served.connect(from).await;
        stream.write_all(whole.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    assert_eq!(served.ask(ATTACKER, &get("/health", "")).await, "", "its places are taken");
    assert_eq!(served.metric("rpc_connections_refused_total").await, 2);
    assert!(served.ask(HONEST, &get("/health", "")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(served.metric("rpc_connections_evicted_total").await, 1);
    drop(held);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_and_no_foreign_name_reaches_the_node() {
    let served = Served::start(|config| {
        config.allow_hosts = vec!["node.example.org".to_owned()];
        config.cors = vec!["https://wallet.example".to_owned()];
        config.patience_ms = 1_000;
    })
    .await;
    let ask = async |request: String| served.ask(HONEST, &request).await;
    let chain = call("chain", &json!([])).to_string();
    let upgrade =
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let websocket = |headers: &str| {
        get("/", &format!("{upgrade}{headers}")).replace("connection: close", "connection: upgrade")
    };
    let renamed = |request: &str, host: &str| request.replace("host: localhost", &format!("host: {host}"));
    let requests = [get("/health", ""), get("/metrics", ""), post(&chain, ""), websocket("")];
    for request in &requests {
        let refused = ask(renamed(request, "evil.example:9100")).await;
        assert!(
            refused.starts_with("HTTP/1.1 403") && refused.contains("--rpc-allow-host evil.example"),
            "{refused}"
        );
        let from_page =
            request.replacen("\r\n", "\r\norigin: https://evil.example\r\nconnection: close\r\n", 1);
        let refused = ask(from_page).await;
        assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("--rpc-cors"), "{refused}");
    }
    let closing = "connection: close\r\n";
    assert!(ask(renamed(&post(&chain, closing), "node.example.org")).await.starts_with("HTTP/1.1 200"));
    let page = "origin: https://wallet.example\r\n";
    let allowed = ask(post(&chain, &format!("{closing}{page}"))).await;
    assert!(allowed.starts_with("HTTP/1.1 200"), "{allowed}");
    assert!(allowed.contains("access-control-allow-origin: https://wallet.example"), "{allowed}");
    let preflight = ask(get("/", page).replacen("GET", "OPTIONS", 1)).await;
    assert!(preflight.starts_with("HTTP/1.1 204"), "{preflight}");
    assert!(preflight.contains("access-control-allow-headers: content-type"), "{preflight}");
    // As forms of other pages would: no page's answer, and no call.
    let form = post(&chain, closing).replace("application/json", "text/plain");
    assert!(ask(form).await.starts_with("HTTP/1.1 415"));
    assert_eq!(served.metric("rpc_requests_forbidden_total").await, 8);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_calls_too_often_is_told_so_and_no_other() {
    let served = Served::start(|config| config.max_calls_per_second = std::num::NonZeroU32::new(5)).await;
    let batch = Value::from(vec![call("chain", &json!([])); 50]);
    let answers = served.call(ATTACKER, &batch).await;
    let busy = |answers: &Value| {
        answers.as_array().unwrap().iter().filter(|answer| answer["error"]["code"] == -32_014).count()
    };
    assert!(busy(&answers) > 0, "{answers}");
    assert!(answers[0]["result"]["id"].is_string(), "{answers}");
    assert!(served.call(HONEST, &call("chain", &json!([]))).await["result"]["id"].is_string());
    // A new connection makes it no other host.
    let again = served.call(ATTACKER, &batch).await;
    assert!(busy(&again) > busy(&answers), "{again}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ended_leaves_its_place_to_wait_and_full_says_accepted() {
    let served = Served::start(|config| (config.max_waits, config.max_waits_per_host) = (6, 4)).await;
    let client = served.client().await;
    // A gap before it keeps it from any block.
    let gapped = client.submit(served.transfer(5, 1)).await.unwrap();
    let mut waiting = Vec::new();
    let full = async {
        loop {
            match client.wait(gapped, 1).await.map_err(RpcError::from) {
                Err(RpcError::Call(CallError::Unwatched { transaction })) => return transaction,
                Err(RpcError::Call(CallError::TimedOut { .. })) => {}
                other => panic!("{other:?}"),
            }
            // One that comes while this call has the last place has none.
            let mut stream = served.connect(HONEST).await;
            let wait = post(&call("wait", &json!([gapped, 60_000])).to_string(), "");
            stream.write_all(wait.as_bytes()).await.unwrap();
            waiting.push(stream);
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, full).await.expect("no place is left"), gapped);
    let raw = served.call(HONEST, &call("submitAndWait", &json!([served.transfer(5, 1), 60_000]))).await;
    assert_eq!(
        (&raw["error"]["code"], &raw["error"]["data"]["error"]),
        (&json!(-32_014), &json!("busy")),
        "{raw}"
    );
    assert_eq!(raw["error"]["data"]["transaction"], json!(gapped), "{raw}");
    assert!(raw["error"]["message"].as_str().unwrap().contains("was accepted"), "{raw}");
    let elsewhere = served.call(ATTACKER, &call("wait", &json!([gapped, 10]))).await;
    assert_eq!(elsewhere["error"]["code"], -32_013, "another host has places of its own: {elsewhere}");

    // Whoever sends by this project's means learns that it is final, although no place was left.
    let sender = Sender::new(client.clone(), common::rich());
    let pay = Action::Transfer(Transfer { to: common::key(900).public_key(), amount: Amount::new(2) });
    let signed = sender.sign(evchain_protocol::primitives::Nonce::ZERO, pay);
    let finality = sender.send_signed(&signed, Duration::from_secs(30)).await.expect("it is final");
    assert_eq!(finality.transaction, signed.id());

    drop(waiting);
    let free = async {
        loop {
            if let Err(RpcError::Call(CallError::TimedOut { .. })) =
                client.wait(gapped, 1).await.map_err(RpcError::from)
            {
                return;
            }
        }
    };
    // Long before the calls would have ended by themselves.
    tokio::time::timeout(PATIENCE / 3, free).await.expect("the places are free again");
    drop((client, sender));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_left_do_not_keep_others_from_hearing_the_outcome() {
    let cluster = Cluster::start(1).await;
    let mempool = cluster.handle(0).mempool;
    let gapped = mempool.submit(&transfer(&cluster, 5, common::key(900).public_key(), 1)).await.unwrap();
    for _ in 0..100 {
        // A thousand ask, are heard, and leave.
        let mut asking: Vec<_> = (0..1_000).map(|_| Box::pin(mempool.outcome(gapped))).collect();
        for asks in &mut asking {
            // All of them, though tokio would have this task pause.
            assert!(futures::poll!(tokio::task::unconstrained(asks)).is_pending());
        }
        assert_eq!(mempool.standing(gapped).await, Outcome::Waiting);
    }
    let id = mempool.submit(&transfer(&cluster, 0, common::key(900).public_key(), 1)).await.unwrap();
    let outcome = tokio::time::timeout(PATIENCE, mempool.outcome(id)).await.expect("an outcome");
    assert!(matches!(outcome, Outcome::Final(_)), "{outcome:?}");
    assert_eq!(mempool.standing(gapped).await, Outcome::Waiting);
    drop(mempool);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_never_tells_to_send_again_what_may_still_be_final() {
    let mut cluster = Cluster::start(2).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |line: String| {
        let folder = folder.path().to_owned();
        tokio::task::spawn_blocking(move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_evchain"));
            command.args(line.split(' ')).current_dir(folder).output().unwrap()
        })
    };
    assert!(run("keys new --wallet w.json".to_owned()).await.unwrap().status.success());
    let address = run("keys address --wallet w.json".to_owned()).await.unwrap().stdout;
    let address: PublicKey = String::from_utf8(address).unwrap().trim().parse().unwrap();
    let id = cluster.handle(0).mempool.submit(&transfer(&cluster, 0, address, 1_000)).await.unwrap();
    assert!(matches!(cluster.handle(0).mempool.outcome(id).await, Outcome::Final(_)));
    // One of two is no quorum: nothing becomes final any more.
    cluster.stop_one(1).await;
    let served = Served::of(cluster, |_| ()).await;

    // An account that exists: this one may not sponsor another.
    let payee = common::rich().public_key();
    let output =
        run(format!("tx transfer {payee} 0.0001 --wallet w.json --timeout 1s --rpc {}", served.endpoint()));
    let output = output.await.unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{message}");
    assert!(message.contains("not known") && message.contains("Do not repeat this command"), "{message}");
    let id = message.split("query wait ").nth(1).and_then(|rest| rest.split('`').next()).unwrap_or_default();
    // It is there under the id that was named, and it is the only one.
    let client = served.client().await;
    let waiting = client.transaction(TransactionKey::Id(id.parse().unwrap())).await.unwrap();
    assert_eq!(waiting.signed.transaction.sender, address);
    assert_eq!(client.status().await.unwrap().waiting_transactions, 1);
    let absent = client.wait(evchain_protocol::crypto::Hash::ZERO, 1).await.map_err(RpcError::from);
    let Err(RpcError::Call(CallError::NotFound(text))) = absent else { panic!("{absent:?}") };
    assert!(text.contains("may still become final") && text.contains("the same signed bytes"), "{text}");
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_what_is_wrong() {
    let served = Served::start(|_| ()).await;
    let body = |answer: String| -> Value {
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("an answer").1).expect("JSON")
    };
    let well = body(served.ask(HONEST, &get("/health", "")).await);
    assert_eq!((&well["healthy"], &well["problems"]), (&json!(true), &json!([])), "{well}");
    served.until_metric("problem{name=\"no_peers\"}", |value| value == 0).await;
    served.stop().await;

    let mut cluster = Cluster::start(2).await;
    cluster.stop_one(1).await;
    let served = Served::of(cluster, |_| ()).await;
    let ill = async {
        loop {
            let answer = served.ask(HONEST, &get("/health", "")).await;
            if answer.starts_with("HTTP/1.1 503") {
                return body(answer);
            }
        }
    };
    let ill = tokio::time::timeout(PATIENCE, ill).await.expect("a node alone of two is ill");
    assert_eq!((&ill["healthy"], &ill["problems"][0]["name"]), (&json!(false), &json!("no_peers")), "{ill}");
    assert_eq!(ill["problems"][0]["serious"], true, "{ill}");
    assert!(ill["problems"][0]["message"].as_str().unwrap().contains("--peer"), "{ill}");
    served.until_metric("problem{name=\"no_peers\"}", |value| value == 1).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_named_with_what_to_do() {
    type Change = fn(&mut RpcConfig);
    let cluster = Cluster::start(1).await;
    let changes: [(Change, &str); 5] = [
        (|config| config.allow_hosts = vec!["http://x".to_owned()], "without port"),
        (|config| config.cors = vec!["wallet.example".to_owned()], "https://wallet.example"),
        (|config| config.max_bytes = 1_000, "max_bytes is 1000"),
        (|config| config.max_bytes_per_connection = 1_000, "max_bytes_per_connection"),
        (|config| config.max_calls_per_connection = 0, "at least 1"),
    ];
    for (change, hint) in changes {
        let mut config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..RpcConfig::default() };
        change(&mut config);
        let error = RpcServer::start(config, cluster.handle(0), Registry::default()).await.unwrap_err();
        assert!(matches!(&error, ServeError::Setting(text) if text.contains(hint)), "{error}");
    }
    cluster.stop().await;
}
