//! Goal: a side that comes back with an older disk, which breaks D1, costs the other side no more than
//! any other fault, and itself no more than D6 says.
//!
//! Method: an honest session is killed at many moments and goes on from each prefix of the records of
//! one side, while the other side goes on honestly, or denies that it got what was forgotten. For
//! N = 10 the moments are every 997 Wh, for N = 100 four, with every prefix of the last 6 records and
//! each eighth of the others.

use evchain_protocol::primitives::Span;
use evchain_protocol::session::{
    ConsumerRecord, EndReason, Message, PaymentKind, ProducerPolicy, ProducerRecord, Resume, StopReason,
};

use crate::bank::Side;
use crate::deal::{ALL_KINDS, Deal, Shape};
use crate::world::{World, at_start};

/// At which energies a session is killed, in Wh.
fn moments(count: u32) -> Vec<u64> {
    match count {
        100 => vec![150, 5_010, 9_890, 9_990],
        _ => (1..10_000).step_by(997).chain([9_999]).collect(),
    }
}

/// Which prefixes of a disk are tried. A side without its first record has no session any more.
fn prefixes(len: usize) -> Vec<usize> {
    (1..=len).filter(|records| len <= 24 || len - records < 6 || records % (len / 8) == 0).collect()
}

/// A session that is killed at this energy.
fn stopped_at(deal: &Deal, at: u64) -> World {
    let mut world = at_start(deal.clone());
    world.run_until(|world| world.flowed >= at);
    world
}

/// A session that went on from an older disk to its end.
struct Case {
    world: World,
    /// Installments of which the producer's disk had forgotten the release.
    forgotten: Vec<u32>,
    /// Whether the consumer had already ended the session.
    was_over: bool,
    /// Whether one of those can no longer be taken (S5).
    late: bool,
    what: String,
}

/// Runs each case.
fn each_older_disk(side: Side, counts: &[u32], change: fn(&mut World), mut check: impl FnMut(&Case)) {
    for kind in ALL_KINDS {
        for count in counts {
            let deal = Deal::new(Shape::new(kind, *count));
            for at in moments(*count) {
                let len = records(&stopped_at(&deal, at), side);
                for kept in prefixes(len) {
                    let mut world = stopped_at(&deal, at);
                    let before = world.released_on_disk();
                    let was_over =
                        world.consumer_disk.iter().any(|it| matches!(it, ConsumerRecord::Ended(_)));
                    world.kill(side, kept, Span::ZERO);
                    let after = world.released_on_disk();
                    let forgotten: Vec<u32> = before.into_iter().filter(|it| !after.contains(it)).collect();
                    let leads = Span::new(2 * ProducerPolicy::default().claim_lead.get());
                    let late = forgotten.iter().any(|it| world.deal.terms.is_late(*it, world.now, leads));
                    change(&mut world);
                    world.run();
                    let what =
                        format!("{kind:?}, N = {count}, {side:?} keeps {kept} of {len} records at {at} Wh");
                    check(&Case { world, forgotten, was_over, late, what });
                }
            }
        }
    }
}

fn records(world: &World, side: Side) -> usize {
    match side {
        Side::Consumer => world.consumer_disk.len(),
        Side::Producer => world.producer_disk.len(),
    }
}

/// The other side says that it is no further than the restored one.
fn deny(world: &mut World) {
    let is_release = |it: &&ConsumerRecord| matches!(it, ConsumerRecord::Released(_));
    let by_consumer = world.consumer_disk.iter().filter(is_release).count()
        + usize::from(world.deal.terms.kind == PaymentKind::Channel);
    let pretended = u32::try_from(by_consumer.min(world.released_on_disk().len())).unwrap();
    world.tamper = Some(Box::new(move |_, message| match message {
        Message::Resume(it) => {
            Some(vec![Message::Resume(Resume { released: it.released.min(pretended), ..*it })])
        }
        _ => None,
    }));
}

const NOTHING_ELSE: fn(&mut World) = |_| {};

#[test]
fn a_consumer_with_an_older_disk_loses_at_most_one_installment_and_the_producer_nothing() {
    for change in [NOTHING_ELSE, deny] {
        each_older_disk(Side::Consumer, &[1, 2, 10, 100], change, |case| {
            case.world.assert_risk_bounds(&case.what);
        });
    }
}

/// D6: what the lost records released is the producer's loss, as far as it was not on the chain.
#[test]
fn a_producer_with_an_older_disk_loses_at_most_what_it_forgot_and_the_consumer_one_installment() {
    for change in [NOTHING_ELSE, deny] {
        each_older_disk(
            Side::Producer,
            &[1, 2, 10, 100],
            change,
            |Case { world, forgotten, what, .. }| {
                let (loss, bound) = (world.consumer_loss(), world.largest_installment());
                assert!(loss <= bound, "{what}: the consumer lost {loss}, more than {bound}");
                let own = world.producer_loss_wh();
                assert!(own <= world.deal.energy_of(forgotten.iter().copied()), "{what}: {own} Wh unpaid");
            },
        );
    }
}

/// D6, C17: a consumer that is still there sends all of them again.
#[test]
fn forgotten_releases_lose_nothing_while_the_session_lasts() {
    let mut whole = 0;
    each_older_disk(Side::Producer, &[2, 10, 100], NOTHING_ELSE, |case| {
        let Case { world, forgotten, was_over, late, what } = case;
        // A deposit that returned meanwhile can't be released again.
        let is_too_late = world.deal.terms.deadline(0).is_some() && forgotten.contains(&0);
        if !was_over && !is_too_late {
            world.assert_risk_bounds(what);
            if !late {
                assert_eq!(world.flowed, 10_000, "{what}: goes on to the end");
                whole += 1;
            }
        }
    });
    assert!(whole > 300, "{whole} sessions went on to the end");
}

/// Without any record the producer has no session, and nobody asks it to settle. Channels are closed
/// by the consumer (E6).
#[test]
fn a_producer_that_lost_its_disk_keeps_what_the_chain_gives_by_itself() {
    for kind in ALL_KINDS {
        for at in [10, 4_500, 8_500] {
            let deal = Deal::new(Shape::new(kind, 10));
            let mut world = stopped_at(&deal, at);
            let delivered =
                world.producer_disk.iter().filter(|it| matches!(it, ProducerRecord::Delivered(_)));
            let (delivered, claimed) = (delivered.count(), world.bank.paid.len());
            world.kill(Side::Producer, 0, Span::ZERO);
            world.run();
            let paid = world.bank.paid.len();
            let expected = match kind {
                PaymentKind::Hashes | PaymentKind::Chain => claimed.max(1),
                PaymentKind::Channel => delivered.max(1),
                PaymentKind::Single => claimed,
            };
            assert_eq!(paid, expected, "{kind:?} at {at} Wh");
            assert!(world.consumer_loss() <= world.largest_installment(), "{kind:?} at {at} Wh");
            let reason = world.consumer_outcome.unwrap().reason;
            assert_eq!(reason, EndReason::ConsumerStopped(StopReason::Timeout));
        }
    }
}
