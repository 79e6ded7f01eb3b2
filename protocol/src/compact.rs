//! Short encodings for what is sent most: requests and bids (P18 4.3). Whole bytes that are no wider than
//! the largest sensible value, and times in tenths of a second. Nothing is rounded here: what does not fit
//! is an error, so that nobody signs for another window, energy or price than was meant.

use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};

use crate::codec::{Decode, Encode};
use crate::primitives::{Span, Timestamp, Window};

/// The unit of times in requests and bids: a tenth of a second.
pub const TICK: Span = Span::new(TICK_MS);

const TICK_MS: u64 = 100;

/// Why a value has no short encoding. `what` names the value with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum NotCompact {
    /// A time between two ticks.
    #[error("{what} is {ms}: times in requests and bids are in whole tenths of a second")]
    BetweenTicks { what: &'static str, ms: u64 },
    /// A time that ends before it begins.
    #[error("{what} is below zero")]
    BelowZero { what: &'static str },
    /// A value above what its bytes can hold.
    #[error("{what} is {value}, and at most {max} can be sent")]
    TooLarge { what: &'static str, value: u64, max: u64 },
}

impl Timestamp {
    /// The last tick that is not after this moment.
    #[must_use]
    pub const fn floor_to_tick(self) -> Self {
        Self::new(self.get().saturating_sub(self.get() % TICK_MS))
    }

    /// The first tick that is not before this moment, or the last that there is.
    #[must_use]
    pub const fn ceil_to_tick(self) -> Self {
        self.saturating_after(Span::new(TICK_MS.saturating_sub(1))).floor_to_tick()
    }
}

impl Window {
    /// The longest window from tick to tick within this one.
    #[must_use]
    pub const fn on_ticks(&self) -> Self {
        Self { start: self.start.ceil_to_tick(), end: self.end.floor_to_tick() }
    }
}

/// An unsigned integer of `BYTES` bytes, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Narrow<const BYTES: usize>(u64);

impl<const BYTES: usize> Narrow<BYTES> {
    const MAX: u64 = u64::MAX >> (64 - 8 * BYTES);

    pub(crate) const fn new(what: &'static str, value: u64) -> Result<Self, NotCompact> {
        if value > Self::MAX {
            return Err(NotCompact::TooLarge { what, value, max: Self::MAX });
        }
        Ok(Self(value))
    }

    /// The ticks of a time.
    pub(crate) fn ticks(what: &'static str, span: Span) -> Result<Self, NotCompact> {
        ticks(what, span, Self::MAX).map(Self)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// The time that these ticks are.
    pub(crate) const fn span(self) -> Span {
        span_of(self.0)
    }
}

/// The ticks of a time, of which there can be `max`.
pub(crate) const fn ticks(what: &'static str, span: Span, max: u64) -> Result<u64, NotCompact> {
    let ms = span.get();
    if !ms.is_multiple_of(TICK_MS) {
        return Err(NotCompact::BetweenTicks { what, ms });
    }
    if ms / TICK_MS > max {
        return Err(NotCompact::TooLarge { what, value: ms, max: max.saturating_mul(TICK_MS) });
    }
    Ok(ms / TICK_MS)
}

/// The time that so many ticks are.
pub(crate) const fn span_of(ticks: u64) -> Span {
    Span::new(ticks.saturating_mul(TICK_MS))
}

/// The time between two moments.
pub(crate) fn between(what: &'static str, from: Timestamp, to: Timestamp) -> Result<Span, NotCompact> {
    if to < from {
        return Err(NotCompact::BelowZero { what });
    }
    Ok(to.since(from))
}

impl<const BYTES: usize> Encode for Narrow<BYTES> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.to_le_bytes().iter().take(BYTES).try_for_each(|byte| byte.encode(encoder))
    }
}

impl<C, const BYTES: usize> Decode<C> for Narrow<BYTES> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let mut bytes = [0; 8];
        for byte in bytes.iter_mut().take(BYTES) {
            *byte = u8::decode(decoder)?;
        }
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

impl<'de, C, const BYTES: usize> BorrowDecode<'de, C> for Narrow<BYTES> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
