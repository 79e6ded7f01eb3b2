//! Hears what producers ask of the tower.

use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::session::{MAX_WATCH_BYTES, WatchMessage};
use evchain_protocol::state::channel::CoSignedState;
use tokio::sync::{mpsc, oneshot};

use crate::network::{NetworkLimits, SessionStream};

/// Producers that are connected at the same time.
const MAX_CLIENTS: usize = 256;
/// How long a connection may stay silent. The client connects again when it has something to say.
const SILENCE: Duration = Duration::from_mins(2);
/// The pause after a refusal, so that nonsense costs its sender time.
const AFTER_REFUSAL: Duration = Duration::from_millis(500);

/// A question that waits for the tower.
pub(super) struct Asked {
    pub(super) from: PublicKey,
    pub(super) state: CoSignedState,
    pub(super) answer: oneshot::Sender<WatchMessage>,
}

/// The limits of the tower's endpoint.
pub(super) fn limits() -> NetworkLimits {
    NetworkLimits {
        max_inbound_sessions: MAX_CLIENTS,
        max_session_message_bytes: MAX_WATCH_BYTES,
        ..NetworkLimits::default()
    }
}

/// Serves one connection until it is closed: one question after the other.
pub(super) async fn serve(mut stream: SessionStream, questions: mpsc::Sender<Asked>) {
    let from = stream.remote();
    loop {
        let Ok(bytes) = stream.receive(SILENCE).await else { return };
        let Ok(WatchMessage::Guard(state)) = WatchMessage::decode(&bytes) else {
            tracing::debug!(%from, "watchtower: a message out of place");
            return;
        };
        let (answer, answered) = oneshot::channel();
        if questions.send(Asked { from, state, answer }).await.is_err() {
            return;
        }
        // None where the tower ends, or could not ask the chain.
        let Ok(answer) = answered.await else { return };
        if let WatchMessage::Refused(refused) = answer {
            tracing::info!(%from, channel = %refused.channel, reason = %refused.reason, "watchtower: refused");
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
        if stream.send(&answer.encode()).await.is_err() {
            return;
        }
    }
}
