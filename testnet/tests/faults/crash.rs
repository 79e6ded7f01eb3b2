//! Goal: validators that crash at random moments, and one that stands still for half a minute, cost
//! no final payment and hold nobody up.
//! Method: four real validators under load; SIGKILL and SIGSTOP by process id. `EVCHAIN_RESTARTS`
//! says how many restarts (else 12).

use std::time::Duration;

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options};

#[tokio::test(flavor = "multi_thread")]
async fn validators_bear_crashes_at_random_moments() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    let report = borne(FaultKind::Restarts, &options).await.expect("kills need no privilege");
    assert!(report.restarts >= options.restarts, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_stood_still_catches_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    assert_eq!(options.pause, Duration::from_secs(30));
    let report = borne(FaultKind::Stop, &options).await.expect("signals need no privilege");
    assert_eq!(report.restarts, 0, "{report:#?}");
}
