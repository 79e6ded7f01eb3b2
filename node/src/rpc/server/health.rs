use evchain_protocol::primitives::Span;

use crate::clock;
use crate::node::NodeHandle;
use crate::rpc::types::{Health, Role};

/// A tip of this age is too old on any chain; on slow chains more is normal.
const MIN_STALE: Span = Span::new(10_000);
/// The tip is too old after as many leaders in a row could have failed.
const STALE_TIMEOUTS: u64 = 8;

/// How the node is.
pub(super) async fn health(node: &NodeHandle) -> Health {
    let chain = node.chain.reader();
    let tip = chain.tip();
    let tip_age_ms = clock::now().since(tip.time_ms);
    // A node that cannot read its state is not healthy whatever its tip is.
    let syncing = chain.params().map_or(true, |params| {
        let patience = Span::new(params.hop_bound.get().saturating_mul(2 * STALE_TIMEOUTS));
        tip_age_ms > MIN_STALE.max(patience.saturating_add(params.idle_interval))
    });
    // A network that has stopped has no peers.
    let peers = node.network.connected_peers().await.map_or(0, |peers| peers.len());
    let consensus = node.consensus.status();
    let role = if consensus.votes { Role::Validator } else { Role::Observer };
    let is_alone = consensus.authorities == 1 && consensus.votes;
    Health {
        healthy: !syncing && (peers > 0 || is_alone),
        height: tip.height,
        tip_age_ms,
        peers,
        syncing,
        epoch: consensus.epoch,
        role,
    }
}
