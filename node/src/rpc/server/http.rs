//! What an HTTP request is answered with.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::budget::{Charge, SMALL_BYTES};
use super::calls::{Answer, Calls};
use super::health::HealthWatch;
use super::hosts::Caller;
use super::rpc_server::RpcConfig;
use super::websocket;
use crate::rpc::types::MAX_REQUEST_BYTES;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long browsers may remember that a page is allowed, in seconds.
const PREFLIGHT_AGE: &str = "600";

pub(super) type Reply = Response<Full<Bytes>>;

/// What one port serves.
#[derive(Clone)]
pub(super) struct Service {
    /// None where only health and metrics are served.
    pub(super) calls: Option<Calls>,
    pub(super) access: Access,
    pub(super) health: HealthWatch,
    pub(super) metrics: Arc<Registry>,
    pub(super) config: Arc<RpcConfig>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// An answer's bytes, which count until the last of them was handed to the system.
struct Held {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Service {
    /// Answers a request that came to this address of ours.
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        caller: Arc<Caller>,
        local: IpAddr,
    ) -> Result<Reply, Infallible> {
        let _busy = caller.ask();
        let origin = match self.access.check(request.headers(), local) {
            Ok(origin) => origin,
            Err(forbidden) => {
                caller.counts().forbidden.fetch_add(1, Ordering::Relaxed);
                return Ok(said(StatusCode::FORBIDDEN, &forbidden));
            }
        };
        let mut reply = self.route(request, &caller).await;
        if let Some(origin) = origin {
            allow(reply.headers_mut(), origin);
        }
        Ok(reply)
    }

    async fn route(&self, request: Request<Incoming>, caller: &Arc<Caller>) -> Reply {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/health") => self.serve_health(caller).await,
            (&Method::GET, "/metrics") => self.serve_metrics(caller).await,
            (&Method::OPTIONS, _) => empty(StatusCode::NO_CONTENT),
            (method, _) => match &self.calls {
                None => said(StatusCode::NOT_FOUND, &"only /health and /metrics are served here"),
                Some(calls) if soketto::handshake::http::is_upgrade_request(&request) => {
                    self.upgrade(calls.clone(), request, caller)
                }
                Some(calls) if method == Method::POST => self.post(calls, request, caller).await,
                Some(_) => said(StatusCode::METHOD_NOT_ALLOWED, &"calls are made by POST"),
            },
        }
    }

    /// Calls in a request's body.
    async fn post(&self, calls: &Calls, request: Request<Incoming>, caller: &Arc<Caller>) -> Reply {
        if !is_json(request.headers()) {
            let needed = "calls are JSON: the request needs the header content-type: application/json";
            return said(StatusCode::UNSUPPORTED_MEDIA_TYPE, &needed);
        }
        let max = MAX_REQUEST_BYTES as usize;
        // Without a length it may become as long as it likes, up to the limit.
        let length = request
            .body()
            .size_hint()
            .exact()
            .map_or(max, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let too_large = || said(StatusCode::PAYLOAD_TOO_LARGE, &format!("a request has at most {max} bytes"));
        if length > max {
            return too_large();
        }
        let Ok(room) = caller.account().reserve_soon(length).await else {
            return said(
                StatusCode::SERVICE_UNAVAILABLE,
                &"no room for the request: send it again in a moment",
            );
        };
        let patience = self.config.patience();
        let body = Limited::new(request.into_body(), max).collect();
        let message = match tokio::time::timeout(patience, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(),
            Ok(Err(error)) => {
                return said(StatusCode::BAD_REQUEST, &format_args!("the body does not hold: {error}"));
            }
            Err(_) => {
                let waited = format!("the request did not come within {} ms", patience.as_millis());
                let mut reply = said(StatusCode::REQUEST_TIMEOUT, &waited);
                reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return reply;
            }
        };
        let answer = calls.answer(&message, room, caller, None).await;
        drop(message);
        match answer {
            Some(Answer { json, charge }) => held(StatusCode::OK, JSON, json.into_bytes(), charge),
            None => empty(StatusCode::OK),
        }
    }

    /// Makes the connection a WebSocket.
    fn upgrade(&self, calls: Calls, mut request: Request<Incoming>, caller: &Arc<Caller>) -> Reply {
        let mut handshake = soketto::handshake::http::Server::new();
        let reply = match handshake.receive_request(&request) {
            Ok(reply) => reply.map(|()| Full::default()),
            Err(error) => return said(StatusCode::BAD_REQUEST, &error),
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let (caller, config, stop) = (Arc::clone(caller), Arc::clone(&self.config), self.stop.clone());
        self.tasks.spawn(async move {
            let serve = async {
                match upgrade.await {
                    Ok(upgraded) => {
                        websocket::serve(upgraded, handshake, calls, Arc::clone(&caller), config).await;
                    }
                    Err(error) => tracing::debug!(%error, "rpc: no websocket came of it"),
                }
            };
            tokio::select! {
                () = serve => {}
                () = stop.cancelled() => {}
                () = caller.leave().cancelled() => {}
            }
        });
        reply
    }

    async fn serve_health(&self, caller: &Caller) -> Reply {
        let health = self.health.now();
        let status = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // Writing numbers, names and texts as JSON cannot fail.
        let body = serde_json::to_vec(&health).unwrap_or_default();
        small(status, JSON, body, caller).await
    }

    async fn serve_metrics(&self, caller: &Caller) -> Reply {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.metrics) {
            Ok(()) => small(StatusCode::OK, OPEN_METRICS, text.into_bytes(), caller).await,
            Err(error) => said(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }
}

/// An answer that is made at once, and held until it has left.
async fn small(status: StatusCode, kind: &'static str, body: Vec<u8>, caller: &Caller) -> Reply {
    match caller.account().reserve_soon(body.len().min(SMALL_BYTES)).await {
        Ok(charge) => held(status, kind, body, charge),
        Err(_) => said(StatusCode::SERVICE_UNAVAILABLE, &"too many answers wait to be read"),
    }
}

fn held(status: StatusCode, kind: &'static str, bytes: Vec<u8>, charge: Charge) -> Reply {
    reply(status, kind, Bytes::from_owner(Held { bytes, _charge: charge }))
}

/// A short text for people.
fn said(status: StatusCode, text: &dyn std::fmt::Display) -> Reply {
    reply(status, TEXT, Bytes::from(format!("{text}\n")))
}

fn empty(status: StatusCode) -> Reply {
    reply(status, TEXT, Bytes::new())
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// Says to a browser that this page may see the answer.
fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/json-rpc"].iter().any(|json| kind.eq_ignore_ascii_case(json))
}
