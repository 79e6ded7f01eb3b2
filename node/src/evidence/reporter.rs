use std::collections::BTreeMap;
use std::time::Duration;

use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::finality::Evidence;
use evchain_protocol::primitives::Nonce;
use evchain_protocol::transaction::evidence::ReportOffence;
use evchain_protocol::transaction::{Action, Transaction};
use tokio::time::{sleep, timeout};
use tracing::{debug, error};

use super::book::EvidenceBook;
use crate::mempool::MempoolHandle;
use crate::store::StoreError;
use crate::store::tables::OffencePlace;

/// How often what is not on the chain yet is looked at again.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// How long a report may take to come into a block before the next piece has its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the evidence of a node's book to the chain, with the node's key. Every honest authority
/// reports what it found out; the ledger records the first report and refuses the others (V4).
pub struct Reporter {
    book: EvidenceBook,
    mempool: MempoolHandle,
    chain: ChainId,
    key: KeyPair,
    /// Reports that were sent.
    sent: BTreeMap<OffencePlace, Hash>,
}

impl Reporter {
    /// The reporter of this book.
    pub const fn new(book: EvidenceBook, mempool: MempoolHandle, chain: ChainId, key: KeyPair) -> Self {
        Self { book, mempool, chain, key, sent: BTreeMap::new() }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        loop {
            if let Err(error) = self.round().await {
                error!(%error, "evidence: cannot be read");
            }
            tokio::select! {
                () = self.book.arrival() => {}
                () = sleep(RETRY_EVERY) => {}
            }
        }
    }

    /// Reports one piece after the other, each once the one before stands or fell: one nonce at a time.
    async fn round(&mut self) -> Result<(), StoreError> {
        let pending = self.book.pending()?;
        self.sent.retain(|place, _| pending.iter().any(|(open, _)| open == place));
        if pending.is_empty() || !self.book.reports()? {
            return Ok(());
        }
        for (place, evidence) in pending {
            // Somebody else's report may have come onto the chain meanwhile.
            if self.book.settle(place)? {
                continue;
            }
            let Some(report) = self.send(place, evidence).await else { continue };
            // The state says how it ended.
            let _ = timeout(PATIENCE, self.mempool.outcome(report)).await;
            self.book.settle(place)?;
        }
        Ok(())
    }

    /// Sends a report, unless one waits for a block already. Gives its id.
    async fn send(&mut self, place: OffencePlace, evidence: Evidence) -> Option<Hash> {
        if let Some(sent) = self.sent.get(&place).copied()
            && self.mempool.lookup(vec![sent]).await.first().is_some_and(Option::is_some)
        {
            return Some(sent);
        }
        let sender = self.key.public_key();
        let nonce = self.mempool.next_nonce(sender).await.unwrap_or(Nonce::ZERO);
        let action = Action::ReportOffence(ReportOffence { evidence });
        let report = Transaction { sender, nonce, action }.sign(&self.key, self.chain);
        match self.mempool.submit(&report.to_bytes()).await {
            Ok(id) => {
                self.sent.insert(place, id);
                Some(id)
            }
            Err(error) => {
                debug!(%error, "evidence: the report is not taken now");
                None
            }
        }
    }
}
