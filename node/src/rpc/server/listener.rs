//! Accepts connections and serves HTTP on them, each with its limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use super::hosts::{Caller, Hosts};
use super::http::Service;
use super::wire::Wire;

/// What a connection may buffer: the head of a request, and a piece of an answer.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long an answer that is under way may take when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// The pause after the system gave no connection, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a port until it is told to stop.
pub(super) async fn serve(listener: TcpListener, hosts: Arc<Hosts>, service: Service) {
    let tasks = service.tasks.clone();
    loop {
        let accepted = tokio::select! {
            () = service.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "rpc: no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Some(caller) = hosts.enter(address.ip()) {
            tasks.spawn(converse(stream, caller, service.clone()));
        } else {
            debug!(%address, "rpc: too many connections, closed one");
        }
    }
}

/// Serves one connection until it ends, stops for too long, or has to leave.
async fn converse(stream: TcpStream, caller: Caller, service: Service) {
    let Ok(local) = stream.local_addr().as_ref().map(SocketAddr::ip) else { return };
    // Only a hint: without it, answers may take a little longer.
    let _ = stream.set_nodelay(true);
    let (stop, patience) = (service.stop.clone(), service.config.patience());
    let caller = Arc::new(caller);
    let leave = caller.leave().clone();
    let answer = service_fn(move |request| service.clone().answer(request, Arc::clone(&caller), local));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Wire::new(stream, patience)), answer)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = leave.cancelled() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(STOP_GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "rpc: a connection ended");
    }
}
