//! Blocks as the consensus sees them: a header, its justification and an opaque payload.

use bincode::de::read::Reader;
use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use evchain_protocol::block::Header;
use evchain_protocol::codec::{Decode, Encode};
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::Justification;
use evchain_protocol::params::MAX_BODY_BYTES;
use evchain_protocol::primitives::{Height, Timestamp, View};

/// The largest payload of a block, in bytes: whatever a chain's parameters let a leader pack.
pub const MAX_PAYLOAD_BYTES: usize = MAX_BODY_BYTES;

/// Which block, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef {
    /// The block's id.
    pub hash: Hash,
    /// Its height.
    pub height: Height,
    /// Its view, 0 for the epoch's root.
    pub view: View,
    /// Its time.
    pub time_ms: Timestamp,
}

impl BlockRef {
    /// The block with this header.
    pub fn of_header(header: &Header) -> Self {
        Self { hash: header.hash(), height: header.height, view: header.view, time_ms: header.time_ms }
    }
}

/// A block's payload: bytes that only the ledger understands.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload(Vec<u8>);

/// A payload of more than [`MAX_PAYLOAD_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {0} bytes, but at most {MAX_PAYLOAD_BYTES} are accepted")]
pub struct PayloadTooLarge(pub usize);

impl Payload {
    /// The payload with these bytes.
    ///
    /// # Errors
    /// [`PayloadTooLarge`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, PayloadTooLarge> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadTooLarge(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl Encode for Payload {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        u32::try_from(self.0.len())
            .map_err(|_| EncodeError::Other("payload length over u32"))?
            .encode(encoder)?;
        encoder.writer().write(&self.0)
    }
}

impl<C> Decode<C> for Payload {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        const CHUNK_BYTES: usize = 64 * 1024;
        let len = u32::decode(decoder)? as usize;
        if len > MAX_PAYLOAD_BYTES {
            return Err(DecodeError::OtherString(PayloadTooLarge(len).to_string()));
        }
        decoder.claim_bytes_read(len)?;
        // Grows as bytes really arrive: a length alone makes nobody allocate.
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let start = bytes.len();
            bytes.resize(len.min(start.saturating_add(CHUNK_BYTES)), 0);
            if let Some(chunk) = bytes.get_mut(start..) {
                decoder.reader().read(chunk)?;
            }
        }
        Ok(Self(bytes))
    }
}

impl<'de, C> BorrowDecode<'de, C> for Payload {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// A block. Its justification is always the one that its header commits to; whether the payload is
/// the header's, only execution can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    hash: Hash,
    header: Header,
    just: Justification,
    payload: Payload,
}

/// A justification that is not the one that the header commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the justification is not the one that the header commits to")]
pub struct JustificationMismatch;

impl Block {
    /// The block with these parts.
    ///
    /// # Errors
    /// [`JustificationMismatch`] where `header.just_root` is not the hash of `just`.
    pub fn new(header: Header, just: Justification, payload: Payload) -> Result<Self, JustificationMismatch> {
        if header.just_root != just.root() {
            return Err(JustificationMismatch);
        }
        Ok(Self { hash: header.hash(), header, just, payload })
    }

    /// The block of a header whose `just_root` was computed from this justification.
    pub(crate) fn from_own_parts(header: Header, just: Justification, payload: Payload) -> Self {
        Self { hash: header.hash(), header, just, payload }
    }

    /// The block's id, the hash of its header.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Its header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its justification.
    pub const fn just(&self) -> &Justification {
        &self.just
    }

    /// Its payload.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Which block, and where it stands.
    pub const fn reference(&self) -> BlockRef {
        BlockRef {
            hash: self.hash,
            height: self.header.height,
            view: self.header.view,
            time_ms: self.header.time_ms,
        }
    }

    /// Its size on the wire without justification and payload, in bytes, or a little more.
    pub(crate) const HEADER_BYTES: usize = 512;

    /// About its size on the wire, in bytes, without encoding it.
    pub fn size_hint(&self) -> usize {
        self.just
            .certificates()
            .map(|certificate| certificate.size_hint())
            .fold(Self::HEADER_BYTES.saturating_add(self.payload.0.len()), usize::saturating_add)
    }
}

impl Encode for Block {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.header.encode(encoder)?;
        self.just.encode(encoder)?;
        self.payload.encode(encoder)
    }
}

impl<C> Decode<C> for Block {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (header, just, payload) =
            (Header::decode(decoder)?, Justification::decode(decoder)?, Payload::decode(decoder)?);
        Self::new(header, just, payload).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

impl<'de, C> BorrowDecode<'de, C> for Block {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
