//! The envelope around every kind: sender, nonce, signature.

use serde::{Deserialize, Serialize};

use super::bid::PlaceBid;
use super::cancel::Cancel;
use super::channel::{ChallengeChannel, CloseChannel, ForceCloseChannel, OpenChannel};
use super::claim::Claim;
use super::commitment::Commit;
use super::installments::LockInstallments;
use super::lock::CreateLock;
use super::participant::{Admit, Revoke};
use super::request::PlaceRequest;
use super::station::RecordStation;
use super::transfer::Transfer;
use crate::codec::{self, Decode, DecodeError, Encode};
use crate::crypto::{ChainId, Hash, KeyPair, PublicKey, Purpose, Signature};
use crate::primitives::Nonce;
use crate::tagged_enum;

/// The longest signed transaction, in bytes: a claim of [`MAX_INSTALLMENTS`] single hashes.
///
/// [`MAX_INSTALLMENTS`]: crate::payment::MAX_INSTALLMENTS
pub const MAX_TRANSACTION_BYTES: usize = 40 * 1024;

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // each variant's type says what it is
pub enum Action {
    Transfer(Transfer),
    Admit(Admit),
    Revoke(Revoke),
    RecordStation(RecordStation),
    PlaceRequest(PlaceRequest),
    PlaceBid(PlaceBid),
    Commit(Commit),
    CreateLock(CreateLock),
    LockInstallments(LockInstallments),
    Claim(Claim),
    Cancel(Cancel),
    OpenChannel(OpenChannel),
    CloseChannel(CloseChannel),
    ForceCloseChannel(ForceCloseChannel),
    ChallengeChannel(ChallengeChannel),
}

tagged_enum!(Action {
    0 => Transfer(Transfer),
    1 => Admit(Admit),
    2 => Revoke(Revoke),
    3 => RecordStation(RecordStation),
    4 => PlaceRequest(PlaceRequest),
    5 => PlaceBid(PlaceBid),
    6 => Commit(Commit),
    7 => CreateLock(CreateLock),
    8 => LockInstallments(LockInstallments),
    9 => Claim(Claim),
    10 => Cancel(Cancel),
    11 => OpenChannel(OpenChannel),
    12 => CloseChannel(CloseChannel),
    13 => ForceCloseChannel(ForceCloseChannel),
    14 => ChallengeChannel(ChallengeChannel),
});

/// A transaction before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Transaction {
    /// Who acts, pays the fee and signs.
    pub sender: PublicKey,
    /// The nonce of the sender's account.
    pub nonce: Nonce,
    /// What is done.
    pub action: Action,
}

impl Transaction {
    /// The transaction signed for this chain. The key must be the sender's.
    pub fn sign(self, key: &KeyPair, chain: ChainId) -> SignedTransaction {
        let signature = key.sign(Purpose::TransactionSignature, chain, &codec::encode(&self));
        SignedTransaction { transaction: self, signature }
    }
}

/// A transaction as it travels. Nothing about it is known to be true yet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// What is signed, with the chain's id.
    pub transaction: Transaction,
    /// The sender's.
    pub signature: Signature,
}

/// Why a transaction cannot stand in any block of the chain (G1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Longer than any may be.
    #[error("the transaction has {len} bytes, but at most {MAX_TRANSACTION_BYTES} are allowed")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// Not the sender's signature for this chain.
    #[error("the signature is not the sender's ({sender}) for chain {chain}")]
    BadSignature {
        /// Who should have signed.
        sender: PublicKey,
        /// For which chain.
        chain: ChainId,
    },
}

impl SignedTransaction {
    /// Reads a transaction from its encoding.
    ///
    /// # Errors
    /// [`DecodeError`], above [`MAX_TRANSACTION_BYTES`] too.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, MAX_TRANSACTION_BYTES)
    }

    /// The encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The transaction's id: the hash of its signed bytes.
    pub fn id(&self) -> Hash {
        Hash::of(Purpose::TransactionId, &self.to_bytes())
    }
}

/// A transaction whose rule G1 was checked for one chain: its size, its signature, and what its
/// action alone shows. Only [`SignedTransaction::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTransaction {
    signed: SignedTransaction,
    chain: ChainId,
    id: Hash,
    encoded_len: usize,
}

impl VerifiedTransaction {
    /// The transaction.
    pub const fn signed(&self) -> &SignedTransaction {
        &self.signed
    }

    /// The transaction, to send or store it.
    pub fn into_signed(self) -> SignedTransaction {
        self.signed
    }

    /// Who acts.
    pub const fn sender(&self) -> &PublicKey {
        &self.signed.transaction.sender
    }

    /// Its nonce.
    pub const fn nonce(&self) -> Nonce {
        self.signed.transaction.nonce
    }

    /// What is done.
    pub const fn action(&self) -> &Action {
        &self.signed.transaction.action
    }

    /// The chain that it was signed for.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The hash of its signed bytes.
    pub const fn id(&self) -> Hash {
        self.id
    }

    /// The length of its encoding, in bytes, which the fee and the block's limit count.
    pub const fn encoded_len(&self) -> usize {
        self.encoded_len
    }
}
