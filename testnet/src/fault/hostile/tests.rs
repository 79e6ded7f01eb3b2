//! Goal: the verdict names what is not as wanted, and nothing else.
//! Method: figures made up, each wrong in one way.

use std::time::Duration;

use super::figures::{AttackFigures, Measured};
use super::honest::Service;
use super::watch::Condition;
use crate::report::LatencyFigures;

fn service(finals: u64, p99_ms: u64, missing: u64) -> Service {
    let latency = LatencyFigures { count: 1_000, p50_ms: 50, p99_ms, max_ms: p99_ms };
    Service { finals, missing, length: Duration::from_secs(10), latency: Some(latency) }
}

fn good() -> Measured {
    let well = Condition { peak_mb: 100, ..Condition::default() };
    Measured {
        name: "an attack".to_owned(),
        sent: 1,
        before: service(1_000, 70, 0),
        during: service(700, 999, 0),
        after: service(1_000, 70, 0),
        meanwhile: Condition { problems: ["few_peers".to_owned()].into(), ..well.clone() },
        afterwards: well,
        drops: 0,
    }
}

fn failures(change: impl FnOnce(&mut Measured)) -> Vec<String> {
    let mut measured = good();
    change(&mut measured);
    let AttackFigures { failures, delays, .. } = AttackFigures::judge(measured);
    [failures, delays].concat()
}

#[test]
fn what_is_wanted_is_no_failure() {
    assert_eq!(failures(|_| {}), Vec::<String>::new());
}

#[test]
fn each_figure_that_is_not_wanted_is_named() {
    let one = |change: &dyn Fn(&mut Measured), words: &str| {
        let found = failures(change);
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    };
    one(&|measured| measured.sent = 0, "nothing was sent");
    one(&|measured| measured.during = service(699, 999, 0), "69.90 of 100.00 transfers a second");
    one(&|measured| measured.after = service(690, 70, 0), "afterwards 69.00 of 100.00");
    one(&|measured| measured.during = service(1_000, 1_000, 0), "p99 is 1000 ms");
    one(&|measured| measured.during = service(1_000, 70, 3), "3 transfers did not become final");
    one(&|measured| measured.meanwhile.peak_mb = 513, "513 MB");
    one(&|measured| measured.meanwhile.vague = [2].into(), "did not say why");
    one(&|measured| measured.meanwhile.silent = [2].into(), "did not say how they were");
    one(&|measured| measured.afterwards.problems = ["behind".to_owned()].into(), "not well");
}
