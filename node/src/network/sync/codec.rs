//! Requests and responses on a stream.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;

use crate::network::frame::{FrameReader, write_frame};

const SERVED: u8 = 1;
const BUSY: u8 = 0;

/// Bytes after a response, each written for itself. A Yamux stream queues up to 11 pieces in front of the
/// connection, of up to 16 KiB, and calls them written. Once as many small ones were taken after the
/// response, nothing of the response is in that queue any more: it has left for the socket.
const TRAILER: [u8; 12] = [0; 12];

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) enum Response {
    Served(Vec<u8>),
    Busy,
}

/// Reads and writes requests and responses, bounded.
#[derive(Debug, Clone)]
pub(in crate::network) struct SyncCodec {
    pub(super) max_request: usize,
    pub(super) max_response: usize,
    pub(super) frame_timeout: Duration,
}

impl SyncCodec {
    async fn read_frame<T>(&self, io: &mut T, max: usize) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = FrameReader::new(io, max, self.frame_timeout).next().await;
        frame
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl request_response::Codec for SyncCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_frame(io, self.max_request).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [BUSY];
        io.read_exact(&mut status).await?;
        match status {
            [SERVED] => {
                let response = self.read_frame(io, self.max_response).await?;
                let mut trailer = TRAILER;
                io.read_exact(&mut trailer).await?;
                Ok(Response::Served(response))
            }
            [BUSY] => Ok(Response::Busy),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown status of a response")),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request).await
    }

    /// Done when the response has left for the socket, which is when its place is free again.
    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match response {
            Response::Busy => io.write_all(&[BUSY]).await,
            Response::Served(bytes) => {
                let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
                let [a, b, c, d] = len.to_be_bytes();
                io.write_all(&[SERVED, a, b, c, d]).await?;
                // Not in one piece with its head: that would be a second copy of a large response.
                io.write_all(&bytes).await?;
                for byte in TRAILER {
                    io.write_all(&[byte]).await?;
                }
                io.flush().await
            }
        }
    }
}
