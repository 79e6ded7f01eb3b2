//! Releasing an installment, and checking that it was (S4).

use std::fmt;

use crate::codec::List;
use crate::crypto::{BadSignature, Hash, KeyPair, Preimage, Signature};
use crate::hash_chain::{self, HashChain};
use crate::state::channel::{ChannelState, SignedChannelState};
use crate::state::payment::{HashLocks, MAX_INSTALLMENTS_LEN};
use crate::tagged_enum;

use super::terms::Terms;

/// What lets the producer collect one more installment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The preimage of a hash lock, or the link of a hash chain.
    Preimage(Preimage),
    /// The consumer's signature of the channel state that releases this many.
    State(Signature),
}

tagged_enum!(Proof { 0 => Preimage(Preimage), 1 => State(Signature) });

/// What the consumer releases installments with, besides its key.
#[derive(Clone, PartialEq, Eq)]
pub enum Secrets {
    /// A preimage for each installment.
    Hashes(List<Preimage, MAX_INSTALLMENTS_LEN>),
    /// The hash chain's seed.
    Chain(Preimage),
    /// A channel needs the key alone.
    Channel,
}

tagged_enum!(Secrets { 0 => Hashes(List<Preimage, MAX_INSTALLMENTS_LEN>), 1 => Chain(Preimage), 2 => Channel });

impl fmt::Debug for Secrets {
    /// Names the kind only: whoever reads a log must not be able to collect the money.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hashes(_) => "Secrets::Hashes(..)",
            Self::Chain(_) => "Secrets::Chain(..)",
            Self::Channel => "Secrets::Channel",
        })
    }
}

/// The consumer's proofs, ready to be given away.
#[derive(Clone)]
pub(super) enum Releaser {
    Hashes(Vec<Preimage>),
    Chain(HashChain),
    Channel,
}

impl Releaser {
    pub(super) fn new(secrets: &Secrets, terms: &Terms) -> Self {
        match secrets {
            Secrets::Hashes(preimages) => Self::Hashes(preimages.to_vec()),
            Secrets::Chain(seed) => Self::Chain(HashChain::new(*seed, terms.plan.count)),
            Secrets::Channel => Self::Channel,
        }
    }

    /// The proof of installment `index`, if there is such an installment.
    pub(super) fn proof(&self, terms: &Terms, index: u32, key: &KeyPair) -> Option<Proof> {
        match self {
            Self::Hashes(preimages) => {
                preimages.get(usize::try_from(index).ok()?).copied().map(Proof::Preimage)
            }
            Self::Chain(chain) => chain.link(index).map(Proof::Preimage),
            Self::Channel => {
                Some(Proof::State(channel_state(terms, index, false).sign(key, terms.chain).signature))
            }
        }
    }
}

/// A proof that does not prove anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// Not a later installment than the last, or none of this payment.
    #[error("installment {index} is not among {from} to {below}")]
    OutOfOrder {
        /// The installment given.
        index: u32,
        /// The first that can follow.
        from: u32,
        /// N.
        below: u32,
    },
    /// A preimage for a channel, or a signature for a hash.
    #[error("the proof is of another kind of payment")]
    WrongKind,
    /// It does not hash to the lock, or to the link before.
    #[error("the preimage does not fit")]
    WrongPreimage,
    /// The consumer did not sign this state.
    #[error(transparent)]
    WrongSignature(#[from] BadSignature),
}

/// The producer's side: checks each proof against the one before in constant work.
#[derive(Debug, Clone)]
pub struct Verifier {
    terms: Terms,
    locks: Option<HashLocks>,
    /// For a chain: the last link, at first the anchor.
    tip: Hash,
    /// The first installment that can follow.
    next: u32,
}

impl Verifier {
    /// For this payment from its first proof on. `locks` as the chain has them, `None` for a channel.
    pub fn new(terms: Terms, locks: Option<HashLocks>) -> Self {
        let tip = match &locks {
            Some(HashLocks::Chain(chain)) => chain.anchor,
            _ => Hash::ZERO,
        };
        let next = terms.start().next();
        Self { terms, locks, tip, next }
    }

    /// What the proofs are checked against; `None` for a channel.
    pub(super) const fn locks(&self) -> Option<&HashLocks> {
        self.locks.as_ref()
    }

    /// Takes the proof of installment `index`. Nothing changes on failure.
    ///
    /// # Errors
    /// See [`BadProof`].
    pub fn accept(&mut self, index: u32, proof: &Proof) -> Result<(), BadProof> {
        let below = self.terms.plan.count.get();
        if !(self.next..below).contains(&index) {
            return Err(BadProof::OutOfOrder { index, from: self.next, below });
        }
        match (&self.locks, proof) {
            (Some(HashLocks::Hashes(hashes)), Proof::Preimage(preimage)) => {
                let lock = usize::try_from(index).ok().and_then(|index| hashes.get(index)).copied().flatten();
                match lock {
                    Some(lock) if preimage.lock() != lock => return Err(BadProof::WrongPreimage),
                    // A deposit that was paid already has no lock left, and nothing hangs on it (S2).
                    None if index != 0 => return Err(BadProof::WrongPreimage),
                    _ => {}
                }
            }
            (Some(HashLocks::Chain(_)), Proof::Preimage(link)) => {
                let first_skipped = (self.next..index).fold(*link, |link, _| hash_chain::step(link));
                if first_skipped.lock() != self.tip {
                    return Err(BadProof::WrongPreimage);
                }
                self.tip = Hash::from_bytes(*link.as_bytes());
            }
            (None, Proof::State(signature)) => {
                let state = channel_state(&self.terms, index, false);
                SignedChannelState { state, signature: *signature }
                    .verify(&self.terms.consumer, self.terms.chain)?;
            }
            _ => return Err(BadProof::WrongKind),
        }
        self.next = index.saturating_add(1);
        Ok(())
    }
}

/// The channel's state that releases installment `index`.
pub(super) fn channel_state(terms: &Terms, index: u32, closing: bool) -> ChannelState {
    ChannelState { channel: terms.payment, released: index.saturating_add(1), closing }
}
