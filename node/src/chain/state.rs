use std::ops::RangeInclusive;

use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::read::{ReadError, StateRead};
use evchain_protocol::state::value::StateValue;

use crate::store::tables::STATE;
use crate::store::{Snapshot, StoreError};

/// The state after the newest final block, as the store has it.
#[derive(Debug)]
pub(super) struct CommittedState<'a> {
    snapshot: Snapshot<'a>,
}

impl<'a> CommittedState<'a> {
    /// The state of this moment of the store.
    pub(super) fn new(snapshot: Snapshot<'a>) -> Self {
        Self { snapshot }
    }
}

impl StateRead for CommittedState<'_> {
    fn get(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        self.snapshot.get(&STATE, key).map_err(|error| failed(&error))
    }

    fn range(
        &self,
        keys: RangeInclusive<StateKey>,
        limit: usize,
    ) -> Result<Vec<(StateKey, StateValue)>, ReadError> {
        self.snapshot
            .scan(&STATE, &keys.start().to_bytes(), Some(after(keys.end())))
            .take(limit)
            .collect::<Result<_, _>>()
            .map_err(|error| failed(&error))
    }
}

/// The smallest bytes above a key's: keys of one kind have one length, so a zero behind it will do.
pub(super) fn after(key: &StateKey) -> Vec<u8> {
    let mut bytes = key.to_bytes();
    bytes.push(0);
    bytes
}

fn failed(error: &StoreError) -> ReadError {
    ReadError::Store(error.to_string())
}
