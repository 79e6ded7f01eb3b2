//! A connection that is given up when the other side does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// A side that has to be waited for must take so many bytes ...
const LEAST_BYTES: usize = 256 * 1024;

/// A socket whose writes fail once the other side has read too little for too long.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// ... in this time, or it does not read.
    patience: Duration,
    waiting: Option<Waiting>,
}

/// Since when the other side has been waited for.
#[derive(Debug)]
struct Waiting {
    taken: usize,
    last: Instant,
    end: Pin<Box<Sleep>>,
}

impl Wire {
    pub(super) const fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// Notes that the socket takes nothing more for now, which is an error where that goes on.
    fn held_back(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        // What was held back long ago and went on has nothing to do with now.
        if self.waiting.as_ref().is_some_and(|waiting| now.duration_since(waiting.last) > self.patience * 2) {
            self.waiting = None;
        }
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            taken: 0,
            last: now,
            end: Box::pin(tokio::time::sleep(self.patience)),
        });
        waiting.last = now;
        loop {
            ready!(waiting.end.as_mut().poll(context));
            if waiting.taken < LEAST_BYTES {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the other side does not read",
                )));
            }
            waiting.taken = 0;
            waiting.end.as_mut().reset(now + self.patience);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.held_back(context),
            Poll::Ready(Ok(count)) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.taken = waiting.taken.saturating_add(count);
                }
                Poll::Ready(Ok(count))
            }
            failed => failed,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
