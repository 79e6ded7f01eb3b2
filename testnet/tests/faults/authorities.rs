//! Goal: the authorities change, from four to five, seven and four again, while vehicles charge, and
//! nothing is lost: those who join begin with nothing and one peer's address.
//! Method: real processes, the command line for proposals and approvals, the built-in scenario's
//! agents; the certificates say who signed.

use evchain_testnet::fault::FaultKind;

use crate::support::faults::{borne, options, says};

#[tokio::test(flavor = "multi_thread")]
async fn authorities_come_and_go_while_vehicles_charge() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = borne(FaultKind::Authorities, &options(dir.path())).await.expect("it needs no privilege");
    assert!(says(&report, "authorities [1, 2, 3, 4, 5, 6, 7] from epoch"), "{report:#?}");
    assert!(says(&report, "are signed by [3, 4, 5, 6, 7] each"), "{report:#?}");
    assert!(says(&report, "certificates are signed by [4, 5, 6, 7]"), "{report:#?}");
    assert!(says(&report, "18 of 18 sessions are settled"), "{report:#?}");
    assert_eq!(report.audit.map(|audit| audit.validators.len()), Some(7));
}
