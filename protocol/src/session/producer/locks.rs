//! How far single locks are settled.

use crate::crypto::Hash;
use crate::primitives::TxRef;
use crate::state::payment::{HashLocks, Lock};

use super::machine::ProducerSession;

impl ProducerSession {
    /// For single locks: how many installments from the front are settled, given those that the chain
    /// still has (P16).
    pub fn settled_locks(&self, open: &[(TxRef, Lock)]) -> u32 {
        let count = self.terms().plan.count.get();
        let Some(HashLocks::Hashes(hashes)) = self.verifier.locks() else { return 0 };
        let is_open = |index: &u32, hash: Option<Hash>| {
            hash.is_some_and(|hash| open.iter().any(|(_, lock)| self.terms().is_lock_of(*index, hash, lock)))
        };
        (0..)
            .zip(hashes.iter())
            .find(|(index, hash)| is_open(index, **hash))
            .map_or(count, |(index, _)| index)
    }
}
