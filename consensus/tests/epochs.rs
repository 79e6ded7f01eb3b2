//! Goal: the authorities change at the end of each epoch, and nobody is left behind (rules E1 to E7,
//! scenarios 19 to 23).
//! Method: simulated clusters whose ledger names other authorities for each epoch; directed cases by a
//! filter that decides for each message whether it arrives. Every invariant, I9 and E3 among them, is
//! checked at every output.

mod common;

use common::{leader, passes, progresses, seeds};
use evchain_consensus::sim::boundaries::{self, changing, epoch, votes};
use evchain_consensus::sim::byzantine::{Behaviour, BeyondEpoch, BogusJustification, Spoiler, WrongEpoch};
use evchain_consensus::sim::cluster::Cluster;
use evchain_protocol::primitives::{Epoch, View};

/// Until every node that is up is in this epoch.
#[track_caller]
fn reaches_epoch(cluster: &mut Cluster, seed: u64, goal: u64, within_ms: u64) {
    if let Err(violation) = boundaries::reaches_epoch(cluster, goal, within_ms) {
        panic!("EVCHAIN_SEED={seed}: {violation}");
    }
}

/// The epoch changes at every height that it can, with the same authorities and with others, for each
/// size of a cluster.
#[test]
fn epochs_of_every_length() {
    for seed in seeds(3) {
        for length in [1, 2, 3, 7] {
            let mut cluster = changing(seed, length, &[&[0, 1, 2, 3], &[0, 1, 2, 3], &[1, 2, 4, 5, 6, 7, 8]]);
            reaches_epoch(&mut cluster, seed, 6, 10_000);
            let mut single = changing(seed, length, &[&[0]]);
            reaches_epoch(&mut single, seed, 6, 10_000);
        }
    }
}

/// E7: a boundary costs no timeout.
#[test]
fn a_boundary_is_passed_without_a_timeout() {
    passes(5, boundaries::a_boundary_costs_no_timeout);
}

/// Scenario 19: a joiner that was there from genesis on observes, and votes from its epoch on.
#[test]
fn a_joiner_from_genesis() {
    for seed in seeds(5) {
        let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[0, 1, 2, 3, 4]]);
        assert!(cluster.run_until(5_000, |cluster| cluster.height(4) >= 3));
        assert!(!votes(&cluster, 4));
        reaches_epoch(&mut cluster, seed, 1, 5_000);
        assert!(votes(&cluster, 4));
        // Now two of the five are too many to miss, so the joiner's votes count.
        cluster.crash(0);
        progresses(&mut cluster, seed, 12, 10_000);
    }
}

/// Scenario 19: a joiner that starts in the middle of the epoch before its own, and one that starts
/// in the middle of its own.
#[test]
fn a_joiner_in_mid_epoch() {
    for seed in seeds(5) {
        for start_at in [7, 13] {
            let mut cluster = changing(seed, 10, &[&[0, 1, 2, 3], &[0, 1, 2, 4]]);
            cluster.run_for(1);
            cluster.crash(4);
            assert!(cluster.run_until(10_000, |cluster| cluster.best_height() >= start_at));
            cluster.restart(4);
            progresses(&mut cluster, seed, 12, 10_000);
            assert!(votes(&cluster, 4));
            cluster.crash(1);
            progresses(&mut cluster, seed, 12, 10_000);
        }
    }
}

/// Scenario 19: a joiner that has to walk over three boundaries, while the chain goes on.
#[test]
fn a_joiner_across_three_epochs() {
    for seed in seeds(3) {
        let sets: [&[usize]; 4] = [&[0, 1, 2, 3], &[1, 2, 3, 5], &[2, 3, 5, 6], &[3, 4, 5, 6]];
        let mut cluster = changing(seed, 40, &sets);
        cluster.run_for(1);
        cluster.crash(4);
        assert!(cluster.run_until(30_000, |cluster| cluster.best_height() >= 130));
        cluster.restart(4);
        progresses(&mut cluster, seed, 12, 5_000);
        assert!(votes(&cluster, 4));
        assert!(cluster.disk(4).record_count() < 200, "the log is pruned across epochs");
    }
}

/// Scenario 19: a joiner that has to walk over many boundaries, while the chain goes on.
#[test]
fn a_joiner_across_many_epochs() {
    passes(5, boundaries::a_joiner_across_epochs);
}

/// E6, S8: nobody of the first epoch is there any more, and answers of the others are lost.
#[test]
fn a_joiner_when_the_first_authorities_are_gone() {
    passes(5, boundaries::the_first_authorities_are_gone);
}

/// E4: a node that was down at a boundary, of which nobody speaks any more.
#[test]
fn who_was_down_at_the_end_asks() {
    passes(8, boundaries::who_was_down_at_the_end_asks);
}

/// Scenario 20: exactly one honest node has seen the epoch's last finalization, and is needed.
#[test]
fn the_end_was_seen_by_one() {
    for restarts in [false, true] {
        passes(8, |seed| boundaries::the_end_was_seen_by_one(seed, restarts));
    }
}

/// E5, scenario 20: that node cannot be asked, so it has to push.
#[test]
fn the_end_is_pushed() {
    passes(8, boundaries::the_end_is_pushed);
}

/// Scenario 20: the same with disjoint sets, in which that node has no vote any more and serves only.
#[test]
fn the_end_was_seen_by_one_that_is_removed() {
    for seed in seeds(8) {
        let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[4, 5, 6, 7]]);
        let one = usize::try_from(seed % 4).unwrap();
        boundaries::only_one_sees_the_end(&mut cluster, one, 5);
        assert!(cluster.run_until(10_000, |cluster| epoch(cluster, one) == Some(1)));
        assert!((4..8).all(|node| epoch(&cluster, node) == Some(0)), "EVCHAIN_SEED={seed}");
        cluster.crash(one);
        cluster.restart(one);
        // The others of the old set know nothing, and hear nothing.
        let rest: Vec<usize> = (0..4).filter(|node| *node != one).collect();
        cluster.network.heal();
        cluster.network.isolate(&rest, 8);
        assert!(cluster.run_until(5_000, |cluster| cluster.height(one) >= 8), "EVCHAIN_SEED={seed}");
        cluster.network.heal();
        progresses(&mut cluster, seed, 8, 5_000);
    }
}

/// Scenario 21: the epoch's last block is notarized at one node and its view nullified at the others.
#[test]
fn the_last_block_is_proposed_again() {
    for holder_leads in [true, false] {
        passes(8, |seed| boundaries::the_last_block_is_proposed_again(seed, holder_leads));
    }
}

/// E2: while nothing can be finalized, every view notarizes the same last block, and none above it.
#[test]
fn the_last_block_is_proposed_until_it_is_final() {
    passes(5, boundaries::the_last_block_is_proposed_until_it_is_final);
}

/// Scenario 22: nobody stays. The old authorities follow as observers.
#[test]
fn disjoint_sets() {
    for seed in seeds(5) {
        let mut cluster = changing(seed, 4, &[&[0, 1, 2, 3], &[4, 5, 6, 7], &[0, 1, 2, 3]]);
        reaches_epoch(&mut cluster, seed, 1, 5_000);
        assert!((0..4).all(|node| !votes(&cluster, node)) && (4..8).all(|node| votes(&cluster, node)));
        reaches_epoch(&mut cluster, seed, 2, 5_000);
        assert!((0..4).all(|node| votes(&cluster, node)), "who comes back votes again");
        progresses(&mut cluster, seed, 10, 5_000);
    }
}

/// Scenario 22: a removed node follows; that it stops or is cut off is of no matter.
#[test]
fn a_removed_node() {
    for seed in seeds(5) {
        let mut cluster = changing(seed, 4, &[&[0, 1, 2, 3, 4], &[0, 1, 2, 3]]);
        reaches_epoch(&mut cluster, seed, 1, 5_000);
        assert!(!votes(&cluster, 4));
        progresses(&mut cluster, seed, 6, 5_000);
        let before = cluster.height(4);
        cluster.crash(4);
        progresses(&mut cluster, seed, 6, 5_000);
        cluster.restart(4);
        cluster.crash(0);
        progresses(&mut cluster, seed, 6, 5_000);
        assert!(cluster.height(4) > before);
    }
}

/// Scenario 22: the leader of the last block removes itself with it, in a set of one too.
#[test]
fn self_removal() {
    for seed in seeds(5) {
        let mut single = changing(seed, 3, &[&[0], &[1], &[0]]);
        reaches_epoch(&mut single, seed, 2, 5_000);
        progresses(&mut single, seed, 6, 5_000);
        let mut cluster = changing(seed, 6, &[&[0, 1, 2, 3], &[0, 1, 2, 3]]);
        let last = leader(&cluster, View::new(6));
        let rest: Vec<usize> = (0..4).filter(|node| *node != last).collect();
        cluster = changing(seed, 6, &[&[0, 1, 2, 3], &rest]);
        reaches_epoch(&mut cluster, seed, 2, 5_000);
        assert!(!votes(&cluster, last));
    }
}

fn tolerates(behaviour: &(impl Behaviour + Clone + 'static)) {
    for seed in seeds(8) {
        let mut cluster = changing(seed, 3, &[&[0, 1, 2, 3], &[0, 1, 2, 4], &[0, 3, 4, 5, 1, 2, 6]]);
        cluster.corrupt(0, behaviour.clone());
        reaches_epoch(&mut cluster, seed, 2, 10_000);
        progresses(&mut cluster, seed, 12, 20_000);
        cluster.crash(3);
        cluster.run_for(1_000);
        cluster.restart(3);
        progresses(&mut cluster, seed, 12, 20_000);
    }
}

/// Scenario 23: a flood of messages of past, next and far epochs.
#[test]
fn messages_of_wrong_epochs() {
    tolerates(&WrongEpoch);
}

/// Scenario 23, E7: the same flood for as long as a long epoch lasts is not kept.
#[test]
fn floods_of_early_messages() {
    passes(1, boundaries::floods_of_early_messages);
}

/// E7: every byte of what comes early is counted.
#[test]
fn floods_of_early_bytes() {
    passes(1, boundaries::floods_of_early_bytes);
}

/// E1: a leader goes on above the epoch's last block.
#[test]
fn a_leader_that_goes_beyond_the_epoch() {
    tolerates(&BeyondEpoch);
    passes(8, boundaries::goes_beyond_the_epoch);
}

/// E2, scenario 13: a leader proposes the last block again for no reason.
#[test]
fn bogus_envelopes() {
    tolerates(&BogusJustification);
    passes(8, boundaries::bogus_envelopes);
}

/// N1: a node passes on what others propose, spoiled.
#[test]
fn spoiled_envelopes() {
    tolerates(&Spoiler::default());
}

/// E3: between two epochs nobody votes, however long the shell takes to say what comes next.
#[test]
fn a_slow_handover() {
    passes(5, boundaries::a_slow_handover);
}

/// E3: who is an authority next is what the last header says, or the node stops.
#[test]
fn a_state_that_names_others() {
    passes(3, boundaries::a_state_that_names_others);
}

/// Scenario 6 at a boundary: a crash at every output, of one node and of all at once, in epochs of two
/// blocks, so that each of them is near the end of an epoch.
#[test]
fn crash_at_every_output_around_a_boundary() {
    for seed in seeds(1) {
        for outputs in 0..160 {
            let mut cluster = changing(seed + outputs, 2, &[&[0, 1, 2, 3], &[1, 2, 3, 4], &[0, 2, 3, 5]]);
            let victims = if outputs % 2 == 0 { 2..3 } else { 0..6 };
            victims.clone().for_each(|node| cluster.crash_after_outputs(node, outputs / 2));
            cluster.run_for(400);
            cluster.disarm();
            victims.for_each(|node| cluster.restart(node));
            progresses(&mut cluster, seed + outputs, 5, 5_000);
        }
    }
}

/// Scenario 24: an authority whose database was wiped observes until the next epoch, from wherever
/// it has to catch up.
#[test]
fn wiped_authorities_wait_for_the_next_epoch() {
    for seed in seeds(5) {
        let mut cluster = changing(seed, 20, &[&[0, 1, 2, 3]]);
        assert!(cluster.run_until(20_000, |cluster| cluster.lowest_height() >= 45));
        cluster.crash(1);
        cluster.wipe(1);
        cluster.restart(1);
        assert!(cluster.run_until(5_000, |cluster| cluster.height(1) > 46));
        assert_eq!(epoch(&cluster, 1), Some(2));
        assert!(!votes(&cluster, 1), "EVCHAIN_SEED={seed}: it may have voted in this epoch");
        reaches_epoch(&mut cluster, seed, 3, 10_000);
        assert!(votes(&cluster, 1));
        cluster.crash(0);
        progresses(&mut cluster, seed, 8, 10_000);
        assert_eq!(cluster.engine(1).unwrap().epoch().checked_sub(Epoch::new(3)).map(|_| ()), Ok(()));
    }
}
