//! Hashes, keys and signatures.
//!
//! Every hash has a purpose, which is a BLAKE3 derive-key context of its own, so that bytes of one
//! kind can never pass for another. Every signature is over such a hash of the chain's id and the
//! message. Signatures are checked with `verify_strict` (RFC 8032, with small-order points and
//! keys refused), one by one: whether a signature is valid never depends on its company.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use bech32::{Bech32m, Hrp};
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::serde_as_text;

/// What a hash is of. Each has a context string of its own, which is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The id of a chain: its genesis.
    Genesis,
    /// The id of a transaction: its signed bytes.
    TransactionId,
    /// What a transaction's sender signs.
    TransactionSignature,
    /// The id of a block: its header.
    BlockId,
    /// A leaf of a Merkle tree over a list.
    MerkleLeaf,
    /// An inner node of a Merkle tree over a list.
    MerkleNode,
    /// The root of a Merkle tree over a list, with the list's length.
    MerkleRoot,
    /// Where a key of the state lies.
    StateKey,
    /// An entry of the state.
    StateValue,
    /// A bucket of the state's tree.
    StateBucket,
    /// An inner node of the state's tree.
    StateNode,
    /// A set of authorities.
    AuthoritySet,
    /// The consumer's decision, c = H(zeta, i, r) (P18 3.3).
    Commitment,
    /// A hash lock, y = H(r) (P21 II-B), and each link of a hash chain.
    HashLock,
    /// A payment channel's state, signed by both sides.
    ChannelState,
    /// The receipt of a session, signed by both sides.
    Receipt,
    /// A message of the session protocol that its sender vouches for.
    SessionMessage,
    /// A consensus vote to notarize.
    VoteNotarize,
    /// A consensus vote to nullify.
    VoteNullify,
    /// A consensus vote to finalize.
    VoteFinalize,
    /// Where an authority can be reached, signed by it.
    AuthorityAddress,
    /// The key that a sealed place is encrypted with.
    SealedPlace,
    /// A key derived from a wallet's seed.
    WalletKey,
}

impl Purpose {
    const fn context(self) -> &'static str {
        match self {
            Self::Genesis => "evchain 2026 genesis",
            Self::TransactionId => "evchain 2026 transaction id",
            Self::TransactionSignature => "evchain 2026 transaction signature",
            Self::BlockId => "evchain 2026 block id",
            Self::MerkleLeaf => "evchain 2026 merkle leaf",
            Self::MerkleNode => "evchain 2026 merkle node",
            Self::MerkleRoot => "evchain 2026 merkle root",
            Self::StateKey => "evchain 2026 state key",
            Self::StateValue => "evchain 2026 state value",
            Self::StateBucket => "evchain 2026 state bucket",
            Self::StateNode => "evchain 2026 state node",
            Self::AuthoritySet => "evchain 2026 authority set",
            Self::Commitment => "evchain 2026 commitment",
            Self::HashLock => "evchain 2026 hash lock",
            Self::ChannelState => "evchain 2026 channel state",
            Self::Receipt => "evchain 2026 receipt",
            Self::SessionMessage => "evchain 2026 session message",
            Self::VoteNotarize => "evchain 2026 vote notarize",
            Self::VoteNullify => "evchain 2026 vote nullify",
            Self::VoteFinalize => "evchain 2026 vote finalize",
            Self::AuthorityAddress => "evchain 2026 authority address",
            Self::SealedPlace => "evchain 2026 sealed place",
            Self::WalletKey => "evchain 2026 wallet key",
        }
    }

    /// The hasher of `blake3::derive_key` for this context. To derive the key of the context takes
    /// as long as to hash a node of a tree, so it is done once for each.
    fn hasher(self) -> blake3::Hasher {
        const COUNT: usize = Purpose::WalletKey as usize + 1;
        static KEYS: [OnceLock<ContextKey>; COUNT] = [const { OnceLock::new() }; COUNT];
        match KEYS.get(self as usize) {
            Some(key) => blake3::Hasher::new_from_context_key(
                key.get_or_init(|| hash_derive_key_context(self.context())),
            ),
            None => blake3::Hasher::new_derive_key(self.context()),
        }
    }
}

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Hash([u8; Hash::LEN]);

impl Hash {
    /// Bytes in a hash.
    pub const LEN: usize = 32;
    /// What stands where there is nothing to hash, such as the parent of genesis.
    pub const ZERO: Self = Self([0; Self::LEN]);

    /// The hash of these bytes for this purpose.
    pub fn of(purpose: Purpose, bytes: &[u8]) -> Self {
        Self::of_parts(purpose, &[bytes])
    }

    /// The hash of these parts, one after the other. The caller sees to it that only one split
    /// gives the same bytes: parts of fixed length, or with their length before them.
    pub fn of_parts(purpose: Purpose, parts: &[&[u8]]) -> Self {
        let mut hasher = purpose.hasher();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The hash of a value's encoding.
    pub fn of_value<T: Encode>(purpose: Purpose, value: &T) -> Self {
        Self::of(purpose, &crate::codec::encode(value))
    }

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// The id of a chain: the hash of its genesis. Part of everything that is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Hash);

/// An Ed25519 public key: who somebody is on the chain. Shown as bech32m, `evc1...`.
///
/// Any 32 bytes can be one; a key that is no point, weak or written in a second way has no valid
/// signature, so it can receive and never send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PublicKey([u8; PublicKey::LEN]);

impl PublicKey {
    /// Bytes in a public key.
    pub const LEN: usize = 32;
    const HRP: Hrp = Hrp::parse_unchecked("evc");

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether a signature under this key can be valid.
    pub fn is_valid(&self) -> bool {
        self.verifying_key().is_ok()
    }

    /// Checks a signature of `message` for this purpose on this chain.
    ///
    /// # Errors
    /// [`BadSignature`], for an unusable key too.
    pub fn verify(
        &self,
        purpose: Purpose,
        chain: ChainId,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let digest = signing_digest(purpose, chain, message);
        self.verifying_key()?
            .verify_strict(digest.as_bytes(), &ed25519_dalek::Signature::from_bytes(&signature.0))
            .map_err(|_| BadSignature)
    }

    /// The X25519 public key of the same secret (RFC 7748 4.1): what others encrypt to.
    pub(crate) fn agreement_key(&self) -> Result<[u8; Self::LEN], BadSignature> {
        Ok(self.verifying_key()?.to_montgomery().to_bytes())
    }

    fn verifying_key(&self) -> Result<VerifyingKey, BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        if key.is_weak() || !self.is_canonical() {
            return Err(BadSignature);
        }
        Ok(key)
    }

    /// Whether the y coordinate is below the field's prime, 2^255 - 19. Decompression reduces
    /// larger ones silently, which would give those few keys a second name.
    fn is_canonical(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        !(*first >= 0xed && middle.iter().all(|byte| *byte == 0xff) && last & 0x7f == 0x7f)
    }
}

/// A signature that is not valid for its key, purpose, chain and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Signature([u8; Signature::LEN]);

impl Signature {
    /// Bytes in a signature.
    pub const LEN: usize = 64;

    /// The signature with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// A secret key with its public key. Overwritten in memory when dropped.
#[derive(Clone)]
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// The pair of this secret.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The secret, for writing it to a key file.
    pub fn secret(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The X25519 secret of [`PublicKey::agreement_key`].
    pub(crate) fn agreement_secret(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_scalar_bytes())
    }

    /// Signs a message for this purpose on this chain.
    pub fn sign(&self, purpose: Purpose, chain: ChainId, message: &[u8]) -> Signature {
        Signature(self.0.sign(signing_digest(purpose, chain, message).as_bytes()).to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public_key())
    }
}

/// The secret behind a hash lock, or a link of a hash chain: 32 bytes (P21 II-B).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Preimage([u8; Preimage::LEN]);

impl Preimage {
    /// Bytes in a preimage.
    pub const LEN: usize = 32;

    /// The preimage with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// y = H(r), which locks money until r is shown.
    pub fn lock(&self) -> Hash {
        Hash::of(Purpose::HashLock, &self.0)
    }
}

fn signing_digest(purpose: Purpose, chain: ChainId, message: &[u8]) -> Hash {
    Hash::of_parts(purpose, &[chain.0.as_bytes(), message])
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, Self::HRP, &self.0).map_err(|_| fmt::Error)
    }
}

/// Text that is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// Not bech32, or a character mistyped.
    #[error("'{text}' is not an address: {reason}")]
    NotBech32 {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// bech32 of something else.
    #[error("'{0}' is not an evchain address: those start with evc1 and hold 32 bytes")]
    NotAKey(String),
}

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let parsed = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
            .map_err(|error| ParseKeyError::NotBech32 { text: text.to_owned(), reason: error.to_string() })?;
        let bytes: Vec<u8> = parsed.byte_iter().collect();
        match <[u8; Self::LEN]>::try_from(bytes) {
            Ok(bytes) if parsed.hrp() == Self::HRP => Ok(Self(bytes)),
            _ => Err(ParseKeyError::NotAKey(text.to_owned())),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not this many bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {len} bytes in hexadecimal")]
pub struct ParseHexError {
    text: String,
    len: usize,
}

impl ParseHexError {
    pub(crate) fn new(text: &str, len: usize) -> Self {
        Self { text: text.to_owned(), len }
    }
}

macro_rules! hex_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;

            fn from_str(text: &str) -> Result<Self, ParseHexError> {
                let mut bytes = [0; Self::LEN];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHexError::new(text, Self::LEN))?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_text!(Hash);
hex_text!(Signature);
hex_text!(Preimage);
serde_as_text!(Hash);
serde_as_text!(Signature);
serde_as_text!(Preimage);
serde_as_text!(PublicKey);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
