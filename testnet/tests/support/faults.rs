//! Trying faults, one at a time: four validators are enough for a small machine.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use evchain_testnet::fault::{Attack, Cases, FaultKind, FaultOptions, FaultReport, Outcome, run};
use evchain_testnet::progress::Progress;
use tokio::sync::Mutex;

use super::node_bin;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What the tests are run with.
pub fn options(dir: &Path) -> FaultOptions {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    FaultOptions {
        dir: dir.to_owned(),
        node_bin: node_bin(),
        restarts: number("EVCHAIN_RESTARTS").unwrap_or(12),
        cases: Cases::Quick(30),
        pause: Duration::from_secs(30),
        attack: Duration::from_secs(3),
        attacks: Attack::value_variants().to_vec(),
        seed: number("EVCHAIN_SEED").unwrap_or(1),
    }
}

/// Tries a fault, whose promises must all hold. None where it cannot be tried here.
pub async fn borne(kind: FaultKind, options: &FaultOptions) -> Option<FaultReport> {
    let report = tried(kind, options).await?;
    assert!(report.failures.is_empty(), "{report}");
    Some(report)
}

/// Tries a fault. None where it cannot be tried here.
pub async fn tried(kind: FaultKind, options: &FaultOptions) -> Option<FaultReport> {
    let _turn = ONE_AT_A_TIME.lock().await;
    match run(kind, options, &Progress::without_bar()).await.expect("the fault can be tried") {
        Outcome::Done(report) => {
            eprintln!("{report}");
            Some(*report)
        }
        Outcome::Skipped(reason) => {
            eprintln!("SKIPPED: {reason}");
            None
        }
    }
}

/// Whether something was seen.
pub fn says(report: &FaultReport, words: &str) -> bool {
    report.notes.iter().any(|note| note.contains(words))
}
