//! Goal: a validator whose database is lost does not vote in the epoch in which it may have voted, and
//! does in the next; one that runs twice is refused, or does no harm and is found out.
//! Method: the database is removed between two starts; the certificates say who signed. A second
//! process in the same folder, from a copy of the key, and from a copy of everything.

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_without_its_votes_observes_until_the_next_epoch() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = borne(FaultKind::Wipe, &options(dir.path())).await.expect("it needs no privilege");
    assert!(says(&report, "has lost its database"), "{report:#?}");
    assert!(says(&report, "it observes"), "{report:#?}");
    assert!(says(&report, "votes again from epoch"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_runs_twice_is_refused_or_found_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = borne(FaultKind::Twin, &options(dir.path())).await.expect("it needs no privilege");
    assert!(says(&report, "Another evchain process"), "{report:#?}");
    // Otherwise it would say nothing about twins that vote.
    assert!(says(&report, "from a copy of everything: it votes"), "{report:#?}");
    // Both lead the same views, and propose what the other does not.
    let double_notarize = report.notes.iter().find(|note| {
        note.starts_with("evidence, a copy of everything: on the chain") && note.contains("double_notarize")
    });
    assert!(double_notarize.is_some(), "{report:#?}");
}
