use evchain_node::rpc::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::FaultError;

/// The largest answer that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What a node answers to a GET, with its headers.
pub(super) async fn get(endpoint: &Endpoint, path: &str) -> Result<String, FaultError> {
    let url = endpoint.http_url();
    let address = url.trim_start_matches("http://");
    let failed = || FaultError::io("ask", address);
    let mut stream = TcpStream::connect(address).await.map_err(failed())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed())?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer).await.map_err(failed())?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
