//! Goal: whoever keeps a quorum goes on through a partition, nobody else does, and everything meets
//! again; links of 100 ms that lose 5% of the packets only slow the chain down.
//! Method: a network namespace for each real validator, and a switch between them that drops and
//! delays; needs root, and is skipped, with the reason, where none can be made.

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options, says};

#[tokio::test(flavor = "multi_thread")]
async fn partitions_split_nothing_and_heal() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(report) = borne(FaultKind::Partition, &options(dir.path())).await else { return };
    assert!(says(&report, "without a quorum [1, 2, 3, 4] stand at"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_links_that_lose_packets_are_borne() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(report) = borne(FaultKind::Loss, &options(dir.path())).await else { return };
    assert!(says(&report, "loses 5% of the packets"), "{report:#?}");
}
