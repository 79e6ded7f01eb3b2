//! The chain's members, as the network sees them.

use std::fmt;
use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;

/// Answers whether the chain has admitted a key, as of the newest final block. The network holds no state of the
/// chain: who starts it gives it this view. It is asked for each connection, and every second for each connected
/// peer, by the task that owns the network; so the answer has to come at once.
#[derive(Clone)]
pub struct Members(Arc<dyn Fn(&PublicKey) -> bool + Send + Sync>);

impl Members {
    /// Members as this function knows them.
    pub fn known_by(is_member: impl Fn(&PublicKey) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_member))
    }

    /// Whether the key is a member's.
    pub fn contains(&self, key: &PublicKey) -> bool {
        (self.0)(key)
    }
}

/// Nobody.
impl Default for Members {
    fn default() -> Self {
        Self::known_by(|_| false)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}
