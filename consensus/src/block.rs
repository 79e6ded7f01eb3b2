//! Blocks as the consensus sees them: a header, its justification and an opaque payload.

use std::sync::Arc;

use bincode::de::read::Reader;
use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use evchain_protocol::block::Header;
use evchain_protocol::codec::{Decode, Encode, List};
use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::primitives::{Height, Timestamp, View};
use evchain_protocol::tagged_enum;

use crate::authority_set::Committee;
use crate::certificate::{Certificate, Subject};

/// The largest payload of a block, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// The most consecutive views without a notarized block that one justification can bridge.
pub const MAX_SKIPS: usize = 4096;

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

/// Why a block's parent may be built upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentProof {
    /// It is the epoch's root.
    Root,
    /// A notarization or a finalization of it.
    Certificate(Arc<Certificate>),
}
tagged_enum!(ParentProof { 0 => Root, 1 => Certificate(Arc<Certificate>) });

/// Everything that a proposal needs to be believed: the parent is certified, and every view between
/// the parent's and the proposal's is nullified.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Justification {
    /// Why the parent may be built upon.
    pub parent: ParentProof,
    /// A nullification for every view between, ascending.
    pub skips: List<Arc<Certificate>, MAX_SKIPS>,
}

/// Why a justification does not fit its block. Signatures are another matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JustificationError {
    /// The parent's view is not below the block's.
    #[error("parent view {parent} is not below view {view}")]
    ParentNotBelow {
        /// The parent's view.
        parent: View,
        /// The block's view.
        view: View,
    },
    /// The proof is of another block or view, or of the wrong kind.
    #[error("the proof of the parent does not prove it")]
    WrongParentProof,
    /// A view between is without its nullification, or there are too many or others.
    #[error("the views between {parent} and {view} are not all skipped, in order")]
    WrongSkips {
        /// The parent's view.
        parent: View,
        /// The block's view.
        view: View,
    },
}

impl Justification {
    /// Hash of the justification, which the header commits to.
    pub fn root(&self) -> Hash {
        Hash::of_value(Purpose::Justification, self)
    }

    /// Whether it proves what `header` needs, in this epoch, if all its certificates are valid.
    ///
    /// # Errors
    /// See [`JustificationError`].
    pub fn check_shape(&self, header: &Header, committee: &Committee) -> Result<(), JustificationError> {
        let (parent, view) = (header.parent_view, header.view);
        if parent >= view {
            return Err(JustificationError::ParentNotBelow { parent, view });
        }
        let parent_is_proven = match &self.parent {
            ParentProof::Root => parent == View::ZERO && header.parent_hash == committee.root().hash,
            ParentProof::Certificate(certificate) => match certificate.subject {
                Subject::Notarize(subject) | Subject::Finalize(subject) => {
                    subject.epoch == committee.epoch()
                        && subject.view == parent
                        && subject.block == header.parent_hash
                        && parent > View::ZERO
                }
                Subject::Nullify(_) => false,
            },
        };
        if !parent_is_proven {
            return Err(JustificationError::WrongParentProof);
        }
        let skipped = self.skips.iter().map(|skip| skip.subject);
        let needed = (parent.get()..view.get())
            .skip(1)
            .map(|between| Subject::nullify(committee.epoch(), View::new(between)));
        if !skipped.eq(needed) {
            return Err(JustificationError::WrongSkips { parent, view });
        }
        Ok(())
    }

    /// Its certificates: the parent's, then the skips.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let parent = match &self.parent {
            ParentProof::Root => None,
            ParentProof::Certificate(certificate) => Some(certificate),
        };
        parent.into_iter().chain(self.skips.iter())
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

    /// About its size on the wire, in bytes, without encoding it.
    pub fn size_hint(&self) -> usize {
        const HEADER_BYTES: usize = 512;
        self.just
            .certificates()
            .map(|certificate| certificate.size_hint())
            .fold(HEADER_BYTES.saturating_add(self.payload.0.len()), usize::saturating_add)
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
