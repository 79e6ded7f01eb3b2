//! What a block changes in the state.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::key::StateKey;
use super::read::{ReadError, StateRead};
use super::value::StateValue;
use crate::codec::encode;

/// New values of entries, none where the entry is removed, in the order of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(BTreeMap<StateKey, Change>);

/// An entry's new value, none where it is removed.
pub type Change = Option<StateValue>;

impl Changes {
    /// What the entry changes to, if it changes.
    pub fn get(&self, key: &StateKey) -> Option<&Change> {
        self.0.get(key)
    }

    /// Every changed entry.
    pub fn iter(&self) -> impl Iterator<Item = (&StateKey, Option<&StateValue>)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The state that these changes make of `base`.
    pub fn on<'a>(&'a self, base: &'a dyn StateRead) -> ChangedState<'a> {
        ChangedState { base, changes: self }
    }

    /// Every changed entry as the bytes that stores keep and the state's root covers.
    pub fn to_bytes(&self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.iter().map(|(key, value)| (key.to_bytes(), value.map(encode)))
    }

    /// How many entries change.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, key: StateKey, change: Change) -> Option<Change> {
        self.0.insert(key, change)
    }

    pub(super) fn remove(&mut self, key: &StateKey) {
        self.0.remove(key);
    }
}

impl FromIterator<(StateKey, StateValue)> for Changes {
    fn from_iter<I: IntoIterator<Item = (StateKey, StateValue)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key, Some(value))).collect())
    }
}

impl IntoIterator for Changes {
    type Item = (StateKey, Option<StateValue>);
    type IntoIter = std::collections::btree_map::IntoIter<StateKey, Option<StateValue>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A state with changes on top, such as that of a block that is not final.
#[derive(Clone, Copy)]
pub struct ChangedState<'a> {
    base: &'a dyn StateRead,
    changes: &'a Changes,
}

impl StateRead for ChangedState<'_> {
    fn get(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
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
        let changed: Vec<_> = self.changes.0.range(keys.clone()).collect();
        // Each changed entry hides at most one of the base's, so that many more are enough.
        let below = self.base.range(keys, limit.saturating_add(changed.len()))?;
        let mut entries: BTreeMap<StateKey, StateValue> = below.into_iter().collect();
        for (key, value) in changed {
            match value {
                Some(value) => entries.insert(*key, value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(entries.into_iter().take(limit).collect())
    }
}
