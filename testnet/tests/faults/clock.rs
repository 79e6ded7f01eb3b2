//! Goal: a validator whose clock is 10 s ahead moves no block's time and holds nobody up.
//! Method: libfaketime before one real validator; skipped, with the reason, where it is not installed.

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options, says};

#[tokio::test(flavor = "multi_thread")]
async fn blocks_keep_the_time_of_the_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(report) = borne(FaultKind::Clock, &options(dir.path())).await else { return };
    assert!(says(&report, "blocks are its own"), "{report:#?}");
}
