//! A whole state in memory: for genesis, simulations, tests and small chains.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::changes::Changes;
use super::key::StateKey;
use super::read::{ReadError, StateRead};
use super::value::StateValue;

/// Every entry of a state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryState(BTreeMap<StateKey, StateValue>);

impl MemoryState {
    /// Makes a block's changes.
    pub fn apply(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    /// Every entry, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&StateKey, &StateValue)> {
        self.0.iter()
    }
}

impl StateRead for MemoryState {
    fn get(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(
        &self,
        keys: RangeInclusive<StateKey>,
        limit: usize,
    ) -> Result<Vec<(StateKey, StateValue)>, ReadError> {
        // A map refuses such a range with a panic, but it is merely empty.
        if keys.start() > keys.end() {
            return Ok(Vec::new());
        }
        Ok(self.0.range(keys).take(limit).map(|(key, value)| (*key, value.clone())).collect())
    }
}
