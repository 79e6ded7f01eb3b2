//! What the chain remembers of producers, as callers see it.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::session::decide::Doubt;
use evchain_protocol::state::record::TrackRecord;
use serde::{Deserialize, Serialize};

/// A producer's track record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordInfo {
    /// Whose.
    pub producer: PublicKey,
    /// The record.
    #[serde(flatten)]
    pub scored: ScoredRecord,
}

/// A track record and what a consumer makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoredRecord {
    /// What the state holds; zeros for a newcomer.
    #[serde(flatten)]
    pub record: TrackRecord,
    /// As g weighs it, in per mille of a price.
    pub doubt: Doubt,
}

impl From<TrackRecord> for ScoredRecord {
    fn from(record: TrackRecord) -> Self {
        Self { record, doubt: Doubt::of(&record) }
    }
}
