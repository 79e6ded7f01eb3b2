//! Goal: the measure is what the chain does most of the time, and neither one outage nor a burst of
//! old blocks moves it.

use super::*;

const MS: fn(u64) -> Timestamp = Timestamp::new;

/// Blocks each `gap` ms, heard `lag` ms after their time.
fn steady(count: u64, gap: u64, lag: u64) -> FinalityMeter {
    let mut meter = FinalityMeter::default();
    for height in 1..=count {
        let time = height * gap;
        meter.heard(Height::new(height), MS(time), MS(time + lag));
    }
    meter
}

#[test]
fn a_steady_chain_takes_a_gap_and_a_lag() {
    assert_eq!(steady(50, 500, 20).finality(&Params::default()), Span::new(520));
}

#[test]
fn a_chain_without_blocks_is_taken_at_its_word() {
    let params = Params { idle_interval: Span::new(300), ..Params::default() };
    assert_eq!(FinalityMeter::default().finality(&params), Span::new(300));
}

#[test]
fn one_outage_does_not_count() {
    let mut meter = steady(50, 500, 20);
    meter.heard(Height::new(51), MS(3_600_000), MS(3_600_020));
    assert_eq!(meter.finality(&Params::default()), Span::new(520));
    meter.heard(Height::new(52), MS(7_200_000), MS(7_200_020));
    assert!(meter.finality(&Params::default()) > Span::new(3_000_000), "two do");
}

#[test]
fn blocks_that_were_missed_are_no_gap() {
    let mut meter = steady(50, 500, 20);
    for height in (60..200).step_by(2) {
        meter.heard(Height::new(height), MS(height * 500), MS(height * 500 + 20));
    }
    assert_eq!(meter.finality(&Params::default()), Span::new(520));
}

#[test]
fn a_burst_of_old_blocks_does_not_count() {
    let mut meter = steady(100, 500, 20);
    for height in 101..140 {
        meter.heard(Height::new(height), MS(height * 500), MS(200 * 500));
    }
    assert_eq!(meter.finality(&Params::default()), Span::new(520));
}

#[test]
fn old_blocks_are_forgotten() {
    let mut meter = steady(50, 5_000, 20);
    for height in 51..=250 {
        let time = 50 * 5_000 + (height - 50) * 500;
        meter.heard(Height::new(height), MS(time), MS(time + 20));
    }
    assert_eq!((meter.gaps.len(), meter.lags.len()), (BLOCKS, BLOCKS));
    assert_eq!(meter.finality(&Params::default()), Span::new(520));
}
