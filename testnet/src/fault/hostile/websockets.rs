use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::attack::Sent;
use super::field::{Field, host};
use super::sockets::{AGAIN_AFTER, CALLS, connect};
use super::transactions::call;
use crate::fault::error::FaultError;

/// Connections that are held at each validator, each with as many subscriptions as one may have.
const SUBSCRIBERS: usize = 25;
const SUBSCRIPTIONS: u64 = 16;

/// Opens a WebSocket from a host of the attackers; the validator's answer is for the caller to read.
async fn open(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(from, to).await?;
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await?;
    Ok(stream)
}

/// Asks each validator for the largest answer there is on a WebSocket that is never read.
pub(super) async fn unread(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let asking = field.targets.iter().map(|target| async {
        let mut sent = 0;
        while !stop.is_cancelled() {
            // It ends when the validator hangs up.
            let _ = ask_without_end(target.rpc, stop, &mut sent).await;
            sleep(AGAIN_AFTER).await;
        }
        sent
    });
    Ok(join_all(asking).await.into_iter().sum())
}

async fn ask_without_end(to: SocketAddr, stop: &CancellationToken, sent: &mut Sent) -> io::Result<()> {
    let mut stream = open(host(3), to).await?;
    let calls = (0..CALLS).map(|id| call(id, "evchain_genesis", "")).collect::<Vec<_>>().join(",");
    let message = frame(&format!("[{calls}]"));
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            written = stream.write_all(&message) => written?,
        }
        *sent += CALLS;
    }
}

/// A WebSocket message (RFC 6455, 5.2) of a client, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(text.len()) {
        Ok(length @ 0..126) => frame.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => frame.extend([&[0x80 | 0x7e][..], &length.to_be_bytes()].concat()),
        Err(_) => frame.extend([&[0x80 | 0x7f][..], &(text.len() as u64).to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Subscribes to every block many times over, and reads all that comes.
pub(super) async fn subscriptions(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let places = field.targets.iter().flat_map(|target| std::iter::repeat_n(target.rpc, SUBSCRIBERS));
    let following = places.map(|rpc| async move {
        let mut sent = 0;
        while !stop.is_cancelled() {
            // It ends when the validator hangs up.
            let _ = subscribe(rpc, stop, &mut sent).await;
            sleep(AGAIN_AFTER).await;
        }
        sent
    });
    Ok(join_all(following).await.into_iter().sum())
}

async fn subscribe(to: SocketAddr, stop: &CancellationToken, sent: &mut Sent) -> io::Result<()> {
    let mut stream = open(host(7), to).await?;
    for id in 0..SUBSCRIPTIONS {
        stream.write_all(&frame(&call(id, "evchain_subscribeBlocks", ""))).await?;
        *sent += 1;
    }
    let mut said = vec![0; 16 * 1_024];
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            read = stream.read(&mut said) => if read? == 0 { return Ok(()) },
        }
    }
}
