use evchain_consensus::block::{Payload, PayloadTooLarge};
use evchain_consensus::input::Execution;
use evchain_protocol::block::Header;
use evchain_protocol::codec::{self, DecodeError, List, TooManyItems};
use evchain_protocol::merkle::MerkleTree;
use evchain_protocol::params::{MAX_BLOCK_TRANSACTIONS, MAX_BODY_BYTES};
use evchain_protocol::transaction::SignedTransaction;

/// A block's payload: its transactions, in order.
type Transactions = List<SignedTransaction, { MAX_BLOCK_TRANSACTIONS as usize }>;

/// Transactions that no payload can hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error(transparent)]
    TooMany(#[from] TooManyItems),
    #[error("a body of {0} bytes, but at most {1} were to be used")]
    Unfit(usize, usize),
    #[error(transparent)]
    TooLarge(#[from] PayloadTooLarge),
}

/// The body of a block with these transactions, if it has no more bytes than that.
pub(super) fn encode(transactions: Vec<SignedTransaction>, max_bytes: usize) -> Result<Payload, EncodeError> {
    let list: Transactions = List::new(transactions)?;
    let bytes = codec::encode(&list);
    if bytes.len() > max_bytes {
        return Err(EncodeError::Unfit(bytes.len(), max_bytes));
    }
    Ok(Payload::new(bytes)?)
}

pub(super) fn decode_unchecked(payload: &Payload) -> Result<Vec<SignedTransaction>, DecodeError> {
    codec::decode::<Transactions>(payload.as_bytes(), MAX_BODY_BYTES).map(List::into_vec)
}

/// The transactions of another leader's block, if they are those that its header commits to.
pub(super) fn decode(payload: &Payload, header: &Header) -> Result<Vec<SignedTransaction>, Execution> {
    let transactions = decode_unchecked(payload).map_err(|_| Execution::WrongBody)?;
    let ids = transactions.iter().map(|transaction| *transaction.id().as_bytes());
    if MerkleTree::new(ids).root() != header.tx_root {
        return Err(Execution::WrongBody);
    }
    Ok(transactions)
}
