use std::collections::BTreeSet;
use std::path::PathBuf;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::session::WatchPolicy;

use crate::network::Multiaddr;

/// Streams that are usually open at the same time.
const MAX_STREAMS: usize = 256;

/// How a watchtower works.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Where its journal lies. One tower at a time.
    pub state_dir: PathBuf,
    /// Where producers reach it, such as `/ip4/0.0.0.0/tcp/9800`. Port 0: the system chooses.
    pub listen: Multiaddr,
    /// What producers are told, if they reach it at another address.
    pub advertise: Option<Multiaddr>,
    /// For whom it works; none for every producer that has a channel on the chain.
    pub allow: Option<BTreeSet<PublicKey>>,
    /// Streams that are open at the same time, of all clients.
    pub max_streams: usize,
    /// How careful it is, and for how many it works.
    pub policy: WatchPolicy,
}

impl WatchConfig {
    /// With the usual settings.
    pub fn new(state_dir: PathBuf, listen: Multiaddr) -> Self {
        let policy = WatchPolicy::default();
        Self { state_dir, listen, advertise: None, allow: None, max_streams: MAX_STREAMS, policy }
    }
}

/// What a watchtower did until it was stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WatchReport {
    /// Channels that it took under guard.
    pub taken: u64,
    /// States that it brought to the chain.
    pub posted: u64,
    /// Channels under guard that have ended.
    pub ended: u64,
    /// Channels that it still guards, and goes on with when it is started again.
    pub guarded: u64,
}
