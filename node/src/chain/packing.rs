use std::sync::Arc;

use evchain_consensus::block::Payload;
use evchain_protocol::execute::{BlockError, BuiltBlock, Parent, build_block};
use evchain_protocol::primitives::Timestamp;
use evchain_protocol::transaction::VerifiedTransaction;
use tracing::warn;

use super::error::ChainError;
use super::payload;

/// A block and its body.
pub(super) type Packed = (BuiltBlock<Arc<VerifiedTransaction>>, Payload);

/// Encodes a block's body. If that has more than `max_bytes` the block is built again with the first half of
/// its transactions: a leader that can make no block stops the chain, one that makes a small one does not.
pub(super) fn pack(
    parent: &Parent<'_>,
    time: Timestamp,
    mut built: BuiltBlock<Arc<VerifiedTransaction>>,
    max_bytes: usize,
) -> Result<Packed, ChainError> {
    loop {
        let signed = built.transactions.iter().map(|transaction| transaction.signed().clone()).collect();
        let error = match payload::encode(signed, max_bytes) {
            Ok(payload) => return Ok((built, payload)),
            Err(error) => error,
        };
        let count = built.transactions.len();
        if count == 0 {
            return Err(ChainError::Internal(error.to_string()));
        }
        warn!(transactions = count, %error, "chain: a block does not fit, half of it is tried");
        built.transactions.truncate(count / 2);
        built = build_block(parent, time, built.transactions).map_err(|error| failed(&error))?;
    }
}

/// Nobody else's block is at fault where this node cannot build its own.
pub(super) fn failed(error: &BlockError) -> ChainError {
    ChainError::Internal(error.to_string())
}

#[cfg(test)]
mod tests;
