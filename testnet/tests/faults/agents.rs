//! Goal: producers and consumers that are killed between any two records of their journals, and come back,
//! finish or settle their sessions, and nobody loses more than an installment.
//! Method: pairs of `evchain produce` and `evchain charge` at four real validators, SIGKILL by process id at
//! the record that each case names; the accounts and the journals say what came of it. A part of the cases;
//! `evchain-testnet fault agents` tries all.

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options, says};

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_are_killed_finish_or_settle_their_sessions() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = borne(FaultKind::Agents, &options(dir.path())).await.expect("kills need no privilege");
    assert!(says(&report, "30 pairs of agents"), "{report:#?}");
    // Otherwise most have missed their victims.
    assert!(report.restarts >= 20, "{report:#?}");
}
