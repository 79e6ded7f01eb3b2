//! Gossiped transactions on their way into the mempool.

use std::sync::Arc;

use evchain_protocol::crypto::{ChainId, Hash, Purpose};
use evchain_protocol::transaction::{SignedTransaction, VerifiedTransaction};
use tokio::sync::mpsc;
use tracing::debug;

use crate::mempool::{MempoolHandle, SubmitError};
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

/// Accept if anything in it is new and valid; reject if anything in it can never be valid.
async fn judge(items: Vec<Vec<u8>>, chain: ChainId, mempool: &MempoolHandle) -> Verdict {
    let ids: Vec<Hash> = items.iter().map(|bytes| Hash::of(Purpose::TransactionId, bytes)).collect();
    let known = mempool.lookup(ids).await;
    let unknown: Vec<Vec<u8>> =
        items.into_iter().zip(known).filter(|(_, known)| known.is_none()).map(|(bytes, _)| bytes).collect();
    let verify = move || unknown.iter().map(|bytes| verified(bytes, chain)).collect::<Vec<_>>();
    let Ok(verified) = tokio::task::spawn_blocking(verify).await else { return Verdict::Ignore };

    let mut verdict = Verdict::Ignore;
    for transaction in verified {
        let outcome = match transaction {
            Ok(transaction) => mempool.accept_gossip(Arc::new(transaction)).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) if verdict == Verdict::Ignore => verdict = Verdict::Accept,
            Err(error) if error.is_forwarders_fault() => verdict = Verdict::Reject,
            Ok(()) | Err(_) => {}
        }
    }
    verdict
}

fn verified(bytes: &[u8], chain: ChainId) -> Result<VerifiedTransaction, SubmitError> {
    Ok(SignedTransaction::from_bytes(bytes)?.verify(chain)?)
}
