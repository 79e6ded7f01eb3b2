//! Frames on a stream: a `u32` length in network byte order, then so many bytes.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

const HEADER_LEN: usize = 4;

/// Bytes that are set aside before anything of a frame has come: a length alone makes nobody
/// allocate more.
const FIRST_ALLOCATION: usize = 16 * 1024;

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {len} bytes, but at most {max} are allowed")]
    TooLarge { len: usize, max: usize },
    #[error("the stream ended inside a frame")]
    CutOff,
    #[error("a frame was begun and not finished in time")]
    Stalled,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames. What was read of an unfinished frame stays in the reader, so `next` may be
/// cancelled at any point and called again.
#[derive(Debug)]
pub(super) struct FrameReader<S> {
    stream: S,
    max_len: usize,
    /// From a frame's first byte to its last.
    frame_timeout: Duration,
    deadline: Option<Instant>,
    header: [u8; HEADER_LEN],
    body: Option<Vec<u8>>,
    /// Bytes of the header, or of the body once there is one.
    filled: usize,
}

impl<S: AsyncRead + Unpin> FrameReader<S> {
    pub(super) fn new(stream: S, max_len: usize, frame_timeout: Duration) -> Self {
        Self {
            stream,
            max_len,
            frame_timeout,
            deadline: None,
            header: [0; HEADER_LEN],
            body: None,
            filled: 0,
        }
    }

    pub(super) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next frame; `None` when the stream ended between two frames. Waits for the first byte
    /// without limit. After an error the stream is of no more use.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        loop {
            let len = u32::from_be_bytes(self.header) as usize;
            if let Some(body) = self.body.take_if(|body| body.len() == len && self.filled == len) {
                self.filled = 0;
                self.deadline = None;
                return Ok(Some(body));
            }
            let read = self.read_some(len).await?;
            if read == 0 {
                return if self.deadline.is_none() { Ok(None) } else { Err(FrameError::CutOff) };
            }
            self.deadline.get_or_insert_with(|| Instant::now() + self.frame_timeout);
            self.filled += read;
            if self.body.is_none() && self.filled == HEADER_LEN {
                self.begin_body()?;
            }
        }
    }

    /// Reads what has come, at most to the end of the header or of the body.
    async fn read_some(&mut self, len: usize) -> Result<usize, FrameError> {
        let target = match &mut self.body {
            None => &mut self.header[self.filled..],
            Some(body) => {
                if self.filled == body.len() {
                    body.resize(len.min((self.filled * 2).max(FIRST_ALLOCATION)), 0);
                }
                &mut body[self.filled..]
            }
        };
        match self.deadline {
            None => Ok(self.stream.read(target).await?),
            Some(deadline) => Ok(timeout_at(deadline, self.stream.read(target))
                .await
                .map_err(|_| FrameError::Stalled)??),
        }
    }

    fn begin_body(&mut self) -> Result<(), FrameError> {
        let len = u32::from_be_bytes(self.header) as usize;
        if len > self.max_len {
            return Err(FrameError::TooLarge { len, max: self.max_len });
        }
        self.body = Some(Vec::new());
        self.filled = 0;
        Ok(())
    }
}

/// Writes one frame in one piece and flushes it. The caller has checked the length.
pub(super) async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut frame = Vec::with_capacity(HEADER_LEN + bytes.len());
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(bytes);
    stream.write_all(&frame).await?;
    stream.flush().await
}
