//! The receipt that both sides sign at the end.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, encode};
use crate::crypto::{BadSignature, ChainId, KeyPair, PublicKey, Purpose, Signature};
use crate::primitives::{Amount, Energy, TxRef};
use crate::state::channel::SignedChannelState;

use super::terms::{Progress, Terms};

/// What a session came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Receipt {
    /// The request that was served.
    pub request: TxRef,
    /// The payment or channel that paid.
    pub payment: TxRef,
    /// zeta.
    pub consumer: PublicKey,
    /// i.
    pub producer: PublicKey,
    /// How many installments were released.
    pub released: u32,
    /// The energy delivered, by the consumer's meter.
    pub energy: Energy,
    /// What the released installments are worth.
    pub amount: Amount,
}

impl Receipt {
    /// The receipt of a session that came this far.
    pub fn new(terms: &Terms, progress: &Progress, energy: Energy) -> Self {
        Self {
            request: terms.request,
            payment: terms.payment,
            consumer: terms.consumer,
            producer: terms.producer,
            released: progress.released,
            energy,
            amount: progress.amount,
        }
    }

    /// One side's signature.
    pub fn sign(&self, key: &KeyPair, chain: ChainId) -> Signature {
        key.sign(Purpose::Receipt, chain, &encode(self))
    }

    /// Checks that `signer` signed this receipt.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(
        &self,
        signer: &PublicKey,
        chain: ChainId,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        signer.verify(Purpose::Receipt, chain, &encode(self), signature)
    }
}

/// A receipt with both signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What both agree on.
    pub receipt: Receipt,
    /// The consumer's signature.
    pub consumer: Signature,
    /// The producer's signature.
    pub producer: Signature,
}

impl SignedReceipt {
    /// Checks both signatures, for whoever is shown a receipt later.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, chain: ChainId) -> Result<(), BadSignature> {
        self.receipt.verify(&self.receipt.consumer, chain, &self.consumer)?;
        self.receipt.verify(&self.receipt.producer, chain, &self.producer)
    }
}

/// A receipt as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptRecord {
    /// The receipt.
    pub receipt: SignedReceipt,
    /// The channel's closing state, with the other side's signature.
    pub closing: Option<SignedChannelState>,
}
