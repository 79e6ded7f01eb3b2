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
/// What is read of one side before others have their turn. WebSocket frames without content cost nothing to send and
/// each is looked at, so that who sends nothing else would keep a thread for as long as there is more.
const TURN_BYTES: usize = 16 * 1024;

/// A socket whose writes fail once the other side has read too little for too long.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// ... in this time, or it does not read.
    patience: Duration,
    waiting: Option<Waiting>,
    /// What is left of this side's turn.
    turn: usize,
}

/// Since when the other side has been waited for.
#[derive(Debug)]
struct Waiting {
    taken: usize,
    end: Pin<Box<Sleep>>,
}

impl Wire {
    pub(super) const fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, waiting: None, turn: TURN_BYTES }
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
        if self.turn == 0 {
            self.turn = TURN_BYTES;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        self.turn = if read.is_pending() { TURN_BYTES } else { self.turn.saturating_sub(count) };
        read
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
    //! Goal: a side that does not read is given up, and one that reads is not; none keeps a thread by what it sends.
    //! Method: a real socket.

    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

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

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn who_sends_without_end_lets_others_have_a_turn() {
        let (mut wire, mut other) = pair().await;
        other.write_all(&vec![0; 2 * TURN_BYTES]).await.unwrap();
        let mut piece = [0; 1_024];
        wire.read_exact(&mut piece).await.unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut taken = piece.len();
        while let Poll::Ready(read) =
            Pin::new(&mut wire).poll_read(&mut context, &mut ReadBuf::new(&mut piece))
        {
            read.unwrap();
            taken += piece.len();
            assert!(taken <= TURN_BYTES, "it goes on without a pause");
        }
        assert_eq!((taken, woken.0.load(Ordering::Relaxed)), (TURN_BYTES, 1), "it is asked again");
        let more = poll_fn(|context| Pin::new(&mut wire).poll_read(context, &mut ReadBuf::new(&mut piece)));
        more.await.unwrap();
    }
}
