//! Running the two programs.

#![allow(dead_code, unreachable_pub)] // each test file uses its part

pub mod faults;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use evchain_testnet::cluster::{ChainFiles, Cluster, ClusterOptions, Participant};

/// The node's program, beside the testnet's.
pub fn node_bin() -> PathBuf {
    let path = testnet_bin().with_file_name("evchain");
    assert!(path.is_file(), "there is no {}: cargo build --release -p evchain-node", path.display());
    path
}

/// The testnet's program.
pub fn testnet_bin() -> PathBuf {
    env!("CARGO_BIN_EXE_evchain-testnet").into()
}

/// Runs the testnet's program to its end.
pub fn testnet(arguments: &[&str]) -> Output {
    node_bin();
    Command::new(testnet_bin()).args(arguments).output().expect("the program runs")
}

/// Validators of a new chain with these participants.
pub async fn cluster(dir: &Path, participants: &[Participant], restart_after: Option<Duration>) -> Cluster {
    let files = ChainFiles::create(dir, 4, participants).expect("a chain is made");
    let options = ClusterOptions { node_bin: node_bin(), restart_after, places: Vec::new() };
    Cluster::start(files, &options).await.expect("the validators start")
}

/// Waits until something holds.
pub fn wait_until(what: &str, patience: Duration, holds: impl Fn() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {} s", patience.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process runs.
pub fn is_alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // A process that has ended and that nobody waited for has the state Z.
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// A program's two outputs, for messages.
pub fn shown(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
