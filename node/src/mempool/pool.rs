use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Nonce, Timestamp};
use evchain_protocol::transaction::VerifiedTransaction;

/// The limits of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub max_transactions: usize,
    /// Bytes of their encodings in all.
    pub max_bytes: usize,
    /// Transactions of one sender, which is also how far a nonce may run ahead of the account's.
    pub max_per_sender: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { max_transactions: 50_000, max_bytes: 64 * 1024 * 1024, max_per_sender: 64 }
    }
}

/// Why the pool did not take a transaction. It may be valid all the same, later or elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is waiting already.
    #[error("the transaction is already waiting for a block")]
    Known,
    /// Another transaction of this sender waits with this nonce.
    #[error("another transaction of this sender with nonce {0} is already waiting for a block")]
    NonceTaken(Nonce),
    /// The nonce is further ahead than the pool keeps.
    #[error("nonce {given} is too far ahead: the account's next is {next}, and at most {max} may wait")]
    NonceTooFar {
        /// The transaction's.
        given: Nonce,
        /// The account's.
        next: Nonce,
        /// The limit.
        max: usize,
    },
    /// The pool is full.
    #[error("the node has {0} transactions waiting and takes no more: try again in a moment")]
    Full(usize),
}

/// Valid transactions that wait for a block, by sender and nonce, proposed in order of arrival.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    senders: BTreeMap<PublicKey, BTreeMap<Nonce, Waiting>>,
    by_arrival: BTreeMap<u64, (PublicKey, Nonce)>,
    by_id: BTreeMap<Hash, (PublicKey, Nonce)>,
    next_arrival: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    arrival: u64,
    arrived: Timestamp,
    transaction: Arc<VerifiedTransaction>,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            senders: BTreeMap::new(),
            by_arrival: BTreeMap::new(),
            by_id: BTreeMap::new(),
            next_arrival: 0,
            bytes: 0,
        }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// The bytes of those that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The transaction with this id, if it waits.
    pub fn get(&self, id: &Hash) -> Option<&Arc<VerifiedTransaction>> {
        let (sender, nonce) = self.by_id.get(id)?;
        self.senders.get(sender)?.get(nonce).map(|waiting| &waiting.transaction)
    }

    /// Whether a transaction could be added, whose sender's account has `next` as its next nonce.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn admits(&self, transaction: &VerifiedTransaction, next: Nonce) -> Result<(), PoolError> {
        let (sender, nonce) = (transaction.sender(), transaction.nonce());
        if self.by_id.contains_key(&transaction.id()) {
            return Err(PoolError::Known);
        }
        let max = self.limits.max_per_sender;
        if nonce.get().saturating_sub(next.get()) >= max as u64 {
            return Err(PoolError::NonceTooFar { given: nonce, next, max });
        }
        if self.senders.get(sender).is_some_and(|waiting| waiting.contains_key(&nonce)) {
            return Err(PoolError::NonceTaken(nonce));
        }
        let full = self.count() >= self.limits.max_transactions
            || self.bytes.saturating_add(transaction.encoded_len()) > self.limits.max_bytes;
        if full {
            return Err(PoolError::Full(self.count()));
        }
        Ok(())
    }

    /// Adds a transaction that the pool admits.
    ///
    /// # Errors
    /// As [`Self::admits`].
    pub fn insert(
        &mut self,
        transaction: Arc<VerifiedTransaction>,
        next: Nonce,
        now: Timestamp,
    ) -> Result<(), PoolError> {
        self.admits(&transaction, next)?;
        let (sender, nonce) = (*transaction.sender(), transaction.nonce());
        self.bytes = self.bytes.saturating_add(transaction.encoded_len());
        self.by_id.insert(transaction.id(), (sender, nonce));
        self.by_arrival.insert(self.next_arrival, (sender, nonce));
        let waiting = Waiting { arrival: self.next_arrival, arrived: now, transaction };
        self.next_arrival += 1;
        self.senders.entry(sender).or_default().insert(nonce, waiting);
        Ok(())
    }

    /// The transactions to propose, first come first served, each after those of its sender with
    /// lower nonces.
    pub fn candidates(&self, max_count: usize, max_bytes: usize) -> Vec<Arc<VerifiedTransaction>> {
        let mut chosen = Vec::new();
        let mut bytes = 0_usize;
        let mut reached: BTreeMap<PublicKey, Nonce> = BTreeMap::new();
        for (sender, nonce) in self.by_arrival.values() {
            if reached.get(sender).is_some_and(|done| done >= nonce) {
                continue;
            }
            let Some(waiting) = self.senders.get(sender) else { continue };
            let done = reached.insert(*sender, *nonce);
            for (_, next) in
                waiting.range(..=nonce).filter(|(nonce, _)| done.is_none_or(|done| **nonce > done))
            {
                bytes = bytes.saturating_add(next.transaction.encoded_len());
                if chosen.len() >= max_count || bytes > max_bytes {
                    return chosen;
                }
                chosen.push(Arc::clone(&next.transaction));
            }
        }
        chosen
    }

    /// Each sender's first transaction, the one that must be valid now if any of its is, and when
    /// it arrived.
    pub fn heads(&self) -> impl Iterator<Item = (&Arc<VerifiedTransaction>, Timestamp)> {
        let firsts = self.senders.values().filter_map(|waiting| waiting.values().next());
        firsts.map(|waiting| (&waiting.transaction, waiting.arrived))
    }

    /// The nonce after an account's last waiting transaction.
    pub fn next_nonce(&self, sender: &PublicKey) -> Option<Nonce> {
        let (last, _) = self.senders.get(sender)?.last_key_value()?;
        last.next().ok()
    }

    /// Removes one transaction.
    pub fn remove(&mut self, id: &Hash) -> Option<Arc<VerifiedTransaction>> {
        let (sender, nonce) = *self.by_id.get(id)?;
        self.take(sender, nonce)
    }

    /// Removes what this sender's account has left behind: every nonce below `next`.
    pub fn remove_below(&mut self, sender: &PublicKey, next: Nonce) -> Vec<Arc<VerifiedTransaction>> {
        let nonces: Vec<Nonce> = match self.senders.get(sender) {
            Some(waiting) => waiting.range(..next).map(|(nonce, _)| *nonce).collect(),
            None => return Vec::new(),
        };
        nonces.into_iter().filter_map(|nonce| self.take(*sender, nonce)).collect()
    }

    fn take(&mut self, sender: PublicKey, nonce: Nonce) -> Option<Arc<VerifiedTransaction>> {
        let waiting = self.senders.get_mut(&sender)?;
        let Waiting { arrival, transaction, .. } = waiting.remove(&nonce)?;
        if waiting.is_empty() {
            self.senders.remove(&sender);
        }
        self.by_arrival.remove(&arrival);
        self.by_id.remove(&transaction.id());
        self.bytes = self.bytes.saturating_sub(transaction.encoded_len());
        Some(transaction)
    }
}
