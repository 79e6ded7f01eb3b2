//! Goal: what a client sent is passed on again seldom, and never without end.
//! Method: heights go by, all the while nothing becomes final.

use evchain_protocol::crypto::Hash;
use evchain_protocol::primitives::Height;

use super::{MAX_PER_BLOCK, MAX_TIMES, Repeats};

fn id(number: u8) -> Hash {
    Hash::from_bytes([number; 32])
}

#[test]
fn a_transaction_is_repeated_after_several_blocks_then_ever_more_seldom() {
    let mut repeats = Repeats::default();
    repeats.add(id(1), Height::new(100));
    let heights: Vec<u64> =
        (101..10_000).filter(|height| !repeats.due(Height::new(*height), |_| true).is_empty()).collect();
    assert_eq!(heights.len(), MAX_TIMES as usize);
    assert_eq!(heights[..3], [108, 124, 156]);
    assert!(repeats.0.is_empty(), "nothing is remembered of it");
}

#[test]
fn what_is_final_is_not_repeated() {
    let mut repeats = Repeats::default();
    repeats.add(id(1), Height::new(100));
    repeats.add(id(2), Height::new(100));
    assert_eq!(repeats.due(Height::new(108), |id| id.as_bytes()[0] == 2), [id(2)]);
    assert_eq!(repeats.0.len(), 1);
}

#[test]
fn few_are_repeated_after_one_block() {
    let mut repeats = Repeats::default();
    for number in 0..200 {
        repeats.add(id(number), Height::new(100));
    }
    let mut repeated = 0;
    for height in 108..124 {
        let due = repeats.due(Height::new(height), |_| true);
        assert!(due.len() <= MAX_PER_BLOCK);
        repeated += due.len();
    }
    assert_eq!(repeated, 200, "none is forgotten");
}
