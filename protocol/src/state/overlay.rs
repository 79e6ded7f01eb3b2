//! A state to work on, over one that stays as it is.

use std::ops::RangeInclusive;

use super::changes::{Change, Changes};
use super::key::StateKey;
use super::read::{ReadError, StateRead};
use super::value::StateValue;

/// A state with changes on top. It is a state itself, so that overlays stack: a block that is not
/// final on another, a transaction that is only tried on either.
pub struct Overlay<'a> {
    base: &'a dyn StateRead,
    changes: Changes,
    /// What stood in `changes` before each change since the last checkpoint, newest last.
    undo: Vec<(StateKey, Option<Change>)>,
}

impl<'a> Overlay<'a> {
    /// Nothing on top of this state.
    pub fn new(base: &'a dyn StateRead) -> Self {
        Self { base, changes: Changes::default(), undo: Vec::new() }
    }

    /// Writes an entry.
    pub fn put(&mut self, key: StateKey, value: StateValue) {
        self.set(key, Some(value));
    }

    /// Removes an entry, if there is one.
    pub fn remove(&mut self, key: StateKey) {
        self.set(key, None);
    }

    /// Makes the state as it is now the one that [`rollback`](Self::rollback) goes back to.
    pub fn checkpoint(&mut self) {
        self.undo.clear();
    }

    /// Takes back every change since the last checkpoint.
    pub fn rollback(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(change) => {
                    self.changes.insert(key, change);
                }
                None => self.changes.remove(&key),
            }
        }
    }

    /// The changes.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    fn set(&mut self, key: StateKey, value: Option<StateValue>) {
        let before = self.changes.insert(key, value);
        self.undo.push((key, before));
    }
}

impl StateRead for Overlay<'_> {
    fn get(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        self.changes.on(self.base).get(key)
    }

    fn range(
        &self,
        keys: RangeInclusive<StateKey>,
        limit: usize,
    ) -> Result<Vec<(StateKey, StateValue)>, ReadError> {
        self.changes.on(self.base).range(keys, limit)
    }
}
