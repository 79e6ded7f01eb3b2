//! Every table of the database, its keys and its values, in one place.
//!
//! Keys are big-endian, so that RocksDB's order is the order of the values; values have the
//! ledger's encoding.

use std::marker::PhantomData;

use evchain_consensus::block::Block;
use evchain_consensus::wal::LogRecord;
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::{Decode, Encode, List};
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::event::EventRecord;
use evchain_protocol::finality::{Certificate, Evidence, OffenceKind};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, TxRef, View};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::value::StateValue;

/// The most events that one block can have: several for each transaction and each due piece.
pub const MAX_BLOCK_EVENTS: usize = 1 << 20;

/// The events of one block, in order.
pub type BlockEvents = List<EventRecord, MAX_BLOCK_EVENTS>;

/// The state after the newest final block.
pub const STATE: Table<StateKey, StateValue> = Table::new("state");
/// Final blocks with their bodies.
pub const BLOCKS: Table<Height, Block> = Table::new("blocks");
/// The heights of final blocks by their ids.
pub const HEIGHTS: Table<Hash, Height> = Table::new("heights");
/// Finalization certificates, at the heights whose block got one of its own. The newest height
/// always has one; a block without is final by the next that has one.
pub const FINALIZATIONS: Table<Height, Certificate> = Table::new("finalizations");
/// Where a final transaction stands, by its id.
pub const TRANSACTIONS: Table<Hash, TxRef> = Table::new("transactions");
/// The events of each final block.
pub const EVENTS: Table<Height, BlockEvents> = Table::new("events");
/// The consensus log: votes, certificates and blocks, in the order in which they became durable.
pub const CONSENSUS_LOG: Table<LogIndex, LogRecord> = Table::new("consensus_log");
/// Evidence that this node gathered and that is not on the chain yet.
pub const EVIDENCE: Table<OffencePlace, Evidence> = Table::new("evidence");
/// What authorities signed about where they can be reached, as the network gave it.
pub const ADDRESSES: Table<PublicKey, Vec<u8>> = Table::new("addresses");
/// Which chain this is.
pub const CHAIN: Table<(), ChainId> = Table::new("chain");
/// The key with which a node has started last on this database, and how often it had started then.
pub const VOTER: Table<(), Voter> = Table::new("voter");
/// Why the consensus stopped, until the operator says that it may go on.
pub const HALT: Table<(), HaltNote> = Table::new("halt");
/// The newest final block. Height 0 is genesis.
pub const TIP: Table<(), Tip> = Table::new("tip");

/// The names of all tables.
pub const NAMES: [&str; 13] = [
    STATE.name,
    BLOCKS.name,
    HEIGHTS.name,
    FINALIZATIONS.name,
    TRANSACTIONS.name,
    EVENTS.name,
    CONSENSUS_LOG.name,
    EVIDENCE.name,
    ADDRESSES.name,
    CHAIN.name,
    VOTER.name,
    HALT.name,
    TIP.name,
];

/// A table: its name, and the types of its keys and values.
#[derive(Debug)]
pub struct Table<K, V> {
    /// The name of its column family.
    pub name: &'static str,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> Table<K, V> {
    const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }
}

/// A key whose bytes have the order of its values.
pub trait TableKey: Sized {
    /// The key's bytes.
    fn to_key(&self) -> Vec<u8>;
    /// The key with these bytes, if there is one.
    fn from_key(bytes: &[u8]) -> Option<Self>;
}

/// A place in the consensus log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogIndex(pub u64);

/// What a piece of evidence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffencePlace {
    /// The epoch.
    pub epoch: Epoch,
    /// The offender's place among its authorities.
    pub signer: AuthorityIndex,
    /// The view.
    pub view: View,
    /// What was done.
    pub kind: OffenceKind,
}

/// The newest final block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Tip {
    /// Its height.
    pub height: Height,
    /// Its id.
    pub hash: Hash,
}

/// Who votes with a database. The log holds everything that the key has signed, if the record beside the
/// key counts as many starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Voter {
    /// The key.
    pub key: PublicKey,
    /// How often a node has started with it.
    pub starts: u64,
}

/// Why and when the consensus stopped.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HaltNote {
    /// The reason, as it was shown.
    pub reason: String,
    /// The time.
    pub at: Timestamp,
}

impl TableKey for () {
    fn to_key(&self) -> Vec<u8> {
        Vec::new()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl TableKey for Height {
    fn to_key(&self) -> Vec<u8> {
        self.get().to_be_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self::new(u64::from_be_bytes(bytes)))
    }
}

impl TableKey for LogIndex {
    fn to_key(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

impl TableKey for OffencePlace {
    fn to_key(&self) -> Vec<u8> {
        let Self { epoch, signer, view, kind } = self;
        let (epoch, view) = (epoch.get().to_be_bytes(), view.get().to_be_bytes());
        [&epoch[..], &[signer.get()], &view, &[kind.tag()]].concat()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        let (epoch, rest) = bytes.split_first_chunk::<8>()?;
        let (signer, rest) = rest.split_first()?;
        let (view, rest) = rest.split_first_chunk::<8>()?;
        let [kind] = rest else { return None };
        Some(Self {
            epoch: Epoch::new(u64::from_be_bytes(*epoch)),
            signer: AuthorityIndex::new(*signer),
            view: View::new(u64::from_be_bytes(*view)),
            kind: OffenceKind::from_tag(*kind)?,
        })
    }
}

impl TableKey for Hash {
    fn to_key(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

impl TableKey for PublicKey {
    fn to_key(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

impl TableKey for StateKey {
    fn to_key(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes).ok()
    }
}
