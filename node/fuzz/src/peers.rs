//! What peers send: gossip, address records, frames.

use evchain_node::network::{Topic, fuzzing};
use evchain_protocol::primitives::Timestamp;

/// When the records of the corpus were signed.
const NOW: Timestamp = Timestamp::new(1_700_000_000_000);

/// The first byte says what the rest is taken for.
pub fn fuzz_peers(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 6 {
        0 => fuzzing::gossip(Topic::Transactions, bytes),
        1 => fuzzing::gossip(Topic::Finalizations, bytes),
        2 => fuzzing::gossip(Topic::Addresses, bytes),
        3 => fuzzing::announcement(bytes, NOW),
        4 => fuzzing::frames(bytes, 64),
        _ => fuzzing::frames(bytes, 64 * 1024),
    }
}

#[cfg(test)]
#[test]
fn a_true_record_is_taken() {
    fuzzing::announcement(&fuzzing::an_announcement(NOW), NOW);
    assert!(!fuzzing::an_announcement(NOW).is_empty());
}
