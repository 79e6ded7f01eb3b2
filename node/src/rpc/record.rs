//! What the chain remembers of producers, as callers see it.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::TxRef;
use evchain_protocol::session::decide::Doubt;
use evchain_protocol::state::record::TrackRecord;
use serde::{Deserialize, Serialize};

use super::error::CallError;
use super::queries::Queries;

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

impl Queries {
    pub(super) fn record(&self, producer: PublicKey) -> Result<RecordInfo, CallError> {
        let state = self.chain().state();
        if state.account(&producer)?.is_none() {
            return Err(CallError::NotFound(format!("{producer} has no account, and so no track record")));
        }
        Ok(RecordInfo { producer, scored: state.track_record(&producer)?.into() })
    }

    /// The track records of all who bid for a request, in the order of their bids.
    pub(super) fn bidder_records(&self, request: TxRef) -> Result<Vec<RecordInfo>, CallError> {
        let bids = self.bids(request)?;
        let state = self.chain().state();
        let scored = |producer| Ok(RecordInfo { producer, scored: state.track_record(&producer)?.into() });
        bids.into_iter().map(|bid| scored(bid.producer)).collect()
    }
}
