//! Payment channels, and the states that both sides sign beside the chain.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, encode};
use crate::crypto::{BadSignature, ChainId, KeyPair, PublicKey, Purpose, Signature};
use crate::payment::InstallmentCount;
use crate::primitives::{Amount, Span, Timestamp, TxRef};

/// How many installments a channel releases before any state is signed: the deposit.
pub const INITIAL_RELEASED: u32 = 1;

/// A channel under way. It leaves the state when it pays out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Channel {
    /// Who pays.
    pub consumer: PublicKey,
    /// Who is paid.
    pub producer: PublicKey,
    /// For which request.
    pub request: TxRef,
    /// b: the bid's price, and the collateral that the channel holds.
    pub price: Amount,
    /// N.
    pub count: InstallmentCount,
    /// How long a forced close can be challenged.
    pub challenge: Span,
    /// When it pays out if nobody closes it.
    pub deadline: Timestamp,
    /// The bid's: before this the consumer can cancel.
    pub cancel_by: Timestamp,
    /// The forced close under way.
    pub posted: Option<PostedState>,
    /// Whether the producer posted a state to which somebody else knew a newer one (H4).
    pub dispute_lost: bool,
}

/// The newest state that was posted on the chain, and until when a newer one can replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PostedState {
    /// Installments released.
    pub released: u32,
    /// When the channel pays out.
    pub until: Timestamp,
    /// Who posted it.
    pub by: PublicKey,
}

impl Channel {
    /// When it pays out by itself (C10).
    pub const fn due(&self) -> Timestamp {
        match self.posted {
            Some(posted) => posted.until,
            None => self.deadline,
        }
    }

    /// Installments that a payout by itself would pay for.
    pub const fn released(&self) -> u32 {
        match self.posted {
            Some(posted) => posted.released,
            None => INITIAL_RELEASED,
        }
    }

    /// The producer's share when this many installments are released.
    pub fn share(&self, released: u32) -> Amount {
        self.count.money_released(self.price, released)
    }

    /// The party across from `party`, if that is one of the two.
    pub fn other_side(&self, party: &PublicKey) -> Option<PublicKey> {
        match party {
            key if *key == self.consumer => Some(self.producer),
            key if *key == self.producer => Some(self.consumer),
            _ => None,
        }
    }
}

/// A channel's state beside the chain. Later states release more, so they only ever move money to
/// the producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChannelState {
    /// Of which channel.
    pub channel: TxRef,
    /// How many installments the producer gets, 1 to N.
    pub released: u32,
    /// Whether the signer agrees that the channel ends with this state.
    pub closing: bool,
}

impl ChannelState {
    /// One side's agreement to this state.
    pub fn sign(self, key: &KeyPair, chain: ChainId) -> SignedChannelState {
        let signature = key.sign(Purpose::ChannelState, chain, &encode(&self));
        SignedChannelState { state: self, signature }
    }
}

/// A state with one side's signature. Who shows it on the chain adds the other by signing the
/// transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedChannelState {
    /// The state.
    pub state: ChannelState,
    /// Over the chain's id and the state.
    pub signature: Signature,
}

impl SignedChannelState {
    /// Checks that `signer` signed this state.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, signer: &PublicKey, chain: ChainId) -> Result<(), BadSignature> {
        signer.verify(Purpose::ChannelState, chain, &encode(&self.state), &self.signature)
    }
}

/// A state with both sides' signatures: what anybody can post (C12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CoSignedState {
    /// The state.
    pub state: ChannelState,
    /// The consumer's, over the chain's id and the state.
    pub consumer: Signature,
    /// The producer's, over the same.
    pub producer: Signature,
}

impl CoSignedState {
    /// Checks that this channel's two sides signed this state.
    ///
    /// # Errors
    /// The side that did not.
    pub fn verify(&self, channel: &Channel, chain: ChainId) -> Result<(), NotSignedBy> {
        for (signer, signature) in [(channel.consumer, self.consumer), (channel.producer, self.producer)] {
            let signed = SignedChannelState { state: self.state, signature };
            signed.verify(&signer, chain).map_err(|BadSignature| NotSignedBy(signer))?;
        }
        Ok(())
    }
}

/// A side of a channel whose signature is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state is not signed by {0}")]
pub struct NotSignedBy(pub PublicKey);
