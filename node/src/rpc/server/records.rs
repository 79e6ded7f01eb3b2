//! Finds producers' track records.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::TxRef;

use super::queries::Queries;
use crate::rpc::error::CallError;
use crate::rpc::record::RecordInfo;

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
