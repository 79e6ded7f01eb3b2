//! Goal: strangers cannot keep producers away by holding streams.
//! Method: who has to go is asked of lists of streams; real streams are in `tests/node/agents_watch.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use evchain_protocol::crypto::{KeyPair, PublicKey};
use tokio::time::Instant;

use super::idlest;

fn key(seed: u8) -> PublicKey {
    KeyPair::from_secret(&[seed; 32]).public_key()
}

#[test]
fn the_idlest_stream_without_a_guarded_channel_has_to_go() {
    let start = Instant::now();
    let heard = |id: u64, seed: u8, after: u64| (id, key(seed), Some(start + Duration::from_secs(after)));
    let streams = [heard(0, 1, 5), heard(1, 2, 3), heard(2, 3, 4), heard(3, 2, 9)];
    let gone = |guarded: &[u8]| {
        let guarded: BTreeSet<PublicKey> = guarded.iter().map(|seed| key(*seed)).collect();
        idlest(streams.into_iter(), &guarded)
    };
    assert_eq!(gone(&[]), Some(1));
    assert_eq!(gone(&[2]), Some(2), "each stream of a client with a guarded channel stays");
    assert_eq!(gone(&[2, 3]), Some(0));
    assert_eq!(gone(&[1, 2, 3]), None);
    // Those that have asked nothing go before those that wait for an answer, the oldest first.
    let silent = [heard(0, 1, 1), (1, key(4), None), (2, key(5), None)];
    assert_eq!(idlest(silent.into_iter(), &BTreeSet::new()), Some(1));
}
