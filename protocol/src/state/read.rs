//! Reading the state, wherever it is kept.

use std::ops::RangeInclusive;

use crate::crypto::PublicKey;
use crate::params::Params;
use crate::primitives::{Timestamp, TxRef};
use crate::state::account::Account;
use crate::state::auction::{Bid, Request, Station};
use crate::state::authority::Authorities;
use crate::state::channel::Channel;
use crate::state::governance::{Admissions, Offence, Proposal};
use crate::state::key::{DueItem, StateKey};
use crate::state::payment::{Lock, Payment};
use crate::state::record::TrackRecord;
use crate::state::value::StateValue;

/// Why the state could not be read. It is our own failure and says nothing about a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store did not answer.
    #[error("the store failed: {0}")]
    Store(String),
    /// Bytes in the store that no entry has.
    #[error("the store holds a damaged entry under {key:?}: {reason}")]
    Damaged {
        /// Whose value it is.
        key: StateKey,
        /// What is wrong with it.
        reason: String,
    },
    /// Entries that do not fit together, which no sequence of valid blocks leaves behind.
    #[error("the state contradicts itself at {key:?}: {reason}")]
    Inconsistent {
        /// Where it shows.
        key: StateKey,
        /// What should be there.
        reason: &'static str,
    },
}

macro_rules! typed_reads {
    ($($(#[$doc:meta])* $method:ident($($argument:ident: $kind:ty),*) -> $value:ident by $key:expr;)+) => {
        $($(#[$doc])*
        ///
        /// # Errors
        /// [`ReadError`].
        fn $method(&self $(, $argument: $kind)*) -> Result<Option<$value>, ReadError> {
            let key = $key;
            match self.get(&key)? {
                None => Ok(None),
                Some(StateValue::$value(value)) => Ok(Some(value)),
                Some(_) => Err(ReadError::Inconsistent { key, reason: "a value of this key's kind" }),
            }
        })+
    };
}

/// The state after some block.
pub trait StateRead {
    /// The entry with this key.
    ///
    /// # Errors
    /// [`ReadError`].
    fn get(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError>;

    /// The first `limit` entries with keys in this range, in the order of keys.
    ///
    /// # Errors
    /// [`ReadError`].
    fn range(
        &self,
        keys: RangeInclusive<StateKey>,
        limit: usize,
    ) -> Result<Vec<(StateKey, StateValue)>, ReadError>;

    typed_reads! {
        /// The chain's parameters.
        params() -> Params by StateKey::Params;
        /// The chain's authorities.
        authorities() -> Authorities by StateKey::Authorities;
        /// The account of a key.
        account(key: &PublicKey) -> Account by StateKey::Account(*key);
        /// A producer's station record.
        station(producer: &PublicKey) -> Station by StateKey::Station(*producer);
        /// A request.
        request(name: TxRef) -> Request by StateKey::Request(name);
        /// A producer's bid for a request.
        bid(request: TxRef, producer: &PublicKey) -> Bid by StateKey::Bid(request, *producer);
        /// A single lock.
        lock(name: TxRef) -> Lock by StateKey::Lock(name);
        /// A payment in installments.
        payment(name: TxRef) -> Payment by StateKey::Payment(name);
        /// A channel.
        channel(name: TxRef) -> Channel by StateKey::Channel(name);
        /// An open proposal.
        proposal(name: TxRef) -> Proposal by StateKey::Proposal(name);
        /// A producer's track record, none where no session of its was settled yet.
        track_record(producer: &PublicKey) -> TrackRecord by StateKey::TrackRecord(*producer);
        /// An authority's admissions in this epoch, none where it made none.
        admissions(authority: &PublicKey) -> Admissions by StateKey::Admissions(*authority);
    }

    /// An offence that is recorded under this key.
    ///
    /// # Errors
    /// [`ReadError`].
    fn offence(&self, key: StateKey) -> Result<Option<Offence>, ReadError> {
        match self.get(&key)? {
            None => Ok(None),
            Some(StateValue::Offence(offence)) => Ok(Some(offence)),
            Some(_) => Err(ReadError::Inconsistent { key, reason: "a value of this key's kind" }),
        }
    }

    /// The epoch before the current one, which the first does not have.
    ///
    /// # Errors
    /// [`ReadError`].
    fn former_authorities(&self) -> Result<Option<Authorities>, ReadError> {
        let key = StateKey::FormerAuthorities;
        match self.get(&key)? {
            None => Ok(None),
            Some(StateValue::FormerAuthorities(authorities)) => Ok(Some(authorities)),
            Some(_) => Err(ReadError::Inconsistent { key, reason: "a value of this key's kind" }),
        }
    }

    /// The first `limit` items that settle by themselves at `until` or before, in order of time.
    ///
    /// # Errors
    /// [`ReadError`].
    fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, DueItem)>, ReadError> {
        let entries = self.range(StateKey::due_until(until), limit)?;
        entries
            .into_iter()
            .map(|(key, _)| match key {
                StateKey::Due(time, item) => Ok((time, item)),
                _ => Err(ReadError::Inconsistent { key, reason: "only due items in the queue's range" }),
            })
            .collect()
    }
}
