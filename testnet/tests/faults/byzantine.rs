//! Goal: a validator that double-votes is found out, recorded on the chain and removed at the epoch's end
//! by the others, who go on; its money and everybody's stays what it was.
//! Method: four real validators under load, one of them the example program `byzantine` of the node,
//! which `cargo test` builds with the rest.

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_double_votes_is_removed() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = borne(FaultKind::Byzantine, &options(dir.path())).await.expect("it needs no privilege");
    assert!(says(&report, "on the chain: double_notarize"), "{report:#?}");
    assert!(says(&report, "has 3 authorities without it"), "{report:#?}");
}
