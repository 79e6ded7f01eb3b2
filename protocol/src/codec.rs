//! The one encoding of everything that is hashed, signed, sent or stored.
//!
//! bincode 2 with fixed-width little-endian integers, read to the last byte and under a size
//! limit. Lists carry a `u32` length and a maximum in their type, enums a one-byte tag, so every
//! value has exactly one encoding: what decodes encodes again to the same bytes.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError as BincodeError, EncodeError};
use serde::{Deserialize, Serialize};

pub use bincode::{Decode, Encode};

/// Nothing that is decoded in one piece may be larger, in bytes: a whole block with its body.
pub const MAX_DECODE_BYTES: usize = 16 * 1024 * 1024;

type Config = Configuration<LittleEndian, Fixint, Limit<MAX_DECODE_BYTES>>;

const CONFIG: Config = bincode::config::standard()
    .with_fixed_int_encoding()
    .with_little_endian()
    .with_limit::<MAX_DECODE_BYTES>();

/// Why bytes were not accepted as a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than this kind of message may have.
    #[error("{len} bytes, but at most {max} are accepted here")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// The value ended before its bytes did.
    #[error("{0} bytes after the end of the value")]
    TrailingBytes(usize),
    /// Not an encoding of the type: cut off, an unknown tag, a list over its maximum.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// The encoding of a value.
///
/// # Panics
/// Never for the types of this project: their `Encode` writes to memory and has no failing path.
#[allow(clippy::expect_used)]
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    // Encoding has no limit: a value that exists in memory was built under the limits of its type.
    bincode::encode_to_vec(value, CONFIG.with_no_limit()).expect("encoding to memory cannot fail")
}

/// The length of a value's encoding, in bytes.
pub fn encoded_len<T: Encode>(value: &T) -> usize {
    encode(value).len()
}

/// Decodes a value that takes up all of `bytes`, of which there may be at most `max_bytes`.
///
/// # Errors
/// See [`DecodeError`]; the input is invalid in every case.
pub fn decode<T: Decode<()>>(bytes: &[u8], max_bytes: usize) -> Result<T, DecodeError> {
    let max = max_bytes.min(MAX_DECODE_BYTES);
    if bytes.len() > max {
        return Err(DecodeError::TooLarge { len: bytes.len(), max });
    }
    let (value, read) = bincode::decode_from_slice(bytes, CONFIG)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match bytes.len().saturating_sub(read) {
        0 => Ok(value),
        trailing => Err(DecodeError::TrailingBytes(trailing)),
    }
}

/// A list of at most `MAX` items. Its encoding is a `u32` count and the items.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<T>", into = "Vec<T>")]
#[serde(bound(serialize = "T: Serialize + Clone", deserialize = "T: Deserialize<'de>"))]
pub struct List<T, const MAX: usize>(Vec<T>);

/// A list that was given more items than its type allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} items, but at most {max} are accepted here")]
pub struct TooManyItems {
    /// Items given.
    pub len: usize,
    /// Items accepted.
    pub max: usize,
}

impl<T, const MAX: usize> List<T, MAX> {
    /// The list of these items.
    ///
    /// # Errors
    /// [`TooManyItems`] above `MAX`.
    pub fn new(items: Vec<T>) -> Result<Self, TooManyItems> {
        if items.len() > MAX {
            return Err(TooManyItems { len: items.len(), max: MAX });
        }
        Ok(Self(items))
    }

    /// A list as long as this, of what `f` makes of each item.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> List<U, MAX> {
        List(self.0.iter().map(f).collect())
    }

    /// A list of those of these items for which `keep` holds.
    #[must_use]
    pub fn filter(self, keep: impl FnMut(&T) -> bool) -> Self {
        Self(self.0.into_iter().filter(keep).collect())
    }

    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> std::ops::Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// Items change in place; their number does not.
impl<T, const MAX: usize> std::ops::DerefMut for List<T, MAX> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = TooManyItems;

    fn try_from(items: Vec<T>) -> Result<Self, TooManyItems> {
        Self::new(items)
    }
}

impl<T, const MAX: usize> From<List<T, MAX>> for Vec<T> {
    fn from(list: List<T, MAX>) -> Self {
        list.0
    }
}

impl<T: Encode, const MAX: usize> Encode for List<T, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        u32::try_from(self.0.len())
            .map_err(|_| EncodeError::Other("list length over u32"))?
            .encode(encoder)?;
        self.0.iter().try_for_each(|item| item.encode(encoder))
    }
}

impl<C, T: Decode<C>, const MAX: usize> Decode<C> for List<T, MAX> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        let len = u32::decode(decoder)? as usize;
        if len > MAX {
            return Err(BincodeError::OtherString(format!("{len} items in a list of at most {MAX}")));
        }
        // Grows as items really arrive: a length alone makes nobody allocate.
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(T::decode(decoder)?);
        }
        Ok(Self(items))
    }
}

impl<'de, C, T: Decode<C>, const MAX: usize> BorrowDecode<'de, C> for List<T, MAX> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        Self::decode(decoder)
    }
}

/// What [`tagged_enum!`](crate::tagged_enum) answers to a tag that names no variant.
#[doc(hidden)]
pub fn unknown_tag(type_name: &'static str, tag: u8) -> BincodeError {
    BincodeError::OtherString(format!("no {type_name} has the tag {tag}"))
}

/// Gives an enum its encoding: a one-byte tag, then the variant's only field or its named fields
/// in the order given here.
///
/// ```
/// use evchain_protocol::{codec, tagged_enum};
///
/// #[derive(Debug, PartialEq)]
/// enum Shape { Empty, Square(u16), Box { width: u8, height: u8 } }
/// tagged_enum!(Shape { 0 => Empty, 1 => Square(u16), 2 => Box { width: u8, height: u8 } });
///
/// assert_eq!(codec::encode(&Shape::Square(258)), [1, 2, 1]);
/// assert_eq!(codec::encode(&Shape::Box { width: 3, height: 4 }), [2, 3, 4]);
/// assert_eq!(codec::decode(&[0], 16), Ok(Shape::Empty));
/// ```
#[macro_export]
macro_rules! tagged_enum {
    ($name:ident { $($tag:literal => $variant:ident $(($inner:ty))? $({ $($field:ident : $kind:ty),+ $(,)? })?),+ $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                match self {
                    $($crate::tagged_enum!(@pattern value $name $variant $(($inner))? $({ $($field),+ })?) => {
                        <u8 as $crate::codec::Encode>::encode(&$tag, encoder)?;
                        $(<$inner as $crate::codec::Encode>::encode(value, encoder)?;)?
                        $($(<$kind as $crate::codec::Encode>::encode($field, encoder)?;)+)?
                    })+
                }
                Ok(())
            }
        }

        impl<C> $crate::codec::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                match <u8 as $crate::codec::Decode<C>>::decode(decoder)? {
                    $($tag => Ok($crate::tagged_enum!(
                        @build decoder $name $variant $(($inner))? $({ $($field: $kind),+ })?
                    )),)+
                    tag => Err($crate::codec::unknown_tag(stringify!($name), tag)),
                }
            }
        }

        bincode::impl_borrow_decode!($name);
    };
    (@pattern $value:ident $name:ident $variant:ident ($inner:ty)) => { $name::$variant($value) };
    (@pattern $value:ident $name:ident $variant:ident { $($field:ident),+ }) => { $name::$variant { $($field),+ } };
    (@pattern $value:ident $name:ident $variant:ident) => { $name::$variant };
    (@build $decoder:ident $name:ident $variant:ident ($inner:ty)) => {
        $name::$variant(<$inner as $crate::codec::Decode<C>>::decode($decoder)?)
    };
    (@build $decoder:ident $name:ident $variant:ident { $($field:ident : $kind:ty),+ }) => {
        $name::$variant { $($field: <$kind as $crate::codec::Decode<C>>::decode($decoder)?),+ }
    };
    (@build $decoder:ident $name:ident $variant:ident) => { $name::$variant };
}
