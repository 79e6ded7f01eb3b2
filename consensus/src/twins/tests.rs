//! Goal: two instances of one key break nothing, whatever the partitions of four views, and whichever of
//! them the key leads (scenario 14).
//! Method: every schedule, as a tree. The two instances are alike until a partition separates them, so
//! of two schedules that differ only in their names one is run. Signatures are taken on trust, since
//! nobody forges any here.

use super::{NODES, PHASES, Partition, TWIN, Twins};
use crate::mutations::{Breakage, with_broken};

/// All partitions of the nodes into two parts, or one.
fn partitions() -> Vec<Partition> {
    (0..16_u8)
        .map(|bits| std::array::from_fn(|node| if node == 0 { 0 } else { bits >> (node - 1) & 1 }))
        .collect()
}

/// A walk through all schedules.
struct Walk {
    partitions: Vec<Partition>,
    /// Schedules that were covered.
    schedules: u64,
    /// Those of them that were run.
    runs: u64,
    /// Those at whose end an honest node had committed something, before the network healed.
    with_commits: u64,
}

impl Walk {
    fn explore(&mut self, twins: &Twins, phase: u64, apart: bool, path: &mut Vec<Partition>) {
        if phase > PHASES {
            return self.heal(twins.clone(), apart, path);
        }
        for partition in self.partitions.clone() {
            let separates = partition[TWIN] != partition[twins.twinned];
            let first_other = usize::from(twins.twinned == 0);
            if !apart && separates && partition[first_other] != partition[twins.twinned] {
                continue; // Alike with the one in which the two change places.
            }
            let mut next = twins.clone();
            path.push(partition);
            next.run_phase(phase, partition, 2);
            next.check().unwrap_or_else(|what| panic!("{path:?}: {what}"));
            self.explore(&next, phase + 1, apart || separates, path);
            path.pop();
        }
    }

    /// Everybody hears everybody again: all agree, and go on.
    fn heal(&mut self, mut twins: Twins, apart: bool, path: &[Partition]) {
        let highest = twins.highest_height();
        for phase in PHASES + 1..PHASES + 9 {
            twins.run_phase(phase, [0; NODES], 3);
            if twins.lowest_height() > highest {
                break;
            }
        }
        twins.check().unwrap_or_else(|what| panic!("{path:?}, healed: {what}"));
        assert!(twins.lowest_height() > highest, "{path:?}: no progress after healing");
        self.runs += 1;
        self.schedules += if apart { 2 } else { 1 };
        self.with_commits += u64::from(highest > 0);
    }
}

fn all_schedules(twinned_view: u64) {
    let mut walk = Walk { partitions: partitions(), schedules: 0, runs: 0, with_commits: 0 };
    with_broken(Some(Breakage::NoSignatures), || {
        walk.explore(&Twins::new(twinned_view), 1, false, &mut Vec::new());
    });
    println!(
        "view {twinned_view}: {} schedules, {} run, {} with commits before healing",
        walk.schedules, walk.runs, walk.with_commits
    );
    assert_eq!(walk.schedules, 16_u64.pow(4), "every schedule is counted once");
    assert!(walk.with_commits > walk.runs / 4, "most schedules commit nothing");
}

#[test]
fn the_key_of_the_first_view_runs_twice() {
    all_schedules(1);
}

#[test]
fn the_key_of_the_second_view_runs_twice() {
    all_schedules(2);
}

#[test]
fn the_key_of_the_third_view_runs_twice() {
    all_schedules(3);
}

#[test]
fn the_key_of_the_fourth_view_runs_twice() {
    all_schedules(4);
}
