//! Goal: a block's notice is written once however many want it, and what is kept for them is bounded.
//! Method: the keeper alone, with notices of chosen lengths.

use std::sync::Arc;

use evchain_protocol::crypto::Hash;
use serde_json::value::{RawValue, to_raw_value};

use super::{NOTICES_BYTES, Notices};

fn block(number: u8) -> Hash {
    Hash::from_bytes([number; 32])
}

/// A notice of so many bytes.
fn notice(bytes: usize) -> Arc<RawValue> {
    to_raw_value(&"n".repeat(bytes - 2)).expect("a string is JSON").into()
}

#[test]
fn subscribers_that_are_some_blocks_apart_find_what_was_written() {
    let mut notices = Notices::default();
    for number in 0..10 {
        notices.put(block(number), notice(1_000 + usize::from(number)));
    }
    for number in 0..10 {
        let found = notices.get(&block(number)).map(|json| json.get().len());
        assert_eq!(found, Some(1_000 + usize::from(number)));
    }
    assert!(notices.get(&block(10)).is_none());
}

#[test]
fn the_oldest_leave_and_the_newest_stays() {
    let mut notices = Notices::default();
    for number in 0..5 {
        notices.put(block(number), notice(NOTICES_BYTES / 4));
    }
    assert!(notices.get(&block(0)).is_none());
    assert!((1..5).all(|number| notices.get(&block(number)).is_some()));
    // As a block's can be.
    notices.put(block(5), notice(3 * NOTICES_BYTES));
    assert!((0..5).all(|number| notices.get(&block(number)).is_none()));
    assert!(notices.get(&block(5)).is_some());
    notices.put(block(6), notice(1_000));
    assert!(notices.get(&block(5)).is_none());
    assert_eq!(notices.bytes, 1_000);
}
