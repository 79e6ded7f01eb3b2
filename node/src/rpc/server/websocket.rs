//! A WebSocket: calls in, answers and items out, each in bounds.
//!
//! A message takes one of the connection's places when it is read and gives it back when its answer has
//! been written, or when it is handled if it has none. So a client that sends and does not read is no longer read from.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jsonrpsee::server::{BoundedSubscriptions, MethodSink};
use serde_json::value::RawValue;
use soketto::base::OpCode;
use soketto::connection::Error;
use soketto::data::ByteSlice125;
use soketto::handshake::http::Server;
use soketto::{Incoming, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::budget::Charge;
use super::calls::{Answer, Calls, Session};
use super::hosts::{Busy, Caller};
use super::rpc_server::RpcConfig;
use super::subscriptions::Outbox;

/// The longest message from a client, in bytes: a transaction in hexadecimal with room to spare.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// How often the client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that does not answer, and says nothing else, for so long after it was asked is gone. While a long item is
/// written nobody asks: whether it is read is the matter of `wire.rs`.
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
    pub(super) place: Option<Place>,
}

/// A message that is answered: as long as one is, the connection does not give way as an idle one does.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _busy: Busy,
}

/// When the client was asked whether it is there, as long as it has said nothing since.
type Asked = watch::Sender<Option<Instant>>;

/// Serves a WebSocket until the client closes it, is gone, or does not read. Its calls end with it.
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
    let (outgoing, queued) = mpsc::channel(config.max_queued_messages.max(1) as usize);
    let session = Session {
        replies: MethodSink::new(replies),
        subscriptions: BoundedSubscriptions::new(config.max_subscriptions),
        outbox: Outbox::new(Arc::clone(&caller), outgoing.clone()),
    };
    let places = Arc::new(Semaphore::new(config.max_calls_per_connection.max(1)));
    let asked = Asked::new(None);
    // Whichever ends first ends the connection, and with it every call of it that waits.
    let ended = tokio::select! {
        ended = read(receiver, &calls, &caller, &session, &outgoing, &places, &asked) => ended,
        ended = write(sender, reply_queue, queued, &asked) => ended,
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
    asked: &Asked,
) -> Result<(), Error> {
    // Calls end with the connection: none keeps its place in vain.
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        let mut message = Vec::new();
        while message.is_empty() {
            let came = tokio::select! {
                biased;
                came = receiver.receive(&mut message) => came?,
                () = silence(asked, SILENCE) => return Ok(()),
            };
            asked.send_replace(None);
            match came {
                Incoming::Closed(_) => return Ok(()),
                // The library forgets that a message has begun: what follows could not be told from another.
                Incoming::Pong(_) if !message.is_empty() => {
                    return Err(Error::UnexpectedOpCode(OpCode::Pong));
                }
                Incoming::Pong(_) | Incoming::Data(_) => {}
            }
        }
        // Not before there is a message: whoever sends no more and hangs up is seen although all places are taken.
        let Ok(permit) = Arc::clone(places).acquire_owned().await else { return Ok(()) };
        let place = Place { _permit: permit, _busy: caller.ask() };
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

/// Completes when the client has been asked whether it is there and has not said anything for so long, while it was
/// listened to.
async fn silence(asked: &Asked, patience: Duration) {
    let since = Instant::now();
    let mut news = asked.subscribe();
    loop {
        // The sender is there as long as the connection.
        let Ok(asked_at) = news.wait_for(Option::is_some).await.map(|at| *at) else { return };
        let until = asked_at.map_or(since, |at| at.max(since)) + patience;
        tokio::time::sleep_until(until).await;
        if *asked.borrow() == asked_at {
            return;
        }
    }
}

/// Writes what is ready, and asks now and then whether the client is there.
async fn write(
    mut sender: Sender<Io>,
    mut replies: mpsc::Receiver<Box<RawValue>>,
    mut queued: mpsc::Receiver<Outgoing>,
    asked: &Asked,
) -> Result<(), Error> {
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // That a subscription stands goes before its items, and so does a ping: there may always be items.
            biased;
            Some(reply) = replies.recv() => sender.send_text(reply.get()).await?,
            _ = ping.tick() => {
                let nothing: &[u8] = &[];
                if let Ok(nothing) = ByteSlice125::try_from(nothing) {
                    sender.send_ping(nothing).await?;
                    asked.send_if_modified(|asked| asked.is_none() && asked.replace(Instant::now()).is_none());
                }
            }
            Some(outgoing) = queued.recv() => {
                let Outgoing { messages, charge, place } = outgoing;
                for message in messages {
                    sender.send_text_owned(message).await?;
                }
                sender.flush().await?;
                drop((charge, place));
            }
        }
        sender.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    //! Goal: only who was asked and does not answer is taken to be gone.

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    async fn is_gone(asked: &Asked) -> bool {
        tokio::time::timeout(10 * SHORT, silence(asked, SHORT)).await.is_ok()
    }

    #[tokio::test]
    async fn who_was_not_asked_or_has_answered_is_there() {
        let asked = Asked::new(None);
        assert!(!is_gone(&asked).await, "nobody has asked");
        asked.send_replace(Some(Instant::now()));
        asked.send_replace(None);
        assert!(!is_gone(&asked).await, "it has answered");
        // Asked again while the first answer is late but there.
        let answers = async {
            for _ in 0..5 {
                asked.send_replace(Some(Instant::now()));
                tokio::time::sleep(SHORT / 4).await;
                asked.send_replace(None);
                tokio::time::sleep(SHORT).await;
            }
        };
        tokio::select! {
            biased;
            () = answers => {}
            () = silence(&asked, 4 * SHORT) => panic!("it has answered each time"),
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_gone() {
        let asked = Asked::new(Some(Instant::now()));
        silence(&asked, SHORT).await;
    }
}
