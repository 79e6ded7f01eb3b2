//! The envelope around every kind: sender, nonce, signature.

use serde::{Deserialize, Serialize};

use super::approve::Approve;
use super::bid::PlaceBid;
use super::cancel::Cancel;
use super::channel::{ChallengeChannel, CloseChannel, ForceCloseChannel, OpenChannel};
use super::claim::Claim;
use super::commitment::Commit;
use super::evidence::ReportOffence;
use super::installments::LockInstallments;
use super::lock::CreateLock;
use super::participant::Admit;
use super::post::PostState;
use super::propose::Propose;
use super::reject::RejectReason;
use super::request::PlaceRequest;
use super::station::RecordStation;
use super::transfer::Transfer;
use super::withdraw::Withdraw;
use crate::codec::{self, Decode, DecodeError, Encode};
use crate::crypto::{BadSignature, ChainId, Hash, KeyPair, PublicKey, Purpose, Signature};
use crate::execute::{ExecuteError, Ledger, Sender};
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
    Propose(Propose),
    Approve(Approve),
    ReportOffence(ReportOffence),
    PostState(PostState),
    Withdraw(Withdraw),
}

// 2 was one authority's revocation. It is not given out again: what an old client signs must not become
// something else.
tagged_enum!(Action {
    0 => Transfer(Transfer),
    1 => Admit(Admit),
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
    15 => Propose(Propose),
    16 => Approve(Approve),
    17 => ReportOffence(ReportOffence),
    18 => PostState(PostState),
    19 => Withdraw(Withdraw),
});

impl Action {
    /// Whether it settles what is open already or withdraws, which a revoked account may (G4).
    pub const fn settles(&self) -> bool {
        matches!(
            self,
            Self::Claim(_)
                | Self::Cancel(_)
                | Self::CloseChannel(_)
                | Self::ForceCloseChannel(_)
                | Self::ChallengeChannel(_)
                | Self::PostState(_)
                | Self::Withdraw(_)
        )
    }

    /// Whether it costs no fee, whoever sends it (G5).
    pub const fn is_free(&self) -> bool {
        matches!(self, Self::Withdraw(_))
    }

    /// Whether only an authority can send it (G7).
    pub const fn is_by_authority(&self) -> bool {
        matches!(self, Self::Admit(_) | Self::Propose(_) | Self::Approve(_))
    }

    /// Whether an authority needs no account, standing or money for it (G7).
    pub const fn is_free_for_authorities(&self) -> bool {
        self.is_by_authority() || matches!(self, Self::ReportOffence(_))
    }

    /// The rules that show without the chain.
    fn check(&self, sender: &PublicKey) -> Result<(), RejectReason> {
        match self {
            Self::Transfer(transfer) => transfer.check(sender)?,
            Self::Admit(admit) => admit.check()?,
            Self::RecordStation(record) => record.check()?,
            Self::PlaceRequest(request) => request.check()?,
            Self::PlaceBid(bid) => bid.check()?,
            Self::CreateLock(lock) => lock.check(sender)?,
            Self::LockInstallments(lock) => lock.check()?,
            Self::Claim(claim) => claim.check()?,
            Self::Propose(propose) => propose.check()?,
            Self::ReportOffence(report) => report.check()?,
            Self::Commit(_)
            | Self::Cancel(_)
            | Self::OpenChannel(_)
            | Self::CloseChannel(_)
            | Self::ForceCloseChannel(_)
            | Self::ChallengeChannel(_)
            | Self::PostState(_)
            | Self::Approve(_)
            | Self::Withdraw(_) => {}
        }
        Ok(())
    }

    /// The action's rules that need the state, and its change of the state.
    pub(crate) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        match self {
            Self::Transfer(transfer) => transfer.apply(sender, ledger),
            Self::Admit(admit) => admit.apply(sender, ledger),
            Self::RecordStation(record) => record.apply(sender, ledger),
            Self::PlaceRequest(request) => request.apply(sender, ledger),
            Self::PlaceBid(bid) => bid.apply(sender, ledger),
            Self::Commit(commit) => commit.apply(sender, ledger),
            Self::CreateLock(lock) => lock.apply(sender, ledger),
            Self::LockInstallments(lock) => lock.apply(sender, ledger),
            Self::Claim(claim) => claim.apply(sender, ledger),
            Self::Cancel(cancel) => cancel.apply(sender, ledger),
            Self::OpenChannel(open) => open.apply(sender, ledger),
            Self::CloseChannel(close) => close.apply(sender, ledger),
            Self::ForceCloseChannel(close) => close.apply(sender, ledger),
            Self::ChallengeChannel(challenge) => challenge.apply(sender, ledger),
            Self::Propose(propose) => propose.apply(sender, ledger),
            Self::Approve(approve) => approve.apply(sender, ledger),
            Self::ReportOffence(report) => report.apply(sender, ledger),
            Self::PostState(post) => post.apply(sender, ledger),
            Self::Withdraw(withdraw) => withdraw.apply(sender, ledger),
        }
    }
}

impl Action {
    /// The kind's name, as in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Transfer(_) => "transfer",
            Self::Admit(_) => "admit",
            Self::RecordStation(_) => "record_station",
            Self::PlaceRequest(_) => "place_request",
            Self::PlaceBid(_) => "place_bid",
            Self::Commit(_) => "commit",
            Self::CreateLock(_) => "create_lock",
            Self::LockInstallments(_) => "lock_installments",
            Self::Claim(_) => "claim",
            Self::Cancel(_) => "cancel",
            Self::OpenChannel(_) => "open_channel",
            Self::CloseChannel(_) => "close_channel",
            Self::ForceCloseChannel(_) => "force_close_channel",
            Self::ChallengeChannel(_) => "challenge_channel",
            Self::Propose(_) => "propose",
            Self::Approve(_) => "approve",
            Self::ReportOffence(_) => "report_offence",
            Self::PostState(_) => "post_state",
            Self::Withdraw(_) => "withdraw",
        }
    }
}

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
    /// The action breaks a rule on every chain and at all times.
    #[error(transparent)]
    Action(#[from] RejectReason),
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

    /// Checks rule G1 for this chain.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn verify(self, chain: ChainId) -> Result<VerifiedTransaction, VerifyError> {
        let bytes = self.to_bytes();
        if bytes.len() > MAX_TRANSACTION_BYTES {
            return Err(VerifyError::TooLarge { len: bytes.len() });
        }
        // Before the signature, which takes far longer.
        let sender = self.transaction.sender;
        self.transaction.action.check(&sender)?;
        // The encoding is the transaction's, then the signature's.
        let signed = bytes.get(..bytes.len().saturating_sub(Signature::LEN)).unwrap_or_default();
        sender
            .verify(Purpose::TransactionSignature, chain, signed, &self.signature)
            .map_err(|BadSignature| VerifyError::BadSignature { sender, chain })?;
        let id = Hash::of(Purpose::TransactionId, &bytes);
        Ok(VerifiedTransaction { signed: self, chain, id, encoded_len: bytes.len() })
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
