//! A connection that is given up when the other side does not read.

use std::io::{self, IoSlice};
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
    end: Pin<Box<Sleep>>,
}

impl Wire {
    pub(super) const fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// Notes how a write went.
    fn went_on(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.held_back(context),
            Poll::Ready(Ok(count)) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.taken = waiting.taken.saturating_add(count);
                }
                Poll::Ready(Ok(count))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    /// Notes that the socket takes nothing more for now, which is an error where that goes on.
    fn held_back(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        // Who waits is woken when the time is over: a wait that ended unseen went on, and is not this one.
        let unseen = self.patience / 8;
        if self.waiting.as_ref().is_some_and(|waiting| now > waiting.end.deadline() + unseen) {
            self.waiting = None;
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Waiting { taken: 0, end: Box::pin(tokio::time::sleep(self.patience)) });
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.went_on(context, written)
    }

    // With this hyper writes an answer from where it lies, and so holds it, and what it counts for, until
    // the system has taken it; else it would copy it first.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.went_on(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a side that does not read is given up, and one that reads is not. Method: a real socket.

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Wire::new(listener.accept().await.unwrap().0, Duration::from_millis(300)), other)
    }

    #[tokio::test]
    async fn a_side_that_does_not_read_is_given_up() {
        let (mut wire, _deaf) = pair().await;
        let error = wire.write_all(&vec![0; 256 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_side_that_reads_gets_everything_without_a_copy() {
        let (mut wire, mut other) = pair().await;
        assert!(wire.is_write_vectored(), "answers would be copied, and the copies counted for nobody");
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            other.read_to_end(&mut read).await.map(|_| read.len())
        });
        wire.write_all(&vec![0; 32 << 20]).await.unwrap();
        drop(wire);
        assert_eq!(reader.await.unwrap().unwrap(), 32 << 20);
    }
}
