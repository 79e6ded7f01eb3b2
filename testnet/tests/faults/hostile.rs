//! Goal: strangers, participants and an authority that do their worst stop nobody, take no memory beyond a bound,
//! and no validator is unwell without saying why.
//! Method: real attacks on four real validators, a few seconds each, while honest clients pay. How fast those are
//! served is measured by `evchain-testnet fault hostile` on an idle machine, and not asserted here.

use std::collections::BTreeSet;

use evchain_testnet::fault::{Attack, FaultKind, FaultOptions};

use crate::support::faults::{options, tried};

#[tokio::test(flavor = "multi_thread")]
async fn attacks_stop_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let attacks = vec![
        Attack::GappedClaims,
        Attack::UnreadSocket,
        Attack::HalfOpen,
        Attack::UnreadRequests,
        Attack::ForgedCopies,
        Attack::EarlyMessages,
        Attack::Forgeries,
    ];
    let options = FaultOptions { attacks, ..options(dir.path()) };
    let report = tried(FaultKind::Hostile, &options).await.expect("it needs no privilege");
    // Five alone, those at once, and two of an authority.
    assert_eq!(report.attacks.len(), 8, "{report}");
    let delays: BTreeSet<&String> = report.attacks.iter().flat_map(|figures| &figures.delays).collect();
    let failures: Vec<_> = report.failures.iter().filter(|failure| !delays.contains(failure)).collect();
    assert!(failures.is_empty(), "{report}");
}
