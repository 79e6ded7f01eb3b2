//! Goal: a full disk and a read-only folder stop a validator with a message that says what to do,
//! damage nothing, and once there is room again it goes on.
//! Method: a small file system in memory as one validator's folder, which needs root; skipped, with
//! the reason, where it cannot be mounted.

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_damages_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(report) = borne(FaultKind::DiskFull, &options(dir.path())).await else { return };
    assert!(says(&report, "The disk is full: make room and start the node again"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_folder_is_named_and_damages_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(report) = borne(FaultKind::ReadOnly, &options(dir.path())).await else { return };
    assert!(says(&report, "The folder can't be written: check its owner and mount"), "{report:#?}");
}
