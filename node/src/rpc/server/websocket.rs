//! A WebSocket: calls in, answers and items out, each in bounds.
//!
//! A message takes one of the connection's places when it is read and gives it back when its answer has
//! been written, so a client that sends and does not read is no longer read from.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jsonrpsee::server::{BoundedSubscriptions, MethodSink};
use serde_json::value::RawValue;
use soketto::connection::Error;
use soketto::data::ByteSlice125;
use soketto::handshake::http::Server;
use soketto::{Incoming, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::budget::Charge;
use super::calls::{Answer, Calls, Session};
use super::hosts::Caller;
use super::rpc_server::RpcConfig;
use super::subscriptions::Outbox;

/// The longest message from a client, in bytes: a transaction in hexadecimal with room to spare.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// How often the client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that says nothing for so long, and does not answer either, is gone.
const SILENCE: Duration = Duration::from_mins(1);
/// jsonrpsee's own answers that wait: to subscriptions, and that one has ended. All are short.
const REPLIES: usize = 16;

type Io = futures::io::BufWriter<futures::io::BufReader<Compat<TokioIo<Upgraded>>>>;

/// Messages to be written, and what they hold until then.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) messages: Vec<String>,
    pub(super) charge: Charge,
    /// The place of the message that these answer.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Serves a connection until one side has had enough.
pub(super) async fn serve(
    upgraded: Upgraded,
    handshake: Server,
    calls: Calls,
    caller: Arc<Caller>,
    config: Arc<RpcConfig>,
) {
    let io = futures::io::BufReader::new(TokioIo::new(upgraded).compat());
    let mut builder = handshake.into_builder(futures::io::BufWriter::new(io));
    builder.set_max_message_size(MAX_MESSAGE_BYTES);
    builder.set_max_frame_size(MAX_MESSAGE_BYTES);
    let (sender, receiver) = builder.finish();

    let (replies, reply_queue) = mpsc::channel(REPLIES);
    let (items, item_queue) = mpsc::channel(config.max_queued_messages.max(1) as usize);
    let session = Session {
        replies: MethodSink::new(replies),
        subscriptions: BoundedSubscriptions::new(config.max_subscriptions),
        outbox: Outbox::new(Arc::clone(&caller), items.clone()),
    };
    let places = Arc::new(Semaphore::new(config.max_calls_per_connection.max(1)));
    // Whichever ends first ends the connection, and with it every call of it that waits.
    let ended = tokio::select! {
        ended = read(receiver, &calls, &caller, &session, &items, &places) => ended,
        ended = write(sender, reply_queue, item_queue) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "rpc: a websocket ended");
    }
}

/// Reads messages, as many as have a place, and has them answered.
async fn read(
    mut receiver: Receiver<Io>,
    calls: &Calls,
    caller: &Arc<Caller>,
    session: &Session,
    queue: &mpsc::Sender<Outgoing>,
    places: &Arc<Semaphore>,
) -> Result<(), Error> {
    // Calls end with the connection: none keeps its place in vain.
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        let mut message = Vec::new();
        while message.is_empty() {
            let Ok(came) = tokio::time::timeout(SILENCE, receiver.receive(&mut message)).await else {
                return Ok(());
            };
            if matches!(came?, Incoming::Closed(_)) {
                return Ok(());
            }
        }
        // Not before there is a message: whoever hangs up is seen although all places are taken.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return Ok(()) };
        let held = caller.account().reserve(message.len()).await;
        let (calls, caller, session) = (calls.clone(), Arc::clone(caller), session.clone());
        let queue = queue.clone();
        while under_way.try_join_next().is_some() {}
        under_way.spawn(async move {
            let answer = calls.answer(&message, held, &caller, Some(&session)).await;
            drop(message);
            if let Some(Answer { json, charge }) = answer {
                // Fails where the connection has ended.
                let _ = queue.send(Outgoing { messages: vec![json], charge, place: Some(place) }).await;
            }
        });
    }
}

/// Writes what is ready, and asks now and then whether the client is there.
async fn write(
    mut sender: Sender<Io>,
    mut replies: mpsc::Receiver<Box<RawValue>>,
    mut items: mpsc::Receiver<Outgoing>,
) -> Result<(), Error> {
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // That a subscription stands goes before its items.
            biased;
            Some(reply) = replies.recv() => sender.send_text(reply.get()).await?,
            Some(item) = items.recv() => {
                let Outgoing { messages, charge, place } = item;
                for message in messages {
                    sender.send_text_owned(message).await?;
                }
                sender.flush().await?;
                drop((charge, place));
            }
            _ = ping.tick() => {
                let nothing: &[u8] = &[];
                if let Ok(nothing) = ByteSlice125::try_from(nothing) {
                    sender.send_ping(nothing).await?;
                }
            }
        }
        sender.flush().await?;
    }
}
