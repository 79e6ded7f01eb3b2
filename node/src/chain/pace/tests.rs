//! Goal: a leader on a slow machine packs less, and more again when it is fast.
//! Method: times are made up.

use std::time::Duration;

use super::{LEAST, Pace};

const BUDGET: Duration = Duration::from_millis(125);

#[test]
fn blocks_shrink_at_once_and_grow_again() {
    let mut pace = Pace::default();
    assert!(pace.within(BUDGET) > 16_384, "nothing is known yet");
    pace.learn(4_000, Duration::from_millis(80));
    assert_eq!(pace.within(BUDGET), 6_250);
    // Ten times as slow: the next block fits all the same.
    pace.learn(4_000, Duration::from_millis(800));
    assert_eq!(pace.within(BUDGET), 625);
    let mut blocks = 0;
    while pace.within(BUDGET) < 4_000 {
        pace.learn(
            pace.within(BUDGET),
            Duration::from_micros(20) * u32::try_from(pace.within(BUDGET)).unwrap(),
        );
        blocks += 1;
        assert!(blocks < 20, "it recovers");
    }
    assert!(blocks > 4, "not at once: {blocks} blocks");
}

#[test]
fn short_blocks_tell_little_and_there_is_a_least() {
    let mut pace = Pace::default();
    pace.learn(0, Duration::from_millis(5));
    assert!(
        pace.within(BUDGET) > 4_096,
        "an empty block that settles what is due says nothing of transactions"
    );
    pace.learn(10, Duration::from_mins(1));
    assert_eq!(pace.within(BUDGET), LEAST);
    pace.learn(usize::MAX, Duration::MAX);
    assert_eq!(pace.within(Duration::ZERO), LEAST);
}
