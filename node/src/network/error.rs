//! What can go wrong for those who use the network.

use libp2p::Multiaddr;

/// Why the network did not start. The configuration is at fault, or the system.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret key is not usable as an identity.
    #[error("the node's key is not usable as a network identity: {0}")]
    Identity(String),
    /// A bootstrap address without a usable `/p2p/` part at its end.
    #[error("bootstrap address {0} must end in /p2p/ and the Ed25519 peer id of the peer")]
    BootstrapWithoutPeer(Multiaddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// What was asked for.
        address: Multiaddr,
        /// What the system says.
        reason: String,
    },
    /// A setting that libp2p refuses.
    #[error("the network's settings are not usable: {0}")]
    Settings(String),
}

/// Why something was not handed to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// More bytes than one message of this kind may have.
    #[error("{len} bytes, but at most {max} can be sent in one message of this kind")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// The queue towards the network is full; the item was dropped and counted.
    #[error("the network's queue is full")]
    QueueFull,
    /// The key is not one of the current other authorities.
    #[error("the key is not one of the other authorities")]
    NotAnAuthority,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a request for catching up has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More bytes than a request may have.
    #[error("the request has {len} bytes, but at most {max} are allowed")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Too many own requests are waiting.
    #[error("too many requests are waiting for responses")]
    TooManyRequests,
    /// There is no connection to the peer.
    #[error("not connected to the peer")]
    NotConnected,
    /// The peer does not serve this, at the moment: ask another.
    #[error("the peer is busy")]
    Busy,
    /// No full response in time.
    #[error("the peer did not respond in time")]
    Timeout,
    /// The peer does not speak the protocol of this chain.
    #[error("the peer does not answer requests of this chain")]
    Unsupported,
    /// The connection or stream failed.
    #[error("the request failed: {0}")]
    Failed(String),
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a session was not opened, or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A key that no peer can have.
    #[error("the key is no Ed25519 point, so no peer can have it")]
    UnusableKey,
    /// No address led to the peer.
    #[error("cannot reach the peer: {0}")]
    Unreachable(String),
    /// The peer does not take part in sessions of this chain.
    #[error("the peer does not accept sessions of this chain")]
    Unsupported,
    /// The peer has no room for another session.
    #[error("the peer refused the session: it has too many")]
    Refused,
    /// A message that is larger than a session's messages may be, own or received.
    #[error("a message of {len} bytes, but at most {max} are allowed")]
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Nothing came, or could be sent, in time. The session is still usable after a timeout of a
    /// receive, and not after one of a send.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The peer closed the session.
    #[error("the peer closed the session")]
    Closed,
    /// The connection failed.
    #[error("the session's connection failed: {0}")]
    Failed(String),
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}
