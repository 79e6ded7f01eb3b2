//! Who votes in an epoch.

use super::vote::Subject;
use crate::authority::{AuthorityIndex, AuthoritySet};
use crate::crypto::{BadSignature, ChainId, PublicKey, Signature};
use crate::primitives::Epoch;

/// The authorities of one epoch of one chain: all that is needed to check their votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Electorate {
    /// The chain.
    pub chain: ChainId,
    /// The epoch.
    pub epoch: Epoch,
    /// Its authorities.
    pub authorities: AuthoritySet,
}

impl Electorate {
    /// q = n - f.
    pub fn quorum(&self) -> usize {
        self.authorities.quorum()
    }

    /// The key of the authority at this place.
    pub fn key(&self, index: AuthorityIndex) -> Option<PublicKey> {
        self.authorities.key(usize::from(index.get())).copied()
    }

    /// The place of this key.
    pub fn index_of(&self, key: &PublicKey) -> Option<AuthorityIndex> {
        let place = self.authorities.index_of(key)?;
        u8::try_from(place).ok().map(AuthorityIndex::new)
    }

    /// Checks an authority's signature of a subject.
    ///
    /// # Errors
    /// [`BadSignature`], for an index outside the set too.
    pub fn verify(
        &self,
        subject: &Subject,
        signer: AuthorityIndex,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let key = self.key(signer).ok_or(BadSignature)?;
        subject.verify(self.chain, &key, signature)
    }
}
