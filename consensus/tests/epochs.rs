//! Goal: the authorities change at the end of each epoch, and nobody is left behind (rules E1 to E7,
//! scenarios 19 to 23).
//! Method: simulated clusters whose ledger names other authorities for each epoch; directed cases by a
//! filter that decides for each message whether it arrives. Every invariant, I9 and E3 among them, is
//! checked at every output.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::{leader, progresses, seeds, sound, stalls};
use evchain_consensus::epochs::Epochs;
use evchain_consensus::message::Message;
use evchain_consensus::sim::byzantine::{Behaviour, BeyondEpoch, WrongEpoch};
use evchain_consensus::sim::cluster::Cluster;
use evchain_consensus::sim::setup::{Schedule, Setup};
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::Subject;
use evchain_protocol::primitives::{Epoch, Height, View};

/// A cluster with these sets of nodes as the authorities of its epochs.
fn changing(seed: u64, length: u64, sets: &[&[usize]]) -> Cluster {
    let authorities = sets[0].len();
    let nodes = sets.iter().flat_map(|set| set.iter()).max().map_or(0, |last| last + 1);
    let sets = sets.iter().map(|set| set.to_vec()).collect();
    let schedule = Some(Schedule { length, sets });
    let observers = nodes.max(authorities + 1) - authorities;
    Cluster::new(Setup { observers, schedule, ..Setup::new(seed, authorities) })
}

fn epoch(cluster: &Cluster, node: usize) -> Option<u64> {
    cluster.engine(node).map(|engine| engine.epoch().get())
}

fn votes(cluster: &Cluster, node: usize) -> bool {
    cluster.engine(node).is_some_and(Epochs::is_voting)
}

/// Until every node that is up is in this epoch.
#[track_caller]
fn reaches_epoch(cluster: &mut Cluster, seed: u64, goal: u64, within_ms: u64) {
    let up = |cluster: &Cluster| (0..cluster.len()).filter_map(|node| epoch(cluster, node)).min();
    let reached = cluster.run_until(within_ms, |cluster| up(cluster) >= Some(goal));
    sound(cluster, seed);
    assert!(reached, "EVCHAIN_SEED={seed}: epoch {:?} after {within_ms} ms, not {goal}", up(cluster));
}

fn committed(cluster: &Cluster, height: u64) -> Hash {
    cluster.properties().committed_at(Height::new(height)).unwrap()
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

/// A boundary costs no timeout: twelve epochs of two blocks take little longer than as many blocks.
#[test]
fn a_boundary_is_passed_without_a_timeout() {
    for seed in seeds(5) {
        let mut cluster = changing(seed, 2, &[&[0, 1, 2, 3], &[1, 2, 3, 4]]);
        reaches_epoch(&mut cluster, seed, 12, 3_000);
        for height in 1..=24 {
            let block = committed(&cluster, height);
            let skipped = cluster.properties().notarized_in(block).iter().any(|view| view.get() > 3);
            assert!(!skipped, "EVCHAIN_SEED={seed}: block {height} took more than three views");
        }
    }
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

/// E6: nobody of the first epoch is there any more, so that the way to the present has to be asked of
/// those who are.
#[test]
fn a_joiner_when_the_first_authorities_are_gone() {
    for seed in seeds(3) {
        let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[4, 5, 6, 7], &[8, 9, 10, 11]]);
        cluster.run_for(1);
        cluster.crash(11);
        assert!(cluster.run_until(30_000, |cluster| cluster.best_height() >= 23));
        (0..8).for_each(|node| cluster.crash(node));
        cluster.restart(11);
        progresses(&mut cluster, seed, 12, 10_000);
        assert!(votes(&cluster, 11));
    }
}

/// Only this node hears votes to finalize in epoch 0, and its own finalizations stay with it.
fn only_one_sees_the_end(cluster: &mut Cluster, one: usize, length: u64) {
    let last = Height::new(length);
    let mut last_blocks = Vec::new();
    cluster.network.set_filter(move |from, to, message| {
        if let Message::Proposal(proposal) = message
            && proposal.block.header().height == last
        {
            last_blocks.push(proposal.block.hash());
        }
        let is_end = |subject: &Subject| {
            matches!(subject, Subject::Finalize(subject) if last_blocks.contains(&subject.block))
        };
        match message {
            Message::Vote(vote) => !is_end(&vote.subject) || to == one,
            Message::Certificate(certificate) => !is_end(&certificate.subject),
            _ => from != one,
        }
    });
}

/// Scenario 20: exactly one honest node has seen the epoch's last finalization; one authority is
/// Byzantine and silent from then on, so that the others cannot do without that node.
#[test]
fn the_end_was_seen_by_one() {
    for seed in seeds(8) {
        for restarts in [false, true] {
            let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[0, 1, 2, 3, 4]]);
            let one = usize::try_from(seed % 4).unwrap();
            only_one_sees_the_end(&mut cluster, one, 5);
            assert!(cluster.run_until(10_000, |cluster| epoch(cluster, one) == Some(1)));
            let others = (0..4).filter(|node| *node != one);
            assert!(others.clone().all(|node| epoch(&cluster, node) == Some(0)), "EVCHAIN_SEED={seed}");
            cluster.crash((one + 1) % 4);
            if restarts {
                cluster.crash(one);
                cluster.restart(one);
            }
            cluster.network.heal();
            progresses(&mut cluster, seed, 8, 5_000);
        }
    }
}

/// Scenario 20: the same with disjoint sets, in which that node has no vote any more and serves only.
#[test]
fn the_end_was_seen_by_one_that_is_removed() {
    for seed in seeds(8) {
        let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[4, 5, 6, 7]]);
        let one = usize::try_from(seed % 4).unwrap();
        only_one_sees_the_end(&mut cluster, one, 5);
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

/// Scenario 21: the epoch's last block is notarized at one node and its view nullified at the others;
/// that node, and no other, gets its proposals through, and proposes the same block again.
#[test]
fn the_last_block_is_proposed_again() {
    for seed in seeds(8) {
        for holder_leads in [true, false] {
            let mut cluster = changing(seed, 6, &[&[0, 1, 2, 3], &[0, 1, 2, 3]]);
            let view = View::new(6);
            let (proposer, next) = (leader(&cluster, view), leader(&cluster, View::new(7)));
            let holder = if holder_leads { next } else { proposer };
            let unaware = (0..4).find(|node| *node != proposer && *node != holder).unwrap();
            let split = Rc::new(Cell::new(false));
            let is_split = split.clone();
            cluster.network.set_filter(move |from, to, message| match message {
                Message::Proposal(proposal) => match proposal.vote.subject.view() {
                    at if at == view => to != unaware,
                    at => at < view || (from == holder && is_split.get()),
                },
                Message::Vote(vote) if vote.subject.view() == view => match vote.subject {
                    Subject::Notarize(_) => to == holder,
                    Subject::Nullify(_) => to != holder,
                    Subject::Finalize(_) => false,
                },
                Message::Certificate(certificate) if certificate.subject.view() == view => {
                    to != holder && matches!(certificate.subject, Subject::Nullify(_))
                }
                Message::Status(_) | Message::Certificates(_) => false,
                _ => true,
            });
            split.set(cluster.run_until(5_000, |cluster| {
                cluster.properties().is_notarized(view) && cluster.properties().is_nullified(view)
            }));
            assert!(split.get(), "EVCHAIN_SEED={seed}: the split was not reached");
            let ended = cluster.run_until(20_000, |cluster| epoch(cluster, holder) >= Some(1));
            sound(&cluster, seed);
            assert!(ended, "EVCHAIN_SEED={seed}");
            cluster.network.heal();
            progresses(&mut cluster, seed, 8, 5_000);
            let views = cluster.properties().notarized_in(committed(&cluster, 6));
            assert!(views.len() > 1 && views[0] == view, "EVCHAIN_SEED={seed}: notarized in {views:?}");
        }
    }
}

/// E2: while nothing can be finalized, every view notarizes the same last block, and none above it.
#[test]
fn the_last_block_is_proposed_until_it_is_final() {
    for seed in seeds(5) {
        let mut cluster = changing(seed, 3, &[&[0, 1, 2, 3], &[1, 2, 3, 4]]);
        cluster.network.set_filter(|_, _, message| match message {
            Message::Vote(vote) => !matches!(vote.subject, Subject::Finalize(_)),
            _ => true,
        });
        cluster.run_for(2_000);
        assert_eq!(cluster.best_height(), 0);
        stalls(&mut cluster, seed, 100);
        cluster.network.heal();
        progresses(&mut cluster, seed, 8, 5_000);
        let views = cluster.properties().notarized_in(committed(&cluster, 3));
        assert!(views.len() > 5, "EVCHAIN_SEED={seed}: notarized in {views:?}");
    }
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

/// E1: a leader goes on above the epoch's last block.
#[test]
fn a_leader_that_goes_beyond_the_epoch() {
    tolerates(&BeyondEpoch);
    for seed in seeds(8) {
        // Nobody hears a vote to finalize, so that the Byzantine leader gets its turn.
        let mut cluster = changing(seed, 3, &[&[0, 1, 2, 3], &[1, 2, 3, 4]]);
        cluster.corrupt(0, BeyondEpoch);
        cluster.network.set_filter(|_, _, message| match message {
            Message::Vote(vote) => !matches!(vote.subject, Subject::Finalize(_)),
            _ => true,
        });
        cluster.run_for(2_000);
        cluster.network.heal();
        progresses(&mut cluster, seed, 8, 5_000);
    }
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
