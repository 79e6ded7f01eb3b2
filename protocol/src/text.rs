//! Short texts that people wrote: a station's contact, a chain's name.

use std::fmt;

use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};

/// A printable text of at most `MAX` bytes of UTF-8.
///
/// Characters that are not seen or that reorder what stands around them are refused: texts are
/// shown to people beside other data, and must not be able to pass for that data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(String);

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// More bytes than its place allows.
    #[error("the text has {len} bytes, but at most {max} are accepted here")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// A control character, or one that changes the direction of writing.
    #[error("the text contains U+{:04X}, which cannot be printed", u32::from(*.0))]
    NotPrintable(char),
}

impl<const MAX: usize> Text<MAX> {
    /// The text, if it is short enough and printable.
    ///
    /// # Errors
    /// See [`TextError`].
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.len() > MAX {
            return Err(TextError::TooLong { len: text.len(), max: MAX });
        }
        match text.chars().find(|c| !is_printable(*c)) {
            Some(c) => Err(TextError::NotPrintable(c)),
            None => Ok(Self(text)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_printable(c: char) -> bool {
    let reorders =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !reorders
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> Encode for Text<MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        List::<u8, MAX>::new(self.0.clone().into_bytes())
            .map_err(|_| EncodeError::Other("text over its limit"))?
            .encode(encoder)
    }
}

impl<C, const MAX: usize> Decode<C> for Text<MAX> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let bytes = List::<u8, MAX>::decode(decoder)?.into_vec();
        let text = String::from_utf8(bytes).map_err(|error| DecodeError::OtherString(error.to_string()))?;
        Self::new(text).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

impl<'de, C, const MAX: usize> BorrowDecode<'de, C> for Text<MAX> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
