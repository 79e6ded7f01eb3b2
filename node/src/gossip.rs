//! Gossiped transactions on their way into the mempool.

use std::sync::Arc;

use evchain_protocol::crypto::{ChainId, Hash, Purpose};
use evchain_protocol::transaction::{SignedTransaction, VerifiedTransaction};
use tokio::sync::mpsc;
use tracing::debug;

use crate::mempool::{Accepted, MempoolHandle, SubmitError};
use crate::network::{GossipMessage, NetworkHandle, Verdict};

/// Judges gossiped transactions one message after the other, so that a flood of them takes up one
/// core at most. Ends with the sender of messages.
pub async fn take_transactions(
    mut messages: mpsc::Receiver<GossipMessage>,
    chain: ChainId,
    mempool: MempoolHandle,
    network: NetworkHandle,
) {
    while let Some(GossipMessage { items, from, id, .. }) = messages.recv().await {
        let verdict = judge(items, chain, &mempool).await;
        if verdict == Verdict::Reject {
            debug!(%from, "gossip: a peer passed on a transaction that it should have refused");
        }
        // A lost verdict only means that this message is not forwarded from here.
        let _ = network.judge(id, verdict);
    }
}

/// What came in a message.
#[derive(Debug, Default)]
struct Tally {
    /// Bytes of its transactions.
    total: usize,
    /// Bytes of those that are ready for a block, waiting already, or final.
    useful: usize,
    /// Something was new and ready.
    is_news: bool,
    /// Something can never be valid.
    is_bad: bool,
}

impl Tally {
    /// Accept what has news if most of it is no burden to others (M16); reject what its sender should have
    /// refused.
    const fn verdict(&self) -> Verdict {
        match (self.is_bad, self.is_news && self.useful >= self.total.div_ceil(2)) {
            (true, _) => Verdict::Reject,
            (false, true) => Verdict::Accept,
            (false, false) => Verdict::Ignore,
        }
    }
}

async fn judge(items: Vec<Vec<u8>>, chain: ChainId, mempool: &MempoolHandle) -> Verdict {
    let ids: Vec<Hash> = items.iter().map(|bytes| Hash::of(Purpose::TransactionId, bytes)).collect();
    let total = bytes_of(&items);
    let known = mempool.lookup(ids).await;
    let unknown: Vec<Vec<u8>> =
        items.into_iter().zip(known).filter(|(_, known)| known.is_none()).map(|(bytes, _)| bytes).collect();
    let mut tally = Tally { total, useful: total.saturating_sub(bytes_of(&unknown)), ..Tally::default() };
    let verify = move || unknown.iter().map(|bytes| verified(bytes, chain)).collect::<Vec<_>>();
    let Ok(verified) = tokio::task::spawn_blocking(verify).await else { return Verdict::Ignore };

    for transaction in verified {
        let (len, outcome) = match transaction {
            Ok(transaction) => {
                (transaction.encoded_len(), mempool.accept_gossip(Arc::new(transaction)).await)
            }
            Err(error) => (0, Err(error)),
        };
        tally.is_news |= matches!(outcome, Ok(Accepted::Ready));
        tally.is_bad |= outcome.as_ref().is_err_and(SubmitError::is_forwarders_fault);
        if matches!(outcome, Ok(Accepted::Ready) | Err(SubmitError::AlreadyFinal(_))) {
            tally.useful = tally.useful.saturating_add(len);
        }
    }
    tally.verdict()
}

fn bytes_of(items: &[Vec<u8>]) -> usize {
    items.iter().map(Vec::len).sum()
}

fn verified(bytes: &[u8], chain: ChainId) -> Result<VerifiedTransaction, SubmitError> {
    Ok(SignedTransaction::from_bytes(bytes)?.verify(chain)?)
}

#[cfg(test)]
mod tests;
