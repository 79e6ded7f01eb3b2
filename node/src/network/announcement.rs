//! Where an authority can be reached, in its own words: a signed record that travels by gossip.

use std::collections::{BTreeMap, BTreeSet};

use evchain_protocol::codec::{self, Decode, Encode, List};
use evchain_protocol::crypto::{ChainId, KeyPair, PublicKey, Purpose, Signature};
use evchain_protocol::primitives::{Span, Timestamp};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Addresses in one record.
pub(super) const MAX_ANNOUNCED: usize = 4;

/// The longest record, in bytes.
const MAX_BYTES: usize = 1_024;

/// Records of one authority are at least this far apart, by the times that it signed: how often it can
/// make everybody pass one on.
const MIN_STEP: Span = Span::new(500);

/// How far a record's time may be ahead of this node's clock.
const MAX_AHEAD: Span = Span::new(600_000);

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Content {
    authority: PublicKey,
    /// When it was signed: the newest record counts.
    time: Timestamp,
    /// Encoded multiaddresses.
    addresses: List<Vec<u8>, MAX_ANNOUNCED>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Announcement {
    content: Content,
    signature: Signature,
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is no record")]
    Malformed,
    #[error("an address in it is not of the form /ip4 or /ip6, then /tcp")]
    UnusableAddress,
    #[error("its signature is not valid")]
    BadSignature,
    #[error("it is of no authority")]
    NotAuthority,
    #[error("it is not newer than the one held, or too soon after it")]
    Stale,
    #[error("its time is ahead of this node's clock")]
    FromTheFuture,
}

impl Refused {
    /// Whether whoever passed it on should have refused it too. The others depend on clocks, and on
    /// when a node has come to the next epoch.
    pub(super) const fn is_forwarders_fault(self) -> bool {
        matches!(self, Self::Malformed | Self::UnusableAddress | Self::BadSignature)
    }

    /// The label in the metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "address_malformed",
            Self::UnusableAddress => "address_unusable",
            Self::BadSignature => "address_signature",
            Self::NotAuthority => "address_not_authority",
            Self::Stale => "address_stale",
            Self::FromTheFuture => "address_future",
        }
    }
}

/// A signed record of where this authority can be reached, encoded.
pub(super) fn announce(keys: &KeyPair, chain: ChainId, time: Timestamp, addresses: &[Multiaddr]) -> Vec<u8> {
    let addresses = addresses.iter().take(MAX_ANNOUNCED).map(Multiaddr::to_vec).collect();
    // Taken to be few enough right above.
    let addresses = List::new(addresses).unwrap_or_default();
    let content = Content { authority: keys.public_key(), time, addresses };
    let signature = keys.sign(Purpose::AuthorityAddress, chain, &codec::encode(&content));
    codec::encode(&Announcement { content, signature })
}

/// The times of the newest record of each authority: one that is not newer is not taken.
#[derive(Debug)]
pub(super) struct Announcements {
    chain: ChainId,
    newest: BTreeMap<PublicKey, Timestamp>,
}

impl Announcements {
    pub(super) const fn new(chain: ChainId) -> Self {
        Self { chain, newest: BTreeMap::new() }
    }

    /// Forgets those who are no authorities.
    pub(super) fn keep_only(&mut self, authorities: &BTreeSet<PublicKey>) {
        self.newest.retain(|key, _| authorities.contains(key));
    }

    /// Whose record this is, and the addresses in it. The checks run in the order of their costs.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        authorities: &BTreeSet<PublicKey>,
    ) -> Result<(PublicKey, Vec<Multiaddr>), Refused> {
        let record: Announcement = codec::decode(bytes, MAX_BYTES).map_err(|_| Refused::Malformed)?;
        let Content { authority, time, addresses } = &record.content;
        if !authorities.contains(authority) {
            return Err(Refused::NotAuthority);
        }
        let held = self.newest.get(authority);
        if held.is_some_and(|held| time.since(*held) < MIN_STEP) {
            return Err(Refused::Stale);
        }
        if time.since(now) > MAX_AHEAD {
            return Err(Refused::FromTheFuture);
        }
        let addresses = addresses.iter().map(|bytes| dialable(bytes)).collect::<Option<Vec<_>>>();
        let addresses = addresses.ok_or(Refused::UnusableAddress)?;
        authority
            .verify(Purpose::AuthorityAddress, self.chain, &codec::encode(&record.content), &record.signature)
            .map_err(|_| Refused::BadSignature)?;
        self.newest.insert(*authority, *time);
        Ok((*authority, addresses))
    }
}

/// An address that this node can dial: a host and a port, and nothing that leads elsewhere.
fn dialable(bytes: &[u8]) -> Option<Multiaddr> {
    let address = Multiaddr::try_from(bytes.to_vec()).ok()?;
    let mut parts = address.iter();
    let is_host = match parts.next() {
        Some(Protocol::Ip4(host)) => !host.is_unspecified() && !host.is_multicast() && !host.is_broadcast(),
        Some(Protocol::Ip6(host)) => !host.is_unspecified() && !host.is_multicast(),
        _ => false,
    };
    let is_port = matches!(parts.next(), Some(Protocol::Tcp(port)) if port > 0);
    (is_host && is_port && parts.next().is_none()).then_some(address)
}
