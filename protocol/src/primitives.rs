//! Quantities with units. Arithmetic is checked, and none converts from a bare integer unsaid.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};

/// A result outside the range of its quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result is outside the range of {0}")]
pub struct OutOfRange(pub &'static str);

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($int);

        impl $name {
            /// Nothing, or the first.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(<$int>::MAX);

            /// The quantity of this many units.
            pub const fn new(units: $int) -> Self {
                Self(units)
            }

            /// The number of units.
            pub const fn get(self) -> $int {
                self.0
            }

            /// The sum.
            ///
            /// # Errors
            /// [`OutOfRange`] above the largest value.
            pub const fn checked_add(self, other: Self) -> Result<Self, OutOfRange> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Ok(Self(sum)),
                    None => Err(OutOfRange(stringify!($name))),
                }
            }

            /// The difference.
            ///
            /// # Errors
            /// [`OutOfRange`] below zero.
            pub const fn checked_sub(self, other: Self) -> Result<Self, OutOfRange> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Ok(Self(difference)),
                    None => Err(OutOfRange(stringify!($name))),
                }
            }

            /// The sum, or the largest value where it is out of range.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, or zero where it is out of range.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident($int:ty) counts) => {
        quantity!($(#[$doc])* $name($int));

        impl $name {
            /// The one after.
            ///
            /// # Errors
            /// [`OutOfRange`] after the last.
            pub const fn next(self) -> Result<Self, OutOfRange> {
                self.checked_add(Self(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

quantity!(
    /// Money, in EUR 0.0001.
    Amount(u64)
);
quantity!(
    /// Energy, in Wh.
    Energy(u64)
);
quantity!(
    /// A moment, in ms since the Unix epoch. On the chain it is always a block's.
    Timestamp(u64)
);
quantity!(
    /// A length of time, in ms.
    Span(u64)
);
quantity!(
    /// A block's distance from genesis, which has height 0.
    Height(u64) counts
);
quantity!(
    /// A round of the consensus within its epoch. The first is 1; the epoch's root has view 0.
    View(u64) counts
);
quantity!(
    /// A stretch of the chain with one set of authorities.
    Epoch(u64) counts
);
quantity!(
    /// How many transactions an account has sent.
    Nonce(u64) counts
);
quantity!(
    /// A numbered district (P18 4.3), 1 and up.
    RegionId(u16) counts
);

impl Timestamp {
    /// The moment this long after.
    ///
    /// # Errors
    /// [`OutOfRange`] after the last moment.
    pub const fn after(self, span: Span) -> Result<Self, OutOfRange> {
        self.checked_add(Self(span.0))
    }

    /// The moment this long after, or the last moment, which never comes.
    #[must_use]
    pub const fn saturating_after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The moment this long before, or the Unix epoch.
    #[must_use]
    pub const fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// The time from `earlier` to this moment, zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// The number of [`Amount`] units in one euro.
const UNITS_PER_EURO: u64 = 10_000;

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.0 / UNITS_PER_EURO, self.0 % UNITS_PER_EURO)
    }
}

/// Text that is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an amount: write euros with at most four decimals, such as 12 or 0.4900")]
pub struct ParseAmountError(String);

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let error = || ParseAmountError(text.to_owned());
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (euros, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if euros.is_empty()
            || decimals.is_empty()
            || decimals.len() > 4
            || !digits(euros)
            || !digits(decimals)
        {
            return Err(error());
        }
        let euros: u64 = euros.parse().map_err(|_| error())?;
        let units: u64 = format!("{decimals:0<4}").parse().map_err(|_| error())?;
        euros
            .checked_mul(UNITS_PER_EURO)
            .and_then(|whole| whole.checked_add(units))
            .map(Self)
            .ok_or_else(error)
    }
}

impl fmt::Display for Energy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Wh", self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A moment to a moment, in which energy is exchanged: T of the papers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct Window {
    /// min(T).
    pub start: Timestamp,
    /// max(T).
    pub end: Timestamp,
}

impl Window {
    /// The length, zero if the end is not after the start.
    pub const fn length(&self) -> Span {
        self.end.since(self.start)
    }

    /// Whether some moment lies within both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether the moment lies within, the end excluded.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.start <= moment && moment < self.end
    }
}

/// A place on the earth, in 1e-7 degrees of WGS84.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct Position {
    /// North of the equator.
    pub latitude_e7: i32,
    /// East of Greenwich.
    pub longitude_e7: i32,
}

impl Position {
    const MAX_LATITUDE_E7: i32 = 900_000_000;
    const MAX_LONGITUDE_E7: i32 = 1_800_000_000;

    /// Whether there is such a place: 90 degrees north to south, 180 west to east.
    pub fn is_on_globe(&self) -> bool {
        (-Self::MAX_LATITUDE_E7..=Self::MAX_LATITUDE_E7).contains(&self.latitude_e7)
            && (-Self::MAX_LONGITUDE_E7..=Self::MAX_LONGITUDE_E7).contains(&self.longitude_e7)
    }
}

/// The transaction that made an object, and with it the object's short name: the height of its
/// block and its index there. Eight bytes in place of a hash, and where to look it up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TxRef(u64);

impl TxRef {
    const INDEX_BITS: u32 = 20;

    /// The name of the transaction with this index in the block at this height.
    ///
    /// # Errors
    /// [`OutOfRange`] from height 2^44 or index 2^20.
    pub fn new(height: Height, index: u32) -> Result<Self, OutOfRange> {
        if height.get() >> (u64::BITS - Self::INDEX_BITS) != 0 || index >> Self::INDEX_BITS != 0 {
            return Err(OutOfRange("TxRef"));
        }
        Ok(Self(height.get() << Self::INDEX_BITS | u64::from(index)))
    }

    /// The first name in the order of names.
    pub const MIN: Self = Self(0);
    /// The last name in the order of names.
    pub const MAX: Self = Self(u64::MAX);

    /// Eight bytes whose order is the order of names.
    pub const fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The name with these bytes.
    pub const fn from_be_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The block's height.
    pub const fn height(self) -> Height {
        Height::new(self.0 >> Self::INDEX_BITS)
    }

    /// The index in the block.
    #[allow(clippy::cast_possible_truncation)] // 20 bits
    pub const fn index(self) -> u32 {
        (self.0 & ((1 << Self::INDEX_BITS) - 1)) as u32
    }
}

impl fmt::Display for TxRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.height(), self.index())
    }
}

impl fmt::Debug for TxRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxRef({self})")
    }
}

/// Text that is not a transaction's short name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a reference: write the block's height and the index there, such as 1042-3")]
pub struct ParseTxRefError(String);

impl FromStr for TxRef {
    type Err = ParseTxRefError;

    fn from_str(text: &str) -> Result<Self, ParseTxRefError> {
        let parse = || {
            let (height, index) = text.split_once('-')?;
            Self::new(height.parse().ok()?, index.parse().ok()?).ok()
        };
        parse().ok_or_else(|| ParseTxRefError(text.to_owned()))
    }
}

/// Serializes as its text form and reads it back.
#[macro_export]
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(TxRef);
