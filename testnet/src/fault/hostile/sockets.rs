use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::attack::Sent;
use super::field::{Field, host};
use super::transactions::{call, large_claim, sign, submission};
use crate::fault::error::FaultError;

/// RPC connections that are held at each validator.
const SILENT: usize = 512;
/// Hosts that hold half-open connections, and how many each holds at each validator.
const HALF_OPEN_HOSTS: std::ops::Range<u8> = 20..25;
const HALF_OPEN: usize = 40;
/// How often connections that were closed are opened again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long an attacker waits for a connection or an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Calls in one message.
pub(super) const CALLS: u64 = 64;
/// The pause between messages whose callers hang up.
const PAUSE: Duration = Duration::from_millis(5);
/// An id that takes most of the 128 KiB that a call may have.
const LONG_ID: usize = 100_000;
/// Callers at once, at each validator, that send one.
const LONG_ID_CALLERS: usize = 16;
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Connects from a host of the attackers.
pub(super) async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.into(), 0))?;
    timeout(PATIENCE, socket.connect(to)).await?
}

/// Calls a validator's RPC and reads its answer.
pub(super) async fn post(from: Ipv4Addr, to: SocketAddr, body: &str) -> io::Result<String> {
    let mut stream = connect(from, to).await?;
    let call = async {
        stream.write_all(request(to, body, "close").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(PATIENCE, call).await?
}

fn request(to: SocketAddr, body: &str, connection: &str) -> String {
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nConnection: {connection}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Holds as many RPC connections at each validator as it takes, and says nothing.
pub(super) async fn silent(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let holding = field.targets.iter().map(|target| hold(host(2), target.rpc, SILENT, stop));
    Ok(join_all(holding).await.into_iter().sum())
}

/// Holds connections from several hosts at each validator's peer-to-peer port, whose handshake never comes.
pub(super) async fn half_open(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let pairs = field.targets.iter().flat_map(|target| HALF_OPEN_HOSTS.map(move |number| (target, number)));
    let holding = pairs.map(|(target, number)| hold(host(number), target.socket, HALF_OPEN, stop));
    Ok(join_all(holding).await.into_iter().sum())
}

/// Holds so many connections, and opens those again that were closed.
async fn hold(from: Ipv4Addr, to: SocketAddr, count: usize, stop: &CancellationToken) -> Sent {
    let (mut held, mut opened) = (Vec::new(), 0);
    while !stop.is_cancelled() {
        held.retain(is_open);
        while held.len() < count && !stop.is_cancelled() {
            let Ok(stream) = connect(from, to).await else { break };
            held.push(stream);
            opened += 1;
        }
        sleep(AGAIN_AFTER).await;
    }
    opened
}

/// Whether the other side has not hung up. What it says is thrown away.
fn is_open(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 1_024]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Calls that wait a minute for a transaction, many in one message; their callers hang up at once.
pub(super) async fn abandoned_waits(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let mut sent = 0;
    // One that waits: its nonce is not the next.
    let key = &field.participants[0];
    let waiting = sign(field, key, 5, large_claim(0));
    let submit = submission(0, &waiting);
    let wait = (0..CALLS).map(|id| call(id, "evchain_wait", &format!("\"{}\",60000", waiting.id())));
    let waits = format!("[{}]", wait.collect::<Vec<_>>().join(","));
    while !stop.is_cancelled() {
        for target in &field.targets {
            // Known already from the second time on.
            let _ = post(host(4), target.rpc, &submit).await;
            for _ in 0..20 {
                if let Ok(mut stream) = connect(host(4), target.rpc).await
                    && stream.write_all(request(target.rpc, &waits, "keep-alive").as_bytes()).await.is_ok()
                {
                    sent += CALLS;
                }
                sleep(PAUSE).await;
            }
        }
    }
    Ok(sent)
}

/// Calls that fail and whose id is as long as a message may be, over and over, in case the refusal repeats it.
pub(super) async fn long_ids(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let id = "i".repeat(LONG_ID);
    let body = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"none","params":[]}}"#);
    let callers = field.targets.iter().flat_map(|target| std::iter::repeat_n(target.rpc, LONG_ID_CALLERS));
    let calling = callers.map(|rpc| {
        let body = body.as_str();
        async move {
            let mut sent = 0;
            while !stop.is_cancelled() {
                sent += u64::from(post(host(6), rpc, body).await.is_ok());
                sleep(PAUSE).await;
            }
            sent
        }
    });
    Ok(join_all(calling).await.into_iter().sum())
}
