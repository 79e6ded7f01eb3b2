//! The wall clock, as the ledger measures time.

use std::time::{SystemTime, UNIX_EPOCH};

use evchain_protocol::primitives::Timestamp;

/// Now, in ms since the Unix epoch. A clock before 1970 reads as 1970.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
