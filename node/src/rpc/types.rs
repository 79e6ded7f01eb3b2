//! What the methods take and give. Amounts are in EUR 0.0001, energies in Wh, times in ms since the
//! Unix epoch, keys in bech32m, hashes and bytes in hexadecimal.

use std::fmt;
use std::str::FromStr;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::block::Header;
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::primitives::{Amount, Epoch, Height, Nonce, RegionId, Span, Timestamp, TxRef, View};
use evchain_protocol::serde_as_text;
use evchain_protocol::state::account::Account;
use evchain_protocol::state::auction::{Bid, Request, Station};
use evchain_protocol::state::channel::Channel;
use evchain_protocol::state::payment::{Lock, Payment};
use evchain_protocol::transaction::SignedTransaction;
use serde::{Deserialize, Serialize};

use super::state_name::StateName;

/// The longest that `wait` and `submitAndWait` wait, in ms.
pub const MAX_WAIT_MS: u64 = 60_000;

/// The most entries that a page of a list has.
pub const PAGE_ITEMS: usize = 100;

/// The largest request body, in bytes: a transaction in hexadecimal, many times over.
pub const MAX_REQUEST_BYTES: u32 = 1024 * 1024;

/// The largest response, in bytes.
pub const MAX_RESPONSE_BYTES: u32 = 16 * 1024 * 1024;

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The chain.
    pub chain: ChainId,
    /// What people call it.
    pub name: String,
    /// The newest final block's height.
    pub height: Height,
    /// Its id.
    pub block: Hash,
    /// Its time.
    pub time: Timestamp,
    /// How old it is by the node's clock, in ms.
    pub tip_age_ms: Span,
    /// Whether the tip is too old for a chain that makes progress: the node catches up, or too few
    /// authorities are up.
    pub syncing: bool,
    /// The epoch of the tip.
    pub epoch: Epoch,
    /// The consensus' current view.
    pub view: View,
    /// Who leads it, if that is known.
    pub leader: Option<PublicKey>,
    /// Whether the node is an authority that votes.
    pub votes: bool,
    /// The node's own key.
    pub node: PublicKey,
    /// Connected peers.
    pub peers: usize,
    /// Transactions that wait for a block.
    pub waiting_transactions: usize,
    /// The bytes of those.
    pub waiting_bytes: usize,
    /// The version of the node's software.
    pub version: String,
}

/// Which chain this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainInfo {
    /// Its id, the hash of its genesis, which all signatures cover.
    pub id: ChainId,
    /// What people call it.
    pub name: String,
    /// The time of block 0.
    pub genesis_time: Timestamp,
    /// Where fees go.
    pub treasury: PublicKey,
}

/// A transaction that stands in a final block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finality {
    /// The transaction's id.
    pub transaction: Hash,
    /// Where it stands; also the name of the object that it made.
    #[serde(rename = "ref")]
    pub place: TxRef,
    /// The block's height.
    pub height: Height,
    /// Its index there.
    pub index: u32,
    /// The block's id.
    pub block: Hash,
    /// The block's time.
    pub time: Timestamp,
    /// What it paid.
    pub fee: Amount,
    /// The bytes of its encoding.
    pub bytes: usize,
    /// What it did.
    pub events: Vec<Event>,
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionInfo {
    /// Its id.
    pub id: Hash,
    /// The bytes of its encoding.
    pub bytes: usize,
    /// Where it stands; none while it waits for a block.
    #[serde(rename = "final")]
    pub finality: Option<Finality>,
    /// The transaction.
    pub signed: SignedTransaction,
}

/// A final block's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderInfo {
    /// The block's id, the hash of the header's encoding.
    pub block: Hash,
    /// The header.
    pub header: Header,
    /// The header's encoding.
    pub encoded: HexBytes,
}

/// A final block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockInfo {
    /// Its id.
    pub block: Hash,
    /// Its header.
    pub header: Header,
    /// Its transactions, in order.
    pub transactions: Vec<TransactionSummary>,
    /// The bytes of its transactions' encodings.
    pub bytes: usize,
}

/// A transaction of a block, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionSummary {
    /// Where it stands.
    #[serde(rename = "ref")]
    pub place: TxRef,
    /// Its id.
    pub id: Hash,
    /// Who sent it.
    pub sender: PublicKey,
    /// Its nonce.
    pub nonce: Nonce,
    /// What it does, as the `kind` of its action.
    pub kind: String,
    /// The bytes of its encoding.
    pub bytes: usize,
}

/// A certificate, of a block or of a later one, which makes that block final too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalizationInfo {
    /// The height of the block that it names.
    pub height: Height,
    /// That block's id.
    pub block: Hash,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its view.
    pub view: View,
    /// Who signed, by their places in the set of its epoch.
    pub signer_indexes: Vec<AuthorityIndex>,
    /// Their names; none for epochs before the former one, whose authorities the state has forgotten. To those
    /// `epochStep` leads, from genesis on.
    pub signers: Option<Vec<PublicKey>>,
    /// The certificate's encoding.
    pub certificate: HexBytes,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountInfo {
    /// Whose.
    pub address: PublicKey,
    /// What the chain keeps about it.
    #[serde(flatten)]
    pub account: Account,
    /// The nonce for its next transaction, after those that wait for a block at this node.
    pub next_nonce: Nonce,
}

/// An object of the state with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named<T> {
    /// The transaction that made it.
    #[serde(rename = "ref")]
    pub name: TxRef,
    /// The object.
    #[serde(flatten)]
    pub value: T,
}

/// A request with its name.
pub type RequestInfo = Named<Request>;
/// A single lock with its name.
pub type LockInfo = Named<Lock>;
/// A payment in installments with its name.
pub type PaymentInfo = Named<Payment>;
/// A channel with its name.
pub type ChannelInfo = Named<Channel>;

/// A bid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidInfo {
    /// For which request.
    pub request: TxRef,
    /// Who bids.
    pub producer: PublicKey,
    /// The offer.
    #[serde(flatten)]
    pub bid: Bid,
}

/// A station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationInfo {
    /// Whose.
    pub producer: PublicKey,
    /// The record.
    #[serde(flatten)]
    pub station: Station,
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T, K> {
    /// The entries, at most [`PAGE_ITEMS`]. A page can have none and still not be the last.
    pub items: Vec<T>,
    /// What to pass as `after` for the next page; none on the last.
    pub next: Option<K>,
}

/// Which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestFilter {
    /// Of this region only.
    pub region: Option<RegionId>,
    /// Of this consumer only.
    pub consumer: Option<PublicKey>,
    /// Only those that take bids still: no commitment, and the tip's time is before the deadline.
    pub open: bool,
}

/// A proof of what the state holds under a name, for somebody who trusts the authorities only.
///
/// `headers` starts with the header whose state is proven and ends with the one that `certificate`
/// makes final; each is the parent of the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofInfo {
    /// The name that was asked for.
    pub name: StateName,
    /// The height after whose block the state is proven.
    pub height: Height,
    /// The value as JSON, for reading; what counts is in `proof`.
    pub value: Option<serde_json::Value>,
    /// The encoding of a `StateEntryProof`.
    pub proof: HexBytes,
    /// Encoded headers.
    pub headers: Vec<HexBytes>,
    /// The encoded certificate.
    pub certificate: HexBytes,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerEntry {
    /// Its authenticated key.
    pub key: PublicKey,
    /// Its address as the node sees it.
    pub address: String,
    /// Whether it is an authority.
    pub is_authority: bool,
    /// What it calls its software; not to be trusted.
    pub agent: Option<String>,
}

/// A block that has just become final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockNotice {
    /// Its id.
    pub block: Hash,
    /// Its header.
    pub header: Header,
    /// Its transactions, in order.
    pub transactions: Vec<NoticedTransaction>,
    /// What it did, in order.
    pub events: Vec<EventRecord>,
}

/// A transaction of a block that has just become final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticedTransaction {
    /// Where it stands.
    #[serde(rename = "ref")]
    pub place: TxRef,
    /// Its id.
    pub id: Hash,
    /// Who sent it.
    pub sender: PublicKey,
}

/// Something that happened to a party's money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyNotice {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: Timestamp,
    /// The transaction, or none where a deadline passed.
    pub transaction: Option<TxRef>,
    /// What happened.
    pub event: Event,
}

/// Which transaction: its reference (`1042-3`) or its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionKey {
    /// Where it stands.
    Place(TxRef),
    /// Its id.
    Id(Hash),
}

impl From<TxRef> for TransactionKey {
    fn from(place: TxRef) -> Self {
        Self::Place(place)
    }
}

impl From<Hash> for TransactionKey {
    fn from(id: Hash) -> Self {
        Self::Id(id)
    }
}

/// Text that names no transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no transaction: write a reference such as 1042-3, or an id of 64 hexadecimal digits")]
pub struct ParseTransactionKeyError(String);

impl FromStr for TransactionKey {
    type Err = ParseTransactionKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = || text.parse().map(Self::Place).ok();
        let id = || text.parse().map(Self::Id).ok();
        place().or_else(id).ok_or_else(|| ParseTransactionKeyError(text.to_owned()))
    }
}

impl fmt::Display for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(place) => place.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

serde_as_text!(TransactionKey);

/// Which block: its height, its id, or `latest`. In JSON a height may also be a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKey {
    /// The newest final one.
    Latest,
    /// The one at this height.
    Height(Height),
    /// The one with this id.
    Id(Hash),
}

/// Text that names no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no block: write a height, 'latest', or an id of 64 hexadecimal digits")]
pub struct ParseBlockKeyError(String);

impl FromStr for BlockKey {
    type Err = ParseBlockKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An id may happen to have decimal digits only, so its length decides.
        match text {
            "latest" => Ok(Self::Latest),
            _ if text.len() == 2 * Hash::LEN => text.parse().map(Self::Id).map_err(drop),
            _ => text.parse().map(Self::Height).map_err(drop),
        }
        .map_err(|()| ParseBlockKeyError(text.to_owned()))
    }
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Height(height) => height.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl Serialize for BlockKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlockKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a height, 'latest', or a block's id")]
        enum NumberOrText {
            Number(u64),
            Text(String),
        }
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(height) => Ok(Self::Height(Height::new(height))),
            NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Bytes, in hexadecimal in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl FromStr for HexBytes {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::decode(text).map(Self)
    }
}

impl fmt::Display for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HexBytes({self})")
    }
}

serde_as_text!(HexBytes);
