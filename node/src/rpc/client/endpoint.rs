use std::fmt;
use std::str::FromStr;

use evchain_protocol::serde_as_text;

/// Where a node's RPC is: a host and a port, for HTTP and WebSocket alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    authority: String,
}

/// Text that says not where a node is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No host and port.
    #[error("'{0}' is no address of a node: write a host and a port, such as http://127.0.0.1:9100")]
    Malformed(String),
    /// A node's RPC has no TLS.
    #[error(
        "'{0}': a node's RPC has no TLS. Write http://, and put a tunnel or a proxy between if the network is not trusted"
    )]
    Tls(String),
}

impl Endpoint {
    /// The URL for calls.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// The URL for subscriptions.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        let authority = match text.split_once("://") {
            None => text,
            Some(("http" | "ws", authority)) => authority,
            Some(("https" | "wss", _)) => return Err(EndpointError::Tls(text.to_owned())),
            Some(_) => return Err(malformed()),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or_else(malformed)?;
        // A bare IPv6 address would take its last group for the port.
        let is_host = if host.starts_with('[') { host.ends_with(']') } else { !host.contains(':') };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if host.is_empty() || !is_host || !host.chars().all(is_plain) || port.parse::<u16>().is_err() {
            return Err(malformed());
        }
        Ok(Self { authority: authority.to_owned() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

serde_as_text!(Endpoint);
