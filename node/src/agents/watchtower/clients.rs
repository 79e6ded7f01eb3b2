//! Hears what producers ask of the tower.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::session::{GuardRefusal, MAX_WATCH_BYTES, Refused, WatchMessage};
use evchain_protocol::state::channel::CoSignedState;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::network::{GuestKeys, NetworkLimits, SessionStream, StrangerLimits};

/// Streams above the tower's own limit that the endpoint accepts, so that the tower can choose who has
/// to go for them.
const SPARE: usize = 32;
/// How long a connection may stay silent. The client connects again when it has something to say.
const SILENCE: Duration = Duration::from_mins(2);
/// The same for a key that the tower does not work for: long enough to be told so.
const SILENCE_OF_STRANGERS: Duration = Duration::from_secs(5);
/// The pause after a refusal, so that nonsense costs its sender time.
const AFTER_REFUSAL: Duration = Duration::from_millis(500);
/// Handshakes under way, of all hosts and of one.
const HANDSHAKES: u32 = 256;
const HANDSHAKES_OF_HOST: usize = 16;

/// A question that waits for the tower.
pub(super) struct Asked {
    /// Which of the [`Clients`] asks.
    pub(super) client: u64,
    pub(super) from: PublicKey,
    pub(super) state: CoSignedState,
    pub(super) answer: oneshot::Sender<WatchMessage>,
}

/// The limits of the tower's endpoint, for so many streams.
pub(super) fn limits(max_streams: usize) -> NetworkLimits {
    let usual = NetworkLimits::default();
    let max_inbound_sessions = max_streams.saturating_add(SPARE);
    // A stream takes a connection, and those that are on their way in or out take some.
    let connections = max_inbound_sessions.saturating_add(usual.max_pending_connections as usize);
    NetworkLimits {
        max_connections: u32::try_from(connections).unwrap_or(u32::MAX),
        max_pending_connections: HANDSHAKES,
        max_inbound_sessions,
        max_session_message_bytes: MAX_WATCH_BYTES,
        ..usual
    }
}

/// What keys that the tower does not expect have together. A producer with its first channel is one of them,
/// so that they may have every stream that nobody else needs.
pub(super) fn strangers(max_streams: usize) -> StrangerLimits {
    StrangerLimits {
        connections: max_streams.saturating_add(SPARE),
        stay: SILENCE,
        // Some more than are served, so that the tower can choose.
        sessions: max_streams.saturating_add(SPARE / 2),
        handshakes_of_host: HANDSHAKES_OF_HOST,
    }
}

/// The streams that are served.
pub(super) struct Clients {
    max: usize,
    /// For whom the tower works; none for everybody.
    allow: Option<BTreeSet<PublicKey>>,
    questions: mpsc::Sender<Asked>,
    /// By the order of their arrival.
    served: BTreeMap<u64, Client>,
    arrived: u64,
    tasks: JoinSet<u64>,
}

struct Client {
    from: PublicKey,
    /// When it asked last. Who was refused is gone, so this is about a question under way or a channel under
    /// guard.
    heard: Option<Instant>,
    task: AbortHandle,
}

impl Clients {
    /// Nobody yet, and the questions that they will ask, of which so many wait.
    pub(super) fn new(
        max: usize,
        allow: Option<BTreeSet<PublicKey>>,
        questions: usize,
    ) -> (Self, mpsc::Receiver<Asked>) {
        let (questions, asked) = mpsc::channel(questions);
        let (served, tasks) = (BTreeMap::new(), JoinSet::new());
        (Self { max, allow, questions, served, arrived: 0, tasks }, asked)
    }

    /// Serves a stream. Where there are too many, the one that has said nothing for the longest time is
    /// closed for it, of those whose keys are not expected; one that has asked nothing before any other.
    pub(super) fn take(&mut self, stream: SessionStream, expected: &GuestKeys) {
        if self.served.len() >= self.max {
            let idlest = idlest(self.served.iter().map(|(id, it)| (*id, it.from, it.heard)), expected);
            let Some(client) = idlest.and_then(|id| self.served.remove(&id)) else { return };
            tracing::debug!(from = %client.from, "watchtower: a stream has to go for another");
            client.task.abort();
        }
        let (id, from) = (self.arrived, stream.remote());
        self.arrived += 1;
        let is_allowed = self.allow.as_ref().is_none_or(|allowed| allowed.contains(&from));
        let questions = self.questions.clone();
        let task = self.tasks.spawn(async move {
            if is_allowed {
                serve(id, stream, questions).await;
            } else {
                turn_away(stream).await;
            }
            id
        });
        self.served.insert(id, Client { from, heard: None, task });
    }

    /// A client has asked something.
    pub(super) fn heard(&mut self, id: u64) {
        if let Some(client) = self.served.get_mut(&id) {
            client.heard = Some(Instant::now());
        }
    }

    /// Waits until a stream is closed; none if there is none. Cancel safe.
    pub(super) async fn closed(&mut self) -> Option<()> {
        // Who was closed for another is not listed any more.
        if let Ok(id) = self.tasks.join_next().await? {
            self.served.remove(&id);
        }
        Some(())
    }
}

/// Whose stream has been silent for the longest time, of those that are not expected.
fn idlest(
    served: impl Iterator<Item = (u64, PublicKey, Option<Instant>)>,
    expected: &BTreeSet<PublicKey>,
) -> Option<u64> {
    served
        .filter(|(_, from, _)| !expected.contains(from))
        .min_by_key(|(id, _, heard)| (*heard, *id))
        .map(|(id, ..)| id)
}

/// Serves one stream until it is closed: one question after the other. A refusal closes it, unless the
/// channel is under guard: whoever has nothing guarded keeps no place by asking.
async fn serve(client: u64, mut stream: SessionStream, questions: mpsc::Sender<Asked>) {
    let from = stream.remote();
    while let Some(state) = question(&mut stream, SILENCE).await {
        let (answer, answered) = oneshot::channel();
        if questions.send(Asked { client, from, state, answer }).await.is_err() {
            return;
        }
        // None where the tower ends, or could not ask the chain.
        let Ok(answer) = answered.await else { return };
        let refused = match answer {
            WatchMessage::Refused(refused) => Some(refused),
            _ => None,
        };
        if let Some(refused) = refused {
            tracing::info!(%from, channel = %refused.channel, reason = %refused.reason, "watchtower: refused");
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
        if stream.send(&answer.encode()).await.is_err() {
            return;
        }
        if refused.is_some_and(|refused| refused.reason != GuardRefusal::Answered) {
            return stream.close().await;
        }
    }
}

/// Tells a client that the tower does not work for its key.
async fn turn_away(mut stream: SessionStream) {
    let Some(state) = question(&mut stream, SILENCE_OF_STRANGERS).await else { return };
    let refused = Refused { channel: state.state.channel, reason: GuardRefusal::NotAllowed };
    if stream.send(&WatchMessage::Refused(refused).encode()).await.is_ok() {
        stream.close().await;
    }
}

async fn question(stream: &mut SessionStream, within: Duration) -> Option<CoSignedState> {
    let bytes = stream.receive(within).await.ok()?;
    if let Ok(WatchMessage::Guard(state)) = WatchMessage::decode(&bytes) {
        return Some(state);
    }
    tracing::debug!(from = %stream.remote(), "watchtower: a message out of place");
    None
}

#[cfg(test)]
mod tests;
