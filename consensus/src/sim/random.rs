//! Runs with random faults of all kinds, up to what the protocol tolerates.

use std::cell::Cell;
use std::rc::Rc;

use evchain_protocol::crypto::Hash;

use super::byzantine::{
    BadBody, Behaviour, BeyondEpoch, BodySpoiler, BogusJustification, CopyForger, DeliversToOne,
    EarlyFlooder, Equivocator, FarFinality, Flooder, Forker, SignsEverything, SilentTeller, Slanderer,
    Spoiler, TwoFaced, Withholder, WrongEpoch,
};
use super::cluster::Cluster;
use super::network::Quality;
use super::properties::Violation;
use super::rng::Rng;
use super::setup::{Schedule, Setup};

/// How a random run ended.
#[derive(Debug)]
pub struct Report {
    /// The broken invariant.
    pub violation: Option<Violation>,
    /// The height committed.
    pub height: u64,
    /// The digest of all that happened.
    pub digest: Hash,
    /// What went on, in a line.
    pub summary: String,
    /// The highest view that a node reached.
    pub views: u64,
    /// How often a node went down.
    pub crashes: u64,
    /// The faults that were made.
    pub faults: u64,
    /// The last lines of the run in words, if they were asked for.
    pub story: Vec<String>,
}

/// Runs the seed's cluster through its faults, then heals it; it has to make progress again (I13).
pub fn run(seed: u64) -> Report {
    run_with(seed, u64::MAX, false)
}

/// A run that failed, with as few of its faults as make the same invariant fail, in words.
pub fn explain(seed: u64) -> Option<Report> {
    let failed = run(seed);
    let found = failed.violation?;
    (0..=failed.faults).map(|faults| run_with(seed, faults, true)).find(|report| {
        report.violation.as_ref().is_some_and(|violation| violation.invariant == found.invariant)
    })
}

/// The seed's run with only the first `faults_wanted` of its faults.
fn run_with(seed: u64, faults_wanted: u64, listen: bool) -> Report {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let sizes = [1, 4, 4, 4, 5, 6, 7];
    let authorities = sizes[usize::try_from(rng.below(sizes.len() as u64)).unwrap_or(0)];
    let mut setup = Setup::new(seed, authorities);
    let quality = Quality {
        min_delay_ms: rng.between(1, 10),
        max_delay_ms: rng.between(10, 80),
        loss_per_mille: if rng.chance(500) { rng.below(400) } else { 0 },
        duplicate_per_mille: rng.below(200),
    };
    setup.quality = quality;
    setup.max_execution_ms = rng.between(0, 30);
    let byzantine = usize::try_from(rng.below((authorities as u64 - 1) / 3 + 1)).unwrap_or(0);
    let changes = rng.chance(500);
    setup.observers = if changes { 4 } else { usize::from(rng.chance(250)) };
    setup.schedule = changes.then(|| schedule(&mut rng, authorities, setup.observers, byzantine));
    let epochs = setup.schedule.clone();
    let length = epochs.as_ref().map_or(0, |schedule| schedule.length);
    let mut cluster = Cluster::new(setup);
    if listen {
        cluster.story.listen();
    }
    let mut behaviours = Vec::new();
    for node in 0..byzantine {
        behaviours.push(corrupt(&mut cluster, node, &mut rng));
    }
    slow_down(&mut cluster, &mut rng, authorities);
    let faults = Faults { byzantine, may_wipe: may_wipe(byzantine, authorities, epochs.as_ref()) };
    let made = faults.make(&mut cluster, &mut rng, faults_wanted, changes);
    heal(&mut cluster);
    // Into the next epoch, if there is one, and beyond.
    let blocks = 5 + length;
    let (start, start_ms) = (cluster.best_height(), cluster.now_ms());
    let progressed = cluster.run_until(60_000, |cluster| cluster.lowest_height() >= start + blocks);
    let violation = cluster.violation().cloned().or_else(|| {
        (!progressed).then(|| Violation {
            invariant: "I13",
            what: format!(
                "at height {} and below {} a minute after healing",
                cluster.best_height(),
                start + blocks
            ),
        })
    });
    Report {
        violation,
        height: cluster.best_height(),
        digest: cluster.digest(),
        summary: format!(
            "n = {authorities}, {byzantine} Byzantine {behaviours:?}, {made} faults, loss {} per mille, \
             epochs {epochs:?}, height {start} when healed after {start_ms} ms, {} after {} ms",
            quality.loss_per_mille,
            cluster.best_height(),
            cluster.now_ms(),
        ),
        views: highest_view(&cluster),
        crashes: cluster.crashes(),
        faults: made,
        story: cluster.story.lines().map(str::to_owned).collect(),
    }
}

fn highest_view(cluster: &Cluster) -> u64 {
    let up = (0..cluster.len()).filter_map(|node| cluster.engine(node));
    up.map(|engine| engine.view().get()).max().unwrap_or(0)
}

/// Short epochs, each with some of the nodes and no more Byzantine ones than its set tolerates. Now and
/// then none of the authorities before stays.
fn schedule(rng: &mut Rng, authorities: usize, joiners: usize, byzantine: usize) -> Schedule {
    let mut sets = vec![(0..authorities).collect::<Vec<usize>>()];
    for _ in 0..rng.between(1, 5) {
        let before = sets.last().cloned().unwrap_or_default();
        let all_new = rng.chance(250);
        let mut set: Vec<usize> = (byzantine..authorities + joiners)
            .filter(|node| if all_new { !before.contains(node) } else { rng.chance(600) })
            .collect();
        if set.is_empty() {
            set.push(authorities);
        }
        for node in 0..byzantine {
            if set.len() / 3 > set.iter().filter(|member| **member < byzantine).count() {
                set.push(node);
            }
        }
        sets.push(set);
    }
    Schedule { length: rng.between(1, 8), sets }
}

/// Slow links, disks and processors, and clocks that are apart, for the time of the faults.
fn slow_down(cluster: &mut Cluster, rng: &mut Rng, authorities: usize) {
    if rng.chance(200) {
        cluster.network.slow = Some(authorities - 1);
    }
    let all_disks = rng.chance(50);
    for node in 0..cluster.len() {
        if all_disks || rng.chance(100) {
            cluster.slow_disk(node, rng.between(1, 40));
        }
        if rng.chance(50) {
            cluster.slow_execution(node, rng.between(2, 20));
        }
        if rng.chance(300) {
            let apart_ms = i64::try_from(rng.below(400)).unwrap_or(0);
            cluster.skew_clock(node, apart_ms - 200);
        }
    }
}

fn corrupt(cluster: &mut Cluster, node: usize, rng: &mut Rng) -> &'static str {
    let (name, behaviour) = behaviour(cluster.len(), rng);
    cluster.corrupt(node, behaviour);
    name
}

fn behaviour(nodes: usize, rng: &mut Rng) -> (&'static str, Box<dyn Behaviour>) {
    match rng.below(18) {
        0 => ("equivocates", Box::new(Equivocator)),
        1 => ("signs everything", Box::new(SignsEverything::default())),
        2 => ("withholds", Box::new(Withholder)),
        3 => ("delivers to one", Box::new(DeliversToOne)),
        4 => ("bogus justification", Box::new(BogusJustification)),
        5 => ("forks", Box::new(Forker::default())),
        6 => ("goes beyond the epoch", Box::new(BeyondEpoch)),
        7 => ("wrong epochs", Box::new(WrongEpoch)),
        8 => ("floods", Box::new(Flooder::default())),
        9 => ("spoils proposals", Box::new(Spoiler::default())),
        10 => ("far finality", Box::new(FarFinality::default())),
        11 => {
            let groups = [0, 1].map(|face| (0..nodes).filter(|other| other % 2 == face).collect());
            ("two faced", Box::new(TwoFaced::between(groups)))
        }
        12 => ("slanders", Box::new(Slanderer::default())),
        13 => {
            let tells_one = Rc::new(Cell::new(rng.chance(500)));
            ("tells and answers nothing", Box::new(SilentTeller::of(nodes - 1, tells_one)))
        }
        14 => ("forges copies", Box::new(CopyForger::default())),
        15 => ("spoils bodies", Box::new(BodySpoiler::default())),
        16 => ("floods before its time", Box::new(EarlyFlooder::with_signatures(1))),
        _ => ("bad body", Box::new(BadBody)),
    }
}

/// One wiped disk is one fault for as long as the epoch lasts: all sets have to tolerate it.
fn may_wipe(byzantine: usize, authorities: usize, epochs: Option<&Schedule>) -> bool {
    let all_tolerate = epochs.is_none_or(|epochs| epochs.sets.iter().all(|set| set.len() >= 4));
    byzantine == 0 && authorities >= 4 && all_tolerate
}

/// Until some node begins an epoch, where the next fault strikes.
fn until_a_boundary(cluster: &mut Cluster, within_ms: u64) {
    let newest = |cluster: &Cluster| {
        let engines = (0..cluster.len()).filter_map(|node| cluster.engine(node));
        engines.map(crate::epochs::Epochs::epoch).max()
    };
    let before = newest(cluster);
    cluster.run_until(within_ms, |cluster| newest(cluster) > before);
}

/// What can still go wrong in a run.
struct Faults {
    byzantine: usize,
    may_wipe: bool,
}

impl Faults {
    /// Some faults, at most as many as are wanted, near the ends of epochs if there are any. Tells how many.
    fn make(mut self, cluster: &mut Cluster, rng: &mut Rng, wanted: u64, changes: bool) -> u64 {
        let mut made = 0;
        for fault in 0..rng.between(2, 6) {
            if fault < wanted {
                if changes && rng.chance(400) {
                    until_a_boundary(cluster, 700);
                }
                self.disturb(cluster, rng);
                made += 1;
            }
            cluster.run_for(rng.between(20, 700));
        }
        made
    }

    /// One fault: a crash between or in the middle of outputs, a partition, a one-way cut, a disk that
    /// fails or is lost, or all of it.
    fn disturb(&mut self, cluster: &mut Cluster, rng: &mut Rng) {
        let (nodes, byzantine) = (cluster.len(), self.byzantine);
        let honest = nodes - byzantine;
        let node = byzantine + usize::try_from(rng.below(honest as u64)).unwrap_or(0);
        let back_ms = cluster.now_ms() + rng.between(1, 500);
        match rng.below(8) {
            0 => {
                cluster.crash(node);
                cluster.restart_at(node, back_ms);
            }
            1 => {
                cluster.crash_after_outputs(node, rng.below(60));
            }
            2 => {
                for node in byzantine..nodes {
                    cluster.crash_after_outputs(node, rng.below(40));
                }
            }
            3 => {
                let size = usize::try_from(rng.between(1, nodes as u64)).unwrap_or(1);
                let island: Vec<usize> = (0..size).collect();
                cluster.network.isolate(&island, nodes);
            }
            4 => {
                for other in (0..nodes).filter(|other| *other != node) {
                    cluster.network.cut(node, other);
                }
            }
            5 => {
                cluster.fail_disk(node, true);
            }
            6 if self.may_wipe => {
                self.may_wipe = false;
                cluster.crash(node);
                cluster.wipe(node);
                cluster.restart_at(node, back_ms);
            }
            _ => {
                for node in byzantine..nodes {
                    cluster.crash(node);
                    cluster.restart_at(node, back_ms);
                }
            }
        }
    }
}

/// A good network, and everybody up.
fn heal(cluster: &mut Cluster) {
    cluster.network.heal();
    cluster.network.quality = Quality::GOOD;
    cluster.network.slow = None;
    cluster.disarm();
    for node in 0..cluster.len() {
        cluster.fail_disk(node, false);
        cluster.slow_disk(node, 0);
        cluster.slow_execution(node, 1);
        cluster.restart(node);
    }
}
