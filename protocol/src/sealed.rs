//! Where a vehicle is, sealed to the consumer who asked (B7): the chain never shows it.
//!
//! X25519 with a key of its own for each bid, BLAKE3, and ChaCha20-Poly1305. The consumer's key is the
//! X25519 form of the Ed25519 key that made the request (`docs/decisions/0015-sealed-places.md`).

use std::fmt;
use std::str::FromStr;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use zeroize::Zeroizing;

use crate::codec::{Decode, Encode};
use crate::crypto::{ChainId, Hash, KeyPair, ParseHexError, PublicKey, Purpose};
use crate::primitives::{Position, TxRef};
use crate::serde_as_text;
use crate::state::auction::Place;
use crate::text::Text;

/// The longest contact in a sealed place, in bytes.
pub const MAX_SEALED_CONTACT_BYTES: usize = 64;

const AGREEMENT_BYTES: usize = 32;
const POSITION_BYTES: usize = 8;
const PLAIN_BYTES: usize = POSITION_BYTES + MAX_SEALED_CONTACT_BYTES;
const TAG_BYTES: usize = 16;

/// A [`Place`] that only one consumer can read, for one bid. All have the same length, which tells
/// nothing of the contact's.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SealedPlace([u8; SealedPlace::LEN]);

/// The bid that a sealed place belongs to. In another it opens to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFor {
    /// The chain.
    pub chain: ChainId,
    /// The request.
    pub request: TxRef,
    /// Who bids.
    pub producer: PublicKey,
}

/// A place that cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The consumer's key is none that can be encrypted to.
    #[error("nothing can be encrypted to the key {0}")]
    UnusableKey(PublicKey),
    /// The contact is too long.
    #[error("the contact has {len} bytes, and a sealed place has room for {MAX_SEALED_CONTACT_BYTES}")]
    ContactTooLong {
        /// Its length.
        len: usize,
    },
}

/// A sealed place that cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is for another consumer or another bid, or was changed.
    #[error("it is not sealed to this key for this bid")]
    NotForThis,
    /// What was sealed is no place.
    #[error("what is sealed in it is no place")]
    NoPlace,
}

impl SealedPlace {
    /// Bytes in a sealed place.
    pub const LEN: usize = AGREEMENT_BYTES + PLAIN_BYTES + TAG_BYTES;

    /// Seals a place to the consumer. `secret` must be random and is used once: with two places sealed by
    /// one secret everybody could tell in which bytes they differ.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        place: &Place,
        consumer: &PublicKey,
        bid: &SealedFor,
        secret: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, SealError> {
        let theirs = consumer.agreement_key().map_err(|_| SealError::UnusableKey(*consumer))?;
        let own = x25519_dalek::x25519(**secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        let shared = Zeroizing::new(x25519_dalek::x25519(**secret, theirs));
        let mut plain = plain_bytes(place)?;
        let tag = cipher(&shared, &own, &theirs, bid)
            .encrypt_in_place_detached(&Nonce::default(), &[], &mut *plain)
            // Only above 256 GiB.
            .map_err(|_| SealError::ContactTooLong { len: place.contact.as_str().len() })?;
        let mut sealed = [0; Self::LEN];
        let parts = own.iter().chain(plain.iter()).chain(tag.iter());
        sealed.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        Ok(Self(sealed))
    }

    /// Opens it with the key that made the request.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, consumer: &KeyPair, bid: &SealedFor) -> Result<Place, OpenError> {
        let ours = consumer.public_key().agreement_key().map_err(|_| OpenError::NotForThis)?;
        let (theirs, rest) = self.0.split_first_chunk::<AGREEMENT_BYTES>().ok_or(OpenError::NotForThis)?;
        let (hidden, tag) = rest.split_first_chunk::<PLAIN_BYTES>().ok_or(OpenError::NotForThis)?;
        let shared = Zeroizing::new(x25519_dalek::x25519(*consumer.agreement_secret(), *theirs));
        // From a point of small order everybody would know it.
        if *shared == [0; 32] {
            return Err(OpenError::NotForThis);
        }
        let mut plain = Zeroizing::new(*hidden);
        cipher(&shared, theirs, &ours, bid)
            .decrypt_in_place_detached(&Nonce::default(), &[], &mut *plain, Tag::from_slice(tag))
            .map_err(|_| OpenError::NotForThis)?;
        place_of(&plain).ok_or(OpenError::NoPlace)
    }
}

/// The cipher for one bid. Its key is used once, so that the nonce need not differ.
fn cipher(shared: &[u8; 32], producer: &[u8; 32], consumer: &[u8; 32], bid: &SealedFor) -> ChaCha20Poly1305 {
    let request = bid.request.to_be_bytes();
    let chain = bid.chain.0.as_bytes();
    let parts: [&[u8]; 6] = [shared, producer, consumer, chain, &request, bid.producer.as_bytes()];
    let key = Hash::of_parts(Purpose::SealedPlace, &parts);
    ChaCha20Poly1305::new(Key::from_slice(key.as_bytes()))
}

/// Latitude, longitude, and the contact with zeros behind it, which no text has.
fn plain_bytes(place: &Place) -> Result<Zeroizing<[u8; PLAIN_BYTES]>, SealError> {
    let contact = place.contact.as_str().as_bytes();
    if contact.len() > MAX_SEALED_CONTACT_BYTES {
        return Err(SealError::ContactTooLong { len: contact.len() });
    }
    let (north, east) = (place.position.latitude_e7.to_be_bytes(), place.position.longitude_e7.to_be_bytes());
    let mut plain = Zeroizing::new([0; PLAIN_BYTES]);
    plain.iter_mut().zip(north.iter().chain(&east).chain(contact)).for_each(|(to, from)| *to = *from);
    Ok(plain)
}

fn place_of(plain: &[u8; PLAIN_BYTES]) -> Option<Place> {
    let (north, rest) = plain.split_first_chunk()?;
    let (east, contact) = rest.split_first_chunk()?;
    let position =
        Position { latitude_e7: i32::from_be_bytes(*north), longitude_e7: i32::from_be_bytes(*east) };
    let text = std::str::from_utf8(contact).ok()?.trim_end_matches('\0');
    position.is_on_globe().then_some(Place { position, contact: Text::new(text).ok()? })
}

impl fmt::Display for SealedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SealedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SealedPlace {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, ParseHexError> {
        let mut bytes = [0; Self::LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHexError::new(text, Self::LEN))?;
        Ok(Self(bytes))
    }
}

serde_as_text!(SealedPlace);
