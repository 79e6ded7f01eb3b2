//! The consumer's hidden decision for one bid: c = H(zeta, i, r) (P18 3.3).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::{ChainId, Hash, Preimage, PublicKey, Purpose};
use crate::primitives::{Amount, TxRef};

/// What a commitment hides, and what opens it. The chain, the request and the price are bound as
/// well, which P18's formula leaves open: a commitment cannot be opened to another price later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Opening {
    /// The request whose bid was chosen.
    pub request: TxRef,
    /// The bid's price when it was chosen.
    pub price: Amount,
    /// zeta, who asked.
    pub consumer: PublicKey,
    /// i, whose bid was chosen.
    pub producer: PublicKey,
    /// r, 32 random bytes.
    pub secret: Preimage,
}

impl Opening {
    /// c, which stands on the chain.
    pub fn commitment(&self, chain: ChainId) -> Hash {
        // Fixed lengths, so the parts cannot be split in a second way.
        Hash::of_parts(Purpose::Commitment, &[chain.0.as_bytes(), &crate::codec::encode(self)])
    }
}
