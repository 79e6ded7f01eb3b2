//! The ledger's moments on the runtime's clock.

use std::time::Duration;

use evchain_protocol::primitives::Timestamp;
use tokio::time::Instant;

use crate::clock;

/// The longest wait that the runtime is asked for.
const LONGEST: Duration = Duration::from_hours(24);

/// How long it is until a moment, and a little more, so that it has come for certain.
pub(super) fn until(moment: Timestamp) -> Duration {
    Duration::from_millis(moment.since(clock::now()).get().saturating_add(1)).min(LONGEST)
}

/// Waits until then, or for ever.
pub(super) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
