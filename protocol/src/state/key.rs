//! Names of the state's entries, in bytes whose order is the order of the names.
//!
//! A key is one byte for its kind, then its parts with integers in big-endian. Stores and proofs
//! use these bytes; entries of one kind, the bids of one request and the queue of what is due lie
//! side by side.

use std::ops::RangeInclusive;

use serde::Serialize;

use crate::crypto::PublicKey;
use crate::finality::OffenceKind;
use crate::primitives::{Epoch, Timestamp, TxRef, View};

/// The name of an entry of the state. Variants stand in the order of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKey {
    /// The chain's parameters.
    Params,
    /// The account that fees go to.
    Treasury,
    /// Who runs the chain.
    Authorities,
    /// An account, by its key.
    Account(PublicKey),
    /// A station's record, by its producer.
    Station(PublicKey),
    /// A request, by the transaction that made it.
    Request(TxRef),
    /// The bid for a request by this producer.
    Bid(TxRef, PublicKey),
    /// A single lock.
    Lock(TxRef),
    /// A payment in installments.
    Payment(TxRef),
    /// A channel.
    Channel(TxRef),
    /// Something that settles by itself at this time (K1).
    Due(Timestamp, DueItem),
    /// A proposal that is open.
    Proposal(TxRef),
    /// Who ran the chain in the epoch before.
    FormerAuthorities,
    /// An offence: the epoch, whose it is, the view and the kind.
    Offence(Epoch, PublicKey, View, OffenceKind),
    /// How a producer's sessions were settled.
    TrackRecord(PublicKey),
    /// How many an authority has admitted in this epoch.
    Admissions(PublicKey),
}

/// What settles by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DueItem {
    /// A request's window ends (B10).
    Request(TxRef),
    /// A lock's deadline (L5).
    Lock(TxRef),
    /// A payment's next installment's deadline (I5).
    Payment(TxRef),
    /// A channel's payout (C10).
    Channel(TxRef),
}

/// Bytes that name no entry of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} bytes are not a key of the state")]
pub struct BadStateKey(pub usize);

impl DueItem {
    const MIN: Self = Self::Request(TxRef::MIN);
    const MAX: Self = Self::Channel(TxRef::MAX);

    const fn parts(self) -> (u8, TxRef) {
        match self {
            Self::Request(name) => (0, name),
            Self::Lock(name) => (1, name),
            Self::Payment(name) => (2, name),
            Self::Channel(name) => (3, name),
        }
    }

    fn from_parts(tag: u8, name: TxRef) -> Option<Self> {
        match tag {
            0 => Some(Self::Request(name)),
            1 => Some(Self::Lock(name)),
            2 => Some(Self::Payment(name)),
            3 => Some(Self::Channel(name)),
            _ => None,
        }
    }
}

impl StateKey {
    /// All bids for a request.
    pub const fn bids_of(request: TxRef) -> RangeInclusive<Self> {
        Self::Bid(request, Self::LOWEST)..=Self::Bid(request, Self::HIGHEST)
    }

    /// All that is due at this time or before.
    pub const fn due_until(time: Timestamp) -> RangeInclusive<Self> {
        Self::Due(Timestamp::ZERO, DueItem::MIN)..=Self::Due(time, DueItem::MAX)
    }

    /// All open proposals.
    pub const fn proposals() -> RangeInclusive<Self> {
        Self::Proposal(TxRef::MIN)..=Self::Proposal(TxRef::MAX)
    }

    /// The counts of all authorities' admissions.
    pub const fn admissions() -> RangeInclusive<Self> {
        Self::Admissions(Self::LOWEST)..=Self::Admissions(Self::HIGHEST)
    }

    /// All offences that are recorded.
    pub const fn offences() -> RangeInclusive<Self> {
        Self::first_offence(Epoch::ZERO, Self::LOWEST)..=Self::last_offence(Epoch::MAX, Self::HIGHEST)
    }

    /// The recorded offences of one authority in one epoch.
    pub const fn offences_of(epoch: Epoch, authority: PublicKey) -> RangeInclusive<Self> {
        Self::first_offence(epoch, authority)..=Self::last_offence(epoch, authority)
    }

    const LOWEST: PublicKey = PublicKey::from_bytes([0; PublicKey::LEN]);
    const HIGHEST: PublicKey = PublicKey::from_bytes([u8::MAX; PublicKey::LEN]);

    const fn first_offence(epoch: Epoch, of: PublicKey) -> Self {
        Self::Offence(epoch, of, View::ZERO, OffenceKind::FIRST)
    }

    const fn last_offence(epoch: Epoch, of: PublicKey) -> Self {
        Self::Offence(epoch, of, View::MAX, OffenceKind::LAST)
    }

    /// The key's bytes: 1 to 50.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (tag, parts): (u8, [&[u8]; 2]) = match self {
            Self::Params => (0, [&[], &[]]),
            Self::Treasury => (1, [&[], &[]]),
            Self::Authorities => (2, [&[], &[]]),
            Self::Account(key) => (3, [key.as_bytes(), &[]]),
            Self::Station(key) => (4, [key.as_bytes(), &[]]),
            Self::Request(name) => (5, [&name.to_be_bytes(), &[]]),
            Self::Bid(name, producer) => (6, [&name.to_be_bytes(), producer.as_bytes()]),
            Self::Lock(name) => (7, [&name.to_be_bytes(), &[]]),
            Self::Payment(name) => (8, [&name.to_be_bytes(), &[]]),
            Self::Channel(name) => (9, [&name.to_be_bytes(), &[]]),
            Self::Due(time, item) => {
                let (kind, name) = item.parts();
                let mut bytes = vec![10];
                bytes.extend_from_slice(&time.get().to_be_bytes());
                bytes.push(kind);
                bytes.extend_from_slice(&name.to_be_bytes());
                return bytes;
            }
            Self::Proposal(name) => (11, [&name.to_be_bytes(), &[]]),
            Self::FormerAuthorities => (12, [&[], &[]]),
            Self::Offence(epoch, authority, view, kind) => {
                let mut bytes = vec![13];
                bytes.extend_from_slice(&epoch.get().to_be_bytes());
                bytes.extend_from_slice(authority.as_bytes());
                bytes.extend_from_slice(&view.get().to_be_bytes());
                bytes.push(kind.tag());
                return bytes;
            }
            Self::TrackRecord(producer) => (14, [producer.as_bytes(), &[]]),
            Self::Admissions(authority) => (15, [authority.as_bytes(), &[]]),
        };
        let [first, second] = parts;
        [&[tag], first, second].concat()
    }

    /// The key with these bytes.
    ///
    /// # Errors
    /// [`BadStateKey`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadStateKey> {
        Self::parse(bytes).ok_or(BadStateKey(bytes.len()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let key = |bytes: &[u8]| bytes.try_into().ok().map(PublicKey::from_bytes);
        let name = |bytes: &[u8]| bytes.try_into().ok().map(TxRef::from_be_bytes);
        match tag {
            0 if rest.is_empty() => Some(Self::Params),
            1 if rest.is_empty() => Some(Self::Treasury),
            2 if rest.is_empty() => Some(Self::Authorities),
            3 => key(rest).map(Self::Account),
            4 => key(rest).map(Self::Station),
            5 => name(rest).map(Self::Request),
            6 => {
                let (request, producer) = rest.split_at_checked(8)?;
                Some(Self::Bid(name(request)?, key(producer)?))
            }
            7 => name(rest).map(Self::Lock),
            8 => name(rest).map(Self::Payment),
            9 => name(rest).map(Self::Channel),
            10 => {
                let (time, item) = rest.split_first_chunk::<8>()?;
                let (kind, of) = item.split_first()?;
                let time = Timestamp::new(u64::from_be_bytes(*time));
                Some(Self::Due(time, DueItem::from_parts(*kind, name(of)?)?))
            }
            11 => name(rest).map(Self::Proposal),
            12 if rest.is_empty() => Some(Self::FormerAuthorities),
            13 => {
                let (epoch, rest) = rest.split_first_chunk::<8>()?;
                let (authority, rest) = rest.split_first_chunk::<{ PublicKey::LEN }>()?;
                let (view, kind) = rest.split_first_chunk::<8>()?;
                let [kind] = kind else { return None };
                Some(Self::Offence(
                    Epoch::new(u64::from_be_bytes(*epoch)),
                    PublicKey::from_bytes(*authority),
                    View::new(u64::from_be_bytes(*view)),
                    OffenceKind::from_tag(*kind)?,
                ))
            }
            14 => key(rest).map(Self::TrackRecord),
            15 => key(rest).map(Self::Admissions),
            _ => None,
        }
    }
}
