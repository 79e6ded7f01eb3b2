//! Goal: block times that stand still or jump cost nobody more than the bounds.
//!
//! Method: sessions that fill their window, with the shortest useful claim margin, over chains whose
//! leaders set a block's time as the rules still allow: above the parent's, and at most `max_skew`
//! ahead of the voters' clocks. They stand still and catch up at each of many moments, run ahead for
//! ever, or at one block, or at random. Both sides are honest; then one of them falls silent.
//!
//! A chain that makes no block at all while a deadline passes is not among them: what was not claimed
//! then is late in its next block (D7).

use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Span, Timestamp};
use evchain_protocol::session::{Message, PaymentKind};

use crate::deal::{ALL_KINDS, Deal, END, KINDS, START, Shape, T_MAX};
use crate::world::{BlockTime, Tamper, World, at_start};

/// Two seconds of skew are four times the default; the machines' leads must be longer than any.
const SKEWS: [Span; 2] = [Span::new(500), Span::new(2_000)];

/// A battery that takes ever less: the session fills the window, and claims are due within it.
fn slow(deal: &Deal) -> World {
    let mut world = at_start(deal.clone());
    world.hook = Some(Box::new(|world| {
        let second = world.now.since(START).get() / 1000;
        world.throttle(second * 10_000 / 3600);
    }));
    world
}

/// Runs sessions of all shapes over a chain with such times.
fn each_session(what: &str, block_time: impl Fn() -> BlockTime, check: fn(&World, &str)) {
    let refund = DepositRule::Refund(T_MAX);
    let with_refund = [PaymentKind::Hashes, PaymentKind::Chain].map(|kind| (kind, refund));
    let kinds = ALL_KINDS.map(|kind| (kind, Shape::new(kind, 1).deposit));
    for (kind, deposit) in kinds.into_iter().chain(with_refund) {
        for count in [1, 2, 10, 100] {
            let claim_margin = Span::new(180_000);
            let deal = Deal::new(Shape { deposit, claim_margin, ..Shape::new(kind, count) });
            for silent_at in [None, Some(3_333)] {
                let mut world = slow(&deal);
                world.block_time = Some(block_time());
                if let Some(at) = silent_at {
                    world.tamper = Some(silence(&deal, at));
                }
                world.run();
                let what = format!("{what}: {kind:?}, {deposit:?}, N = {count}, silent at {silent_at:?} Wh");
                world.assert_risk_bounds(&what);
                assert_eq!(world.bank.refused, [], "{what}: the ledger takes what the machines settle");
                if silent_at.is_none() {
                    check(&world, &what);
                }
            }
        }
    }
}

/// From this energy on no message arrives.
fn silence(deal: &Deal, at: u64) -> Tamper {
    let count = u64::from(deal.terms.plan.count.get());
    let index = u32::try_from(at * count / 10_000).unwrap();
    let mut is_silent = false;
    Box::new(move |_, message| {
        is_silent |= matches!(message, Message::Delivered(it) if it.index >= index);
        is_silent.then(Vec::new)
    })
}

fn complete(world: &World, what: &str) {
    world.assert_complete(what);
}

#[test]
fn a_chain_that_runs_ahead_of_every_clock_delays_nothing() {
    for skew in SKEWS {
        let ahead = || -> BlockTime { Box::new(move |now| now.after(skew).unwrap()) };
        each_session(&format!("ahead by {skew:?}"), ahead, complete);
    }
}

/// While it stands still no deadline passes on the chain, and on the own clock they do.
#[test]
fn a_chain_that_stands_still_and_catches_up_costs_nobody_money() {
    // Minutes from five before the start on, when a deposit with `refund` is released and claimed.
    let from_early =
        |minutes: u64| START.before(Span::new(300_000)).after(Span::new(minutes * 60_000)).unwrap();
    for (from, to) in [(0, 3), (2, 8), (5, 25), (7, 14), (15, 30), (30, 67), (60, 69), (5, 125)] {
        let (from, to) = (from_early(from), from_early(to));
        // Zero is above no parent's time: the least that is, one millisecond more, takes its place.
        let still = move || -> BlockTime {
            Box::new(move |now| match now {
                now if now >= from && now < to => Timestamp::ZERO,
                now => now.after(SKEWS[0]).unwrap(),
            })
        };
        each_session(&format!("stands still from {from} to {to}"), still, complete);
    }
}

/// Claims are in time by the chain's clock also where the own clock is far behind it (P15).
#[test]
fn a_producer_whose_clock_is_behind_the_chains_claims_in_time() {
    // More than `settle_lead`, less than `claim_lead`.
    let behind = Span::new(45_000);
    let ahead = || -> BlockTime { Box::new(move |now| now.after(behind).unwrap()) };
    each_session("behind by 45 s", ahead, |_, _| {});
}

#[test]
fn one_jump_to_the_limit_at_any_block_costs_nobody_money() {
    // Around each deadline of the shapes with N in {1, 2, 10}, and between.
    for seconds in (0..=3_780).step_by(180) {
        let at = START.after(Span::new(seconds * 1000)).unwrap();
        let jump = move || -> BlockTime {
            Box::new(
                move |now| {
                    if now == at { now.after(SKEWS[1]).unwrap() } else { now.before(Span::new(9_000)) }
                },
            )
        };
        each_session(&format!("jumps at {at}"), jump, complete);
    }
}

#[test]
fn any_times_that_rise_cost_nobody_money() {
    for seed in 1..=8_u64 {
        let any = move || -> BlockTime {
            let mut state = seed;
            Box::new(move |now| {
                // Numerical Recipes' generator: enough to mix leads and lags of up to ten seconds.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                now.after(SKEWS[1]).unwrap().before(Span::new((state >> 33) % 12_000))
            })
        };
        each_session(&format!("seed {seed}"), any, complete);
    }
}

/// Nothing flows while the chain's time has not passed `cancel_by` (S8), however late it is: the
/// consumer could still take everything back.
#[test]
fn a_chain_that_stands_still_before_cancel_by_lets_nothing_flow() {
    for kind in KINDS {
        let deal = Deal::new(Shape { cancel_by: START, ..Shape::new(kind, 10) });
        let mut world = World::new(deal, START.before(Span::new(60_000)));
        world.block_time =
            Some(Box::new(|now| if now < END { Timestamp::ZERO } else { now.after(SKEWS[0]).unwrap() }));
        world.run();
        let what = format!("{kind:?}");
        assert_eq!(world.flowed, 0, "{what}");
        world.assert_risk_bounds(&what);
    }
}
