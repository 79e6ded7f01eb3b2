//! The consumer's connection to a producer, made anew whenever it is lost.

use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::session::Message;
use futures::future::BoxFuture;

use crate::agents::line::Line;
use crate::network::{Multiaddr, SessionEndpoint, SessionError, SessionStream};

/// The first pause before dialing again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

pub(super) struct Link {
    endpoint: SessionEndpoint,
    peer: PublicKey,
    addresses: Vec<Multiaddr>,
    line: Option<Line>,
    dial: Option<BoxFuture<'static, Result<SessionStream, SessionError>>>,
    pause: Duration,
}

/// What happened to the connection.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // moved once, never collected
pub(super) enum LinkEvent {
    /// There is a new one.
    Connected,
    /// The producer said this.
    Said(Message),
    /// It is gone, or could not be made; another is tried.
    Lost(String),
}

impl Link {
    pub(super) fn new(endpoint: SessionEndpoint, peer: PublicKey, addresses: Vec<Multiaddr>) -> Self {
        Self { endpoint, peer, addresses, line: None, dial: None, pause: Duration::ZERO }
    }

    /// What happens next. Cancel safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        let Some(line) = &mut self.line else { return self.connect().await };
        match line.next().await {
            Ok(message) => {
                self.pause = FIRST_PAUSE;
                LinkEvent::Said(message)
            }
            Err(reason) => {
                self.line = None;
                LinkEvent::Lost(reason)
            }
        }
    }

    /// Says it if there is a connection. A message that is lost is repeated by the machine (C16).
    pub(super) fn say(&mut self, message: &Message) {
        if let Some(line) = &mut self.line {
            line.say(message);
        }
    }

    /// Ends the connection after all that was said has arrived.
    pub(super) async fn close(self) {
        if let Some(line) = self.line {
            line.close().await;
        }
    }

    async fn connect(&mut self) -> LinkEvent {
        let dial = self.dial.get_or_insert_with(|| {
            let (endpoint, peer, addresses, pause) =
                (self.endpoint.clone(), self.peer, self.addresses.clone(), self.pause);
            Box::pin(async move {
                tokio::time::sleep(pause).await;
                endpoint.open_session(peer, addresses).await
            })
        });
        let dialed = dial.await;
        self.dial = None;
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        match dialed {
            Ok(stream) => {
                self.line = Some(Line::over(stream));
                LinkEvent::Connected
            }
            Err(error) => LinkEvent::Lost(error.to_string()),
        }
    }
}
