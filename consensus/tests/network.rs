//! Goal: whatever the network does, safety holds, and progress comes back with it (scenarios 7 to 10,
//! 15 to 18, 28).
//! Method: simulated clusters with cuts, losses and delays; directed cases by a filter that decides
//! for each message whether it arrives.

mod common;

use common::{leader, passes, progresses, running_cluster, seeds, stalls, view_ahead};
use evchain_consensus::message::Message;
use evchain_consensus::sim::cluster::Cluster;
use evchain_consensus::sim::network::Quality;
use evchain_consensus::sim::scenarios::{self, subject};
use evchain_consensus::sim::setup::Setup;
use evchain_protocol::finality::Subject;
use evchain_protocol::primitives::View;

/// Scenario 7: one node holds a notarization of a view, the others its nullification, and the one or
/// the others lead next.
#[test]
fn notarized_here_nullified_there() {
    for seed in seeds(8) {
        for holder_leads in [true, false] {
            let mut cluster = running_cluster(seed, 4);
            let view = view_ahead(&cluster, 2);
            let (proposer, next) = (leader(&cluster, view), leader(&cluster, View::new(view.get() + 1)));
            let other = (0..4).find(|node| *node != proposer && *node != next).unwrap();
            let holder = if holder_leads { next } else { other };
            let unaware = (0..4).find(|node| *node != proposer && *node != holder).unwrap();
            cluster.network.set_filter(move |_, to, message| match (message, subject(message)) {
                (_, Some(subject)) if subject.view() < view => true,
                (Message::Proposal(_), Some(subject)) if subject.view() == view => to != unaware,
                (Message::Vote(_), Some(subject)) if subject.view() == view => match subject {
                    Subject::Notarize(_) => to == holder,
                    Subject::Nullify(_) => to != holder,
                    Subject::Finalize(_) => false,
                },
                (Message::Certificate(_), Some(Subject::Nullify(subject))) if subject.view == view => {
                    to != holder
                }
                _ => false,
            });
            let split = cluster.run_until(5_000, |cluster| {
                cluster.properties().is_notarized(view) && cluster.properties().is_nullified(view)
            });
            assert!(split, "EVCHAIN_SEED={seed}: the split was not reached");
            cluster.network.heal();
            progresses(&mut cluster, seed, 6, 5_000);
        }
    }
}

/// Scenario 8: two halves of the cluster have reached different views.
#[test]
fn halves_in_different_views() {
    for seed in seeds(8) {
        let mut cluster = running_cluster(seed, 6);
        let view = view_ahead(&cluster, 2);
        // Nodes 0 to 2 never hear of the end of this view, the others go on.
        cluster.network.set_filter(move |_, to, message| {
            let ends_view = match message {
                Message::Certificate(_) | Message::Vote(_) | Message::Proposal(_) => {
                    subject(message).is_some_and(|subject| subject.view() >= view)
                }
                _ => true,
            };
            to > 2 || !ends_view
        });
        cluster.run_for(1_500);
        cluster.network.heal();
        progresses(&mut cluster, seed, 6, 8_000);
    }
}

/// Scenario 9: a node knows a notarization and not the body; the leader withholds it and another
/// holder is down, so it must come from the last one.
#[test]
fn body_comes_from_the_last_holder() {
    for seed in seeds(8) {
        let mut cluster = running_cluster(seed, 4);
        let view = view_ahead(&cluster, 2);
        let proposer = leader(&cluster, view);
        let unaware = (proposer + 1) % 4;
        let crashing = (proposer + 2) % 4;
        cluster.network.set_filter(move |from, to, message| match message {
            Message::Proposal(proposal) => proposal.block.header().view != view || to != unaware,
            Message::Blocks(_) | Message::Finalized(_) => from != proposer,
            _ => true,
        });
        let notarized = cluster.run_until(5_000, |cluster| cluster.properties().is_notarized(view));
        assert!(notarized, "EVCHAIN_SEED={seed}: view {view} was not notarized");
        cluster.crash(crashing);
        progresses(&mut cluster, seed, 6, 10_000);
        assert!(cluster.disk(unaware).chain().any(|block| block.header().view == view));
    }
}

/// Scenario 10: a node nullifies a view and then learns its notarization.
#[test]
fn notarization_after_own_nullify() {
    for seed in seeds(8) {
        let mut cluster = running_cluster(seed, 4);
        let view = view_ahead(&cluster, 2);
        let late = (leader(&cluster, view) + 2) % 4;
        cluster.network.set_filter(move |_, to, message| {
            to != late || subject(message).is_some_and(|subject| subject.view() < view)
        });
        let nullified = cluster.run_until(5_000, |cluster| cluster.disk(late).holds_nullify(view));
        assert!(nullified, "EVCHAIN_SEED={seed}: view {view} was not given up");
        cluster.network.heal();
        progresses(&mut cluster, seed, 6, 5_000);
    }
}

/// Scenario 10, with a restart between: the nullify must not be forgotten.
#[test]
fn notarization_after_own_nullify_and_restart() {
    for seed in seeds(8) {
        let mut cluster = running_cluster(seed, 4);
        let view = view_ahead(&cluster, 2);
        let late = (leader(&cluster, view) + 2) % 4;
        // The late node hears nothing of the view, and nobody hears a vote to finalize it.
        cluster.network.set_filter(move |_, to, message| {
            let finalizes = matches!(subject(message), Some(Subject::Finalize(_)));
            !finalizes && (to != late || subject(message).is_some_and(|subject| subject.view() < view))
        });
        let nullified = cluster.run_until(5_000, |cluster| cluster.disk(late).holds_nullify(view));
        assert!(nullified, "EVCHAIN_SEED={seed}: view {view} was not given up");
        cluster.crash(late);
        cluster.restart(late);
        // Now it may learn of the notarization.
        cluster.network.set_filter(move |_, _, message| {
            !matches!(subject(message), Some(Subject::Finalize(_) | Subject::Nullify(_)))
        });
        cluster.run_for(1_500);
        cluster.network.heal();
        progresses(&mut cluster, seed, 6, 5_000);
    }
}

/// A node that gets proposals and nothing else follows the views by their justifications.
#[test]
fn justifications_are_enough_to_follow() {
    passes(5, scenarios::justifications_are_enough_to_follow);
}

/// An observer that nobody sends votes, proposals or certificates to follows by asking.
#[test]
fn an_observer_follows_by_asking() {
    for seed in seeds(3) {
        let mut cluster = Cluster::new(Setup { observers: 1, ..Setup::new(seed, 4) });
        cluster.network.set_filter(|_, to, message| {
            to != 4 || matches!(message, Message::Certificates(_) | Message::Finalized(_))
        });
        cluster.run_for(3_000);
        progresses(&mut cluster, seed, 10, 5_000);
    }
}

/// Scenario 15: a minority, a half and one direction cut off; each heals.
#[test]
fn partitions_heal() {
    for seed in seeds(5) {
        let mut cluster = running_cluster(seed, 4);
        cluster.network.isolate(&[0], 4);
        cluster.run_until(10_000, |cluster| cluster.height(1) >= 10);
        assert!(cluster.height(0) < cluster.height(1));
        cluster.network.heal();
        progresses(&mut cluster, seed, 6, 5_000);

        cluster.network.isolate(&[0, 1], 4);
        stalls(&mut cluster, seed, 4_000);
        cluster.network.heal();
        progresses(&mut cluster, seed, 6, 8_000);

        (1..4).for_each(|node| cluster.network.cut(0, node));
        cluster.run_for(2_000);
        cluster.network.heal();
        (1..4).for_each(|node| cluster.network.cut(node, 0));
        cluster.run_for(2_000);
        cluster.network.heal();
        progresses(&mut cluster, seed, 6, 8_000);
    }
}

/// Scenario 16: 15 to 50% loss, reordering, duplication, one node ten times slower.
#[test]
fn bad_network() {
    for seed in seeds(3) {
        for loss_per_mille in [150, 300, 500] {
            let quality =
                Quality { min_delay_ms: 1, max_delay_ms: 60, loss_per_mille, duplicate_per_mille: 200 };
            let mut cluster = Cluster::new(Setup { quality, ..Setup::new(seed, 4) });
            cluster.network.slow = Some(3);
            progresses(&mut cluster, seed, 3, 120_000);
            cluster.network.quality = Quality::GOOD;
            cluster.network.slow = None;
            progresses(&mut cluster, seed, 6, 8_000);
        }
    }
}

/// Scenario 17: execution is slow at one node, and at f + 1.
#[test]
fn slow_execution() {
    for seed in seeds(3) {
        for slow in [1, 2] {
            let mut cluster = running_cluster(seed, 4);
            (0..slow).for_each(|node| cluster.slow_execution(node, 50));
            progresses(&mut cluster, seed, 6, 30_000);
        }
    }
}

/// Scenario 17: each sync takes long at one node, and at f + 1.
#[test]
fn slow_disks() {
    for seed in seeds(3) {
        for slow in [1, 2] {
            let mut cluster = running_cluster(seed, 4);
            (0..slow).for_each(|node| cluster.slow_disk(node, 40));
            progresses(&mut cluster, seed, 6, 30_000);
        }
    }
}

/// Scenario 18: clocks as far apart as proposals allow.
#[test]
fn skewed_clocks() {
    for seed in seeds(3) {
        let mut cluster = Cluster::new(Setup::new(seed, 4));
        cluster.skew_clock(0, 450);
        cluster.skew_clock(1, -30);
        progresses(&mut cluster, seed, 20, 10_000);
    }
}

/// Scenario 28: timeouts far below the network's delay; backing off makes them long enough.
#[test]
fn short_timeouts_back_off() {
    passes(3, scenarios::short_timeouts_back_off);
}

/// A leader that is down costs a leader timeout, however long everything went well before.
#[test]
fn dead_leaders_cost_little() {
    passes(4, scenarios::dead_leaders_cost_little);
}

/// N5: more views are skipped than a justification has room for, and a node that heard nothing of it is
/// needed.
#[test]
fn more_skips_than_fit() {
    passes(2, scenarios::more_skips_than_fit);
}
