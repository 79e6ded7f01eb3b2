//! The connection of a session, into which its driver may speak at any time: a peer that does not read
//! holds up what is said to it, and no deadline.

use std::collections::VecDeque;
use std::time::Duration;

use evchain_protocol::session::Message;
use futures::future::{BoxFuture, FutureExt};

use crate::network::{SessionError, SessionStream};

/// How long one receive waits; only a bound, the next follows at once.
const RECEIVE: Duration = Duration::from_hours(1);
/// Messages that may wait for a peer to read. Few are said before it answers.
const MAX_WAITING: usize = 64;

/// One connection, and what is still to be said on it.
pub(super) struct Line {
    /// None while a message is on its way, and from a failure on.
    stream: Option<SessionStream>,
    sending: Option<BoxFuture<'static, Result<SessionStream, SessionError>>>,
    waiting: VecDeque<Vec<u8>>,
}

impl Line {
    pub(super) const fn over(stream: SessionStream) -> Self {
        Self { stream: Some(stream), sending: None, waiting: VecDeque::new() }
    }

    /// Says a message after those before it: now, if the peer reads, else while somebody waits for
    /// [`Self::next`] or [`Self::flush`].
    pub(super) fn say(&mut self, message: &Message) {
        if self.waiting.len() >= MAX_WAITING {
            // As good as gone, so what was said is repeated on its next connection.
            (self.stream, self.sending) = (None, None);
            self.waiting.clear();
        }
        self.waiting.push_back(message.encode());
        // What fails now, fails again for whoever waits.
        let _ = self.flush().now_or_never();
    }

    /// The next that the peer says, or why it will say nothing more. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Message, String> {
        loop {
            self.flush().await.map_err(|error| error.to_string())?;
            let Some(stream) = &mut self.stream else { return Err(SessionError::Closed.to_string()) };
            match stream.receive(RECEIVE).await {
                Ok(bytes) => {
                    return Message::decode(&bytes)
                        .map_err(|error| format!("it says what is no message: {error}"));
                }
                Err(SessionError::Timeout) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Sends all that was said. Cancel safe.
    ///
    /// # Errors
    /// As [`SessionStream::send`]; then nothing more is said on this line.
    pub(super) async fn flush(&mut self) -> Result<(), SessionError> {
        loop {
            if let Some(sending) = &mut self.sending {
                let sent = sending.await;
                self.sending = None;
                self.stream = Some(sent?);
            }
            let Some(message) = self.waiting.pop_front() else { return Ok(()) };
            let mut stream = self.stream.take().ok_or(SessionError::Closed)?;
            self.sending = Some(Box::pin(async move {
                stream.send(&message).await?;
                Ok(stream)
            }));
        }
    }

    /// Ends the connection after all that was said has arrived, or its time is up.
    pub(super) async fn close(mut self) {
        if self.flush().await.is_ok()
            && let Some(stream) = self.stream
        {
            stream.close().await;
        }
    }
}

#[cfg(test)]
mod tests;
