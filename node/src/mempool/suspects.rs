use std::collections::BTreeSet;

use evchain_protocol::crypto::PublicKey;

/// The most that wait to be looked at; the others are found by turns.
const MAX_SUSPECTS: usize = 16_384;

/// Senders of which this node tried something in vain for a block of its own (M10): what was tried may have become
/// invalid for good, and then nobody should try it again.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeSet<PublicKey>);

impl Suspects {
    pub(super) fn add(&mut self, senders: impl IntoIterator<Item = PublicKey>) {
        let room = MAX_SUSPECTS.saturating_sub(self.0.len());
        self.0.extend(senders.into_iter().take(room));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes at most so many.
    pub(super) fn take(&mut self, count: usize) -> Vec<PublicKey> {
        std::iter::from_fn(|| self.0.pop_first()).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_once_and_their_number_is_bounded() {
        let key = |number: u16| {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            PublicKey::from_bytes(bytes)
        };
        let mut suspects = Suspects::default();
        suspects.add([key(1), key(2), key(1)]);
        assert_eq!(suspects.take(8).len(), 2);
        assert!(suspects.is_empty());
        suspects.add((0..u16::MAX).map(key));
        suspects.add((0..u16::MAX).map(key));
        assert_eq!(suspects.take(usize::MAX).len(), MAX_SUSPECTS);
    }
}
