//! What the scenarios share: seeds, and the two questions that end each of them.

#![allow(dead_code, unreachable_pub)]

pub mod bench;

use evchain_consensus::sim::cluster::Cluster;
use evchain_consensus::sim::scenarios;
use evchain_consensus::sim::setup::Setup;
use evchain_protocol::primitives::View;

/// The seeds to run a scenario with: `count` of them, or the one in `EVCHAIN_SEED`.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("EVCHAIN_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=count).collect(),
    }
}

/// A scenario passes with this many seeds.
#[track_caller]
pub fn passes(count: u64, scenario: impl Fn(u64) -> scenarios::Outcome) {
    for seed in seeds(count) {
        if let Err(violation) = scenario(seed) {
            panic!("EVCHAIN_SEED={seed}: {violation}");
        }
    }
}

/// A cluster that ran for a moment in a good network.
pub fn running_cluster(seed: u64, authorities: usize) -> Cluster {
    let mut cluster = Cluster::new(Setup::new(seed, authorities));
    progresses(&mut cluster, seed, 3, 5_000);
    cluster
}

/// No invariant is broken.
#[track_caller]
pub fn sound(cluster: &Cluster, seed: u64) {
    if let Some(violation) = cluster.violation() {
        panic!("EVCHAIN_SEED={seed}, at {} ms: {violation}", cluster.now_ms());
    }
}

/// I13: within this time every honest node that is up commits `blocks` more than anybody has now.
#[track_caller]
pub fn progresses(cluster: &mut Cluster, seed: u64, blocks: u64, within_ms: u64) {
    let goal = cluster.best_height() + blocks;
    let reached = cluster.run_until(within_ms, |cluster| cluster.lowest_height() >= goal);
    sound(cluster, seed);
    assert!(
        reached,
        "EVCHAIN_SEED={seed}: height {} (lowest {}) after {within_ms} ms, not {goal}",
        cluster.best_height(),
        cluster.lowest_height()
    );
}

/// No node commits anything for this time.
#[track_caller]
pub fn stalls(cluster: &mut Cluster, seed: u64, for_ms: u64) {
    let before = cluster.best_height();
    cluster.run_for(for_ms);
    sound(cluster, seed);
    assert!(cluster.best_height() <= before + 2, "EVCHAIN_SEED={seed}: progress without a quorum");
}

/// The node that leads a view.
pub fn leader(cluster: &Cluster, view: View) -> usize {
    usize::from(cluster.committee().leader(view).get())
}

/// A view that no node has reached, a few ahead of the highest.
pub fn view_ahead(cluster: &Cluster, by: u64) -> View {
    let views = (0..cluster.len()).filter_map(|node| cluster.engine(node)).map(|engine| engine.view().get());
    View::new(views.max().unwrap_or(0) + by)
}
