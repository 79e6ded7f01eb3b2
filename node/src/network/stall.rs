//! Ends connections whose other side does not read.
//!
//! A stream that cannot be written to for a while belongs to a peer that has stopped reading it, or
//! that has dropped it without a word: Yamux then tells the writer nothing and gives it no more credit.
//! Gossipsub waits on such a stream for ever, so the connection ends, and a new one is made.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::{self, Ready};
use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::yamux;
use tokio::time::{Sleep, sleep};

/// Yamux, of which no stream may wait for the other side for longer than `patience`.
#[derive(Clone)]
pub(super) struct ImpatientYamux {
    pub(super) config: yamux::Config,
    pub(super) patience: Duration,
}

impl ImpatientYamux {
    fn watch<C>(self, muxer: Ready<io::Result<yamux::Muxer<C>>>) -> Ready<io::Result<Muxer<C>>> {
        let stalled = Arc::new(Stalled::default());
        future::ready(muxer.into_inner().map(|inner| Muxer { inner, patience: self.patience, stalled }))
    }
}

impl UpgradeInfo for ImpatientYamux {
    type Info = <yamux::Config as UpgradeInfo>::Info;
    type InfoIter = <yamux::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.config.protocol_info()
    }
}

impl<C> InboundConnectionUpgrade<C> for ImpatientYamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        let muxer = self.config.clone().upgrade_inbound(socket, info);
        self.watch(muxer)
    }
}

impl<C> OutboundConnectionUpgrade<C> for ImpatientYamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        let muxer = self.config.clone().upgrade_outbound(socket, info);
        self.watch(muxer)
    }
}

/// A connection's streams.
pub(super) struct Muxer<C> {
    inner: yamux::Muxer<C>,
    patience: Duration,
    stalled: Arc<Stalled>,
}

/// Whether a stream of the connection has waited for too long.
#[derive(Default)]
struct Stalled {
    is_stalled: AtomicBool,
    muxer: AtomicWaker,
}

impl<C> Muxer<C> {
    fn watch(&self, stream: yamux::Stream) -> Stream {
        Stream {
            inner: stream,
            patience: self.patience,
            waits_until: None,
            stalled: Arc::clone(&self.stalled),
        }
    }
}

impl<C> StreamMuxer for Muxer<C>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx)).map_err(io::Error::other)?;
        Poll::Ready(Ok(self.watch(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx)).map_err(io::Error::other)?;
        Poll::Ready(Ok(self.watch(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(io::Error::other)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        // The waker is there before the look, so that a stream that stalls in between wakes the muxer.
        self.stalled.muxer.register(cx.waker());
        if self.stalled.is_stalled.load(Ordering::Acquire) {
            return Poll::Ready(Err(not_read()));
        }
        Pin::new(&mut self.inner).poll(cx).map_err(io::Error::other)
    }
}

/// A stream that notices when the other side stops reading.
pub(super) struct Stream {
    inner: yamux::Stream,
    patience: Duration,
    /// Set while a write waits.
    waits_until: Option<Pin<Box<Sleep>>>,
    stalled: Arc<Stalled>,
}

impl Stream {
    /// What became of an attempt to write, or the end of the connection once attempts have come to nothing
    /// for too long.
    fn judge(&mut self, cx: &mut Context<'_>, attempt: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if attempt.is_ready() {
            self.waits_until = None;
            return attempt;
        }
        let patience = self.patience;
        let waits_until = self.waits_until.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waits_until.as_mut().poll(cx));
        self.stalled.is_stalled.store(true, Ordering::Release);
        self.stalled.muxer.wake();
        Poll::Ready(Err(not_read()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, attempt)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

fn not_read() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the other side does not read")
}
