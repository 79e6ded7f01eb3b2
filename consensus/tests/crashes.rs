//! Goal: crashes lose nothing that the protocol relies on (scenarios 1 to 6, 24, 25).
//! Method: simulated clusters; nodes go down between and in the middle of steps, and what was not
//! synced may be lost. Every invariant is checked at every output.

mod common;

use common::{leader, passes, progresses, running_cluster, seeds, sound, stalls, view_ahead};
use evchain_consensus::sim::boundaries;
use evchain_consensus::sim::cluster::Cluster;
use evchain_consensus::sim::scenarios;
use evchain_consensus::sim::setup::Setup;

/// Scenario 1: everybody online, in clusters of every shape.
#[test]
fn all_online() {
    for seed in seeds(3) {
        for authorities in [1, 4, 5, 6, 7, 10] {
            let mut cluster = Cluster::new(Setup { observers: 1, ..Setup::new(seed, authorities) });
            progresses(&mut cluster, seed, 12, 3_000);
        }
    }
}

/// Scenario 2: f down leaves the rest working; f + 1 down stops them, until one is back.
#[test]
fn f_down_and_one_more() {
    for seed in seeds(5) {
        for authorities in [4, 7] {
            let mut cluster = running_cluster(seed, authorities);
            let f = cluster.committee().authorities().max_faulty();
            (0..f).for_each(|node| cluster.crash(node));
            progresses(&mut cluster, seed, 8, 10_000);
            cluster.crash(f);
            stalls(&mut cluster, seed, 5_000);
            cluster.restart(f);
            progresses(&mut cluster, seed, 8, 10_000);
            (0..f).for_each(|node| cluster.restart(node));
            progresses(&mut cluster, seed, 8, 10_000);
        }
    }
}

/// Scenario 3: a leader goes down at each point around the sync of its proposal.
#[test]
fn leader_crashes_around_its_proposal() {
    for seed in seeds(2) {
        for outputs in 0..30 {
            let mut cluster = running_cluster(seed, 4);
            let next = leader(&cluster, view_ahead(&cluster, 1));
            cluster.crash_after_outputs(next, outputs);
            cluster.run_for(400);
            cluster.disarm();
            cluster.restart(next);
            progresses(&mut cluster, seed, 6, 5_000);
        }
    }
}

/// Scenario 4: everybody goes down with an own nullify on disk and before any certificate. With only
/// a quorum left, each must count its own vote again.
#[test]
fn all_crash_after_their_nullify() {
    passes(10, scenarios::all_crash_after_their_nullify);
}

/// Scenario 5: one after the other restarts, again and again.
#[test]
fn rolling_restarts() {
    for seed in seeds(5) {
        let mut cluster = running_cluster(seed, 4);
        for round in 0..12 {
            cluster.crash(round % 4);
            cluster.run_for(120);
            cluster.restart(round % 4);
            cluster.run_for(120);
        }
        progresses(&mut cluster, seed, 6, 5_000);
    }
}

/// Scenario 6: a crash at every output index, of one node and of all at once.
#[test]
fn crash_at_every_output() {
    for seed in seeds(1) {
        for outputs in 0..150 {
            let mut cluster = Cluster::new(Setup::new(seed + outputs, 4));
            let victims = if outputs % 2 == 0 { 0..1 } else { 0..4 };
            victims.clone().for_each(|node| cluster.crash_after_outputs(node, outputs / 2));
            cluster.run_for(500);
            cluster.disarm();
            victims.for_each(|node| cluster.restart(node));
            progresses(&mut cluster, seed + outputs, 4, 5_000);
        }
    }
}

/// Scenario 24: an authority whose database was wiped observes, and signs nothing.
#[test]
fn wiped_database_only_observes() {
    for seed in seeds(3) {
        let mut cluster = running_cluster(seed, 4);
        cluster.crash(0);
        cluster.wipe(0);
        cluster.restart(0);
        progresses(&mut cluster, seed, 8, 10_000);
        let engine = cluster.engine(0).unwrap();
        assert!(!engine.is_voting());
        assert!(cluster.height(0) > 8);
    }
}

/// D7, scenario 24: a wiped authority that hears nobody does not vote against what it voted before.
#[test]
fn wiped_database_and_no_company() {
    passes(5, boundaries::a_wiped_disk_and_no_company);
}

/// A node that was down for long gets the final chain in several answers, while the others go on.
#[test]
fn far_behind_catches_up() {
    for seed in seeds(2) {
        let mut cluster = Cluster::new(Setup { observers: 1, ..Setup::new(seed, 4) });
        cluster.run_for(50);
        cluster.crash(0);
        cluster.crash(4);
        assert!(cluster.run_until(60_000, |cluster| cluster.best_height() >= 300));
        cluster.restart(0);
        cluster.restart(4);
        progresses(&mut cluster, seed, 10, 5_000);
        sound(&cluster, seed);
        assert!(cluster.disk(0).record_count() < 200, "the log is pruned");
    }
}

/// Scenario 25: a full disk, or one whose sync fails, stops its node before anything leaves; the others
/// go on as long as they are a quorum, and the node comes back with what the disk kept.
#[test]
fn failing_disks() {
    for seed in seeds(4) {
        for moment in 0..12 {
            let mut cluster = running_cluster(seed, 4);
            cluster.run_for(moment * 7);
            cluster.fail_disk(0, true);
            progresses(&mut cluster, seed, 6, 10_000);
            assert!(cluster.engine(0).is_none(), "EVCHAIN_SEED={seed}: it goes on without a disk");
            cluster.restart(0);
            cluster.fail_disk(1, true);
            stalls(&mut cluster, seed, 2_000);
            assert!(cluster.engine(0).is_none() && cluster.engine(1).is_none());
            for node in 0..2 {
                cluster.fail_disk(node, false);
                cluster.restart(node);
            }
            progresses(&mut cluster, seed, 6, 10_000);
        }
    }
}
