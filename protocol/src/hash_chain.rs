//! Hash chains: N hash locks behind one hash, so that one claim settles many installments.
//!
//! From a secret seed, link N-1 is the seed and link k is H(link k+1); the anchor is H(link 0).
//! Showing link k proves installments 0 to k at once, and says nothing about link k+1.

use crate::crypto::{Hash, Preimage};
use crate::payment::InstallmentCount;

/// The payer's side of a hash chain: all its links, from one secret seed.
#[derive(Clone)]
pub struct HashChain {
    /// By installment.
    links: Vec<Preimage>,
    anchor: Hash,
}

impl HashChain {
    /// The chain over this seed. Takes one hash per installment.
    pub fn new(seed: Preimage, count: InstallmentCount) -> Self {
        let mut links = Vec::new();
        let mut link = seed;
        for _ in 0..count.get() {
            links.push(link);
            link = step(link);
        }
        links.reverse();
        Self { links, anchor: Hash::from_bytes(*link.as_bytes()) }
    }

    /// What is locked on the chain: H applied to link 0.
    pub const fn anchor(&self) -> Hash {
        self.anchor
    }

    /// The link that releases the installments up to `index`, if there is such an installment.
    pub fn link(&self, index: u32) -> Option<Preimage> {
        self.links.get(usize::try_from(index).ok()?).copied()
    }
}

/// The link before `link`: the link of installment k-1 from that of k, and the anchor (as bytes)
/// from link 0. A payee that holds link k-1 checks link k with this one hash.
pub fn step(link: Preimage) -> Preimage {
    Preimage::from_bytes(*link.lock().as_bytes())
}

/// The anchor that the link of installment `index` leads to: H applied index + 1 times.
pub fn anchor_from(link: Preimage, index: u32) -> Hash {
    let first = (0..index).fold(link, |link, _| step(link));
    first.lock()
}
