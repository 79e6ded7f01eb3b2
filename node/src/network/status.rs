//! How well a node is connected.

use std::time::Instant;

/// How well the node is connected, at most a second old. An operator, or `/health`, judges it by what the
/// node is: a lone authority needs nobody, any other node needs peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkStatus {
    /// Peers with at least one connection.
    pub connected_peers: usize,
    /// Other authorities to which a consensus stream is open.
    pub authority_links: usize,
    /// Other authorities to which a stream should be open: all of them for an authority, none for an observer.
    pub authority_links_wanted: usize,
    /// Since when own gossip has reached nobody although there are peers; `None` while it does. A few seconds
    /// after a start, or after the first peer has come, are normal.
    pub gossip_failing_since: Option<Instant>,
}
