//! Views per second of real time that one core simulates, all nodes, signatures and encoding included.

#![allow(clippy::disallowed_types, clippy::cast_precision_loss)]

use std::time::Instant;

use evchain_consensus::sim::cluster::Cluster;
use evchain_consensus::sim::setup::Setup;

fn main() {
    for authorities in [1, 4, 7, 10] {
        let mut cluster = Cluster::new(Setup::new(1, authorities));
        let start = Instant::now();
        cluster.run_until(3_600_000, |cluster| cluster.lowest_height() >= 500);
        let views = cluster.best_height() as f64 / start.elapsed().as_secs_f64();
        println!("n = {authorities}: {views:.0} views/s");
    }
}
