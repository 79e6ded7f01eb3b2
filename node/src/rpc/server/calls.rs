//! From a message with calls to the answer, within the limits of whoever sent it.

use std::sync::Arc;

use jsonrpsee::Extensions;
use jsonrpsee::core::server::helpers::prepare_error;
use jsonrpsee::server::RandomIntegerIdProvider;
use jsonrpsee::server::{
    BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods,
    SubscriptionState,
};
use jsonrpsee::types::error::{ErrorCode, reject_too_big_batch_request, reject_too_many_subscriptions};
use jsonrpsee::types::{ErrorObjectOwned, Id, Notification, Params, Request};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::budget::{Account, Charge, Full, SMALL_BYTES};
use super::hosts::Caller;
use super::subscriptions::Outbox;
use crate::rpc::error::CallError;
use crate::rpc::types::MAX_RESPONSE_BYTES;

/// Calls that are worked on at a time; more wait. Those that only wait for finality do not count.
const WORKERS: usize = 32;
/// What a call that waits for finality holds while it waits; most answers are shorter.
const WAITING_BYTES: usize = 2 * 1024;
/// A page of a list, and whatever else has a limit of its own.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

const NO_ROOM: &str = "too many answers wait to be read, of this client or of all: ask again in a moment";
/// The longest id of a call, in bytes, without quotes. Each answer repeats it, and no room is made for refusals
/// before they are there.
const MAX_ID_BYTES: usize = 256;
const QUOTES: usize = 2;
/// `"2.0"`, and room for what is wrong in a few characters.
const MAX_VERSION_BYTES: usize = 16;
/// The longest error, in bytes: some repeat the parameters that were wrong.
const MAX_ERROR_BYTES: usize = 4 * 1024;

/// The methods, and how much of them at a time.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    methods: Methods,
    workers: Arc<Semaphore>,
    max_batch: usize,
}

/// An answer, and the room that it takes up until it has left.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) json: String,
    pub(super) charge: Charge,
}

/// What a WebSocket has more than an HTTP request: a way for what comes later.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) replies: MethodSink,
    pub(super) subscriptions: BoundedSubscriptions,
    pub(super) outbox: Outbox,
}

/// How large a method's answers can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Small, and long in coming.
    Waits,
    Small,
    Page,
    Large,
}

impl Weight {
    fn of(method: &str) -> Self {
        match method.strip_prefix("evchain_").unwrap_or(method) {
            "wait" | "submitAndWait" => Self::Waits,
            "status" | "chain" | "submit" | "account" | "station" | "record" | "lock" | "params" => {
                Self::Small
            }
            // A payment names up to 1,024 hashes, and a page 100 payments.
            "genesis" | "block" | "events" | "payments" => Self::Large,
            other if other.starts_with("subscribe") || other.starts_with("unsubscribe") => Self::Small,
            _ => Self::Page,
        }
    }

    /// The room that is made before the call begins.
    const fn reserved(self) -> usize {
        match self {
            Self::Waits => WAITING_BYTES,
            other => other.limit(),
        }
    }

    /// The longest answer.
    const fn limit(self) -> usize {
        match self {
            Self::Small => SMALL_BYTES,
            Self::Waits | Self::Page => PAGE_BYTES,
            Self::Large => MAX_RESPONSE_BYTES as usize,
        }
    }
}

impl Calls {
    pub(super) fn new(methods: Methods, max_batch: usize) -> Self {
        Self { methods, workers: Arc::new(Semaphore::new(WORKERS)), max_batch }
    }

    /// The answer to a message, for which so much is held meanwhile; none to a notification.
    pub(super) async fn answer(
        &self,
        message: &[u8],
        mut held: Charge,
        caller: &Arc<Caller>,
        session: Option<&Session>,
    ) -> Option<Answer> {
        let is_batch = message.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let (response, mut charge) = if is_batch {
            self.batch(message, &mut held, caller, session).await?
        } else {
            let (mut none, room) = (Charge::default(), MAX_RESPONSE_BYTES as usize);
            self.single(message, [&mut held, &mut none], caller, session, room).await?
        };
        // The answer to a subscription was sent before its first item.
        if response.is_subscription() && session.is_some() {
            return None;
        }
        let mut json = String::from(Box::<str>::from(response.into_json()));
        // Refusals count too, of which a batch may be full.
        if json.len() > charge.bytes() && settle(caller.account(), &mut charge, json.len()).await.is_err() {
            json = String::from(Box::<str>::from(busy(Id::Null, NO_ROOM).0.into_json()));
        }
        Some(Answer { json, charge })
    }

    /// Answers one call with at most `room` bytes, while so much is held.
    async fn single(
        &self,
        message: &[u8],
        held: [&mut Charge; 2],
        caller: &Arc<Caller>,
        session: Option<&Session>,
        room: usize,
    ) -> Option<(MethodResponse, Charge)> {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(message) else {
            return Some(refusal(Id::Null, ErrorObjectOwned::from(ErrorCode::ParseError)));
        };
        if envelope.id.is_some_and(|id| id.get().len() > MAX_ID_BYTES + QUOTES) {
            return Some(refusal(Id::Null, id_too_long()));
        }
        if envelope.jsonrpc.is_none_or(|version| version.get().len() <= MAX_VERSION_BYTES) {
            if let Ok(call) = serde_json::from_slice::<Request<'_>>(message) {
                return Some(self.call(call, held, caller, session, room).await);
            }
            if serde_json::from_slice::<Notification<'_, Option<&RawValue>>>(message).is_ok() {
                return None;
            }
        }
        let (id, code) = prepare_error(message);
        Some(refusal(id, ErrorObjectOwned::from(code)))
    }

    /// Answers calls one after the other.
    async fn batch(
        &self,
        message: &[u8],
        held: &mut Charge,
        caller: &Arc<Caller>,
        session: Option<&Session>,
    ) -> Option<(MethodResponse, Charge)> {
        let Ok(calls) = serde_json::from_slice::<Vec<&RawValue>>(message) else {
            return Some(refusal(Id::Null, ErrorObjectOwned::from(ErrorCode::ParseError)));
        };
        if calls.is_empty() {
            return Some(refusal(Id::Null, ErrorObjectOwned::from(ErrorCode::InvalidRequest)));
        }
        if calls.len() > self.max_batch {
            return Some(refusal(Id::Null, reject_too_big_batch_request(self.max_batch)));
        }
        let mut answers =
            jsonrpsee::server::BatchResponseBuilder::new_with_limit(MAX_RESPONSE_BYTES as usize);
        let mut all = Charge::default();
        for call in calls {
            let room = (MAX_RESPONSE_BYTES as usize).saturating_sub(all.bytes());
            let answer = self.single(call.get().as_bytes(), [held, &mut all], caller, session, room).await;
            let Some((response, charge)) = answer else { continue };
            all.join(charge);
            if let Err(too_long) = answers.append(response) {
                return Some((too_long, Charge::default()));
            }
        }
        if answers.is_empty() {
            return None;
        }
        Some((MethodResponse::from_batch(answers.finish()), all))
    }

    async fn call(
        &self,
        call: Request<'_>,
        held: [&mut Charge; 2],
        caller: &Arc<Caller>,
        session: Option<&Session>,
        room: usize,
    ) -> (MethodResponse, Charge) {
        let id = call.id.into_owned();
        let Some((name, callback)) = self.methods.method_with_name(&call.method) else {
            return refusal(id, ErrorObjectOwned::from(ErrorCode::MethodNotFound));
        };
        if !caller.may_call() {
            return busy(id, "this client calls more often than the node lets it: wait a second");
        }
        let weight = Weight::of(name);
        let mut extensions = Extensions::new();
        let to_wait = (weight == Weight::Waits).then(|| room_to_wait(caller.account(), held));
        let charge = if let Some(Ok(charge)) = to_wait {
            // In whose name it waits. Without, it is told how things stand now.
            extensions.insert(Arc::clone(caller));
            Ok(charge)
        } else {
            caller.account().reserve_soon(weight.reserved()).await
        };
        let Ok(mut charge) = charge else { return busy(id, NO_ROOM) };
        let params = Params::new(call.params.as_deref().map(RawValue::get)).into_owned();
        let call = Prepared {
            id: id.clone(),
            params,
            connection: ConnectionId(caller.number()),
            limit: weight.limit().min(room),
            extensions,
        };
        let response = shorten(&id, self.run(call, weight, callback, session).await);
        match settle(caller.account(), &mut charge, response.as_json().get().len()).await {
            Ok(()) => (response, charge),
            Err(Full) => busy(id, NO_ROOM),
        }
    }

    async fn run(
        &self,
        call: Prepared,
        weight: Weight,
        callback: &MethodCallback,
        session: Option<&Session>,
    ) -> MethodResponse {
        let Prepared { id, params, connection, limit, extensions } = call;
        match (callback, session) {
            // Dropped with the call, and with it its place among those that wait.
            (MethodCallback::Async(method), _) if weight == Weight::Waits => {
                method(id, params, connection, limit, extensions).await
            }
            (MethodCallback::Async(method), _) => {
                let Ok(worker) = Arc::clone(&self.workers).acquire_owned().await else {
                    return MethodResponse::error(id, ErrorObjectOwned::from(ErrorCode::InternalError));
                };
                let answer = method(id.clone(), params, connection, limit, extensions);
                // A task of its own: a read from disk goes on when its caller has left, and counts on.
                let task = tokio::spawn(async move {
                    let _worker = worker;
                    answer.await
                });
                task.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "rpc: a method failed");
                    MethodResponse::error(id, ErrorObjectOwned::from(ErrorCode::InternalError))
                })
            }
            (MethodCallback::Sync(method), _) => method(id, params, limit, extensions),
            (MethodCallback::Subscription(method), Some(session)) => {
                let Some(subscription_permit) = session.subscriptions.acquire() else {
                    let refusal = reject_too_many_subscriptions(session.subscriptions.max());
                    return MethodResponse::error(id, refusal);
                };
                let mut extensions = extensions;
                extensions.insert(session.outbox.clone());
                let state = SubscriptionState {
                    conn_id: connection,
                    id_provider: &RandomIntegerIdProvider,
                    subscription_permit,
                };
                method(id, params, session.replies.clone(), state, extensions).await
            }
            (MethodCallback::Unsubscription(method), Some(_)) => {
                method(id, params, connection, limit, extensions)
            }
            (MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_), None) => {
                let refusal = CallError::InvalidInput("subscriptions need a WebSocket".to_owned());
                MethodResponse::error(id, ErrorObjectOwned::from(refusal))
            }
        }
    }
}

/// What is looked at before a message is read as a call: serde takes several attempts to find out what kind of an id
/// it has, and whether it is a call at all. Each writes what did not fit into an error, so that these two, where they
/// are long, cost ten times what their bytes do.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// A call whose method is known.
struct Prepared {
    id: Id<'static>,
    params: Params<'static>,
    connection: ConnectionId,
    limit: usize,
    extensions: Extensions,
}

/// Room for a call that waits. What it has, and what came before it in its batch, is held for as long.
fn room_to_wait(account: &Account, held: [&mut Charge; 2]) -> Result<Charge, Full> {
    for charge in held {
        account.let_wait(charge)?;
    }
    account.reserve_to_wait(Weight::Waits.reserved())
}

/// Makes the charge what the answer really takes. Where that is more than was reserved it waits for room, but not
/// for ever: others may wait for what is held here.
async fn settle(account: &Account, charge: &mut Charge, bytes: usize) -> Result<(), Full> {
    if bytes > charge.bytes() {
        charge.join(account.reserve_soon(bytes - charge.bytes()).await?);
    } else {
        charge.shrink_to(bytes);
    }
    Ok(())
}

fn id_too_long() -> ErrorObjectOwned {
    let why = format!("the id is longer than {MAX_ID_BYTES} bytes");
    ErrorObjectOwned::owned(ErrorCode::InvalidRequest.code(), why, None::<()>)
}

/// An error without what was wrong, where that is long.
fn shorten(id: &Id<'_>, response: MethodResponse) -> MethodResponse {
    match response.as_error_code() {
        Some(code) if response.as_json().get().len() > MAX_ERROR_BYTES => {
            let why = "the call is wrong, and too long for an answer that says where";
            MethodResponse::error(id.clone(), ErrorObjectOwned::owned(code, why, None::<()>))
        }
        _ => response,
    }
}

/// An answer for which no room was made before.
fn refusal(id: Id<'_>, error: ErrorObjectOwned) -> (MethodResponse, Charge) {
    (MethodResponse::error(id, error), Charge::default())
}

fn busy(id: Id<'_>, why: &str) -> (MethodResponse, Charge) {
    refusal(id, CallError::Busy(why.to_owned()).into())
}
