use std::fmt;

use serde::Serialize;

use super::attack::Attack;
use super::honest::Service;
use super::watch::Condition;
use crate::report::{LatencyFigures, Table};

/// Honest clients get at least this part of what they get without attack.
const GOODPUT_PERCENT: u64 = 70;
/// 99 of 100 honest transfers are final within this time, in ms.
const P99_MS: u64 = 1_000;
/// No validator's resident memory is above this, in MB.
const MEMORY_MB: u64 = 512;

/// What an attack came to.
#[derive(Debug, Clone, Serialize)]
pub struct AttackFigures {
    /// Its name, or that of several at once.
    pub attack: String,
    /// Its pieces that were sent or opened: transactions, sockets, requests, frames.
    pub sent: u64,
    /// Honest clients before it.
    pub before: ServiceFigures,
    /// While it lasted.
    pub during: ServiceFigures,
    /// From five seconds after its end on.
    pub after: ServiceFigures,
    /// The highest resident memory of a validator from its beginning to the end of `after`, in MB.
    pub peak_mb: u64,
    /// What the validators dropped or refused, by their counters.
    pub drops: u64,
    /// What they said was wrong with them meanwhile.
    pub problems: Vec<String>,
    /// What should not be on any machine.
    pub failures: Vec<String>,
    /// What took longer than wanted, which a machine that does other things may be to blame for.
    pub delays: Vec<String>,
}

/// What honest clients got in a time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServiceFigures {
    /// Transfers that became final, in hundredths a second.
    pub goodput_centi: u64,
    /// Transfers that were due and did not become final until all was over.
    pub missing: u64,
    /// From when a transfer was due until its sender knew that it is final.
    pub latency: Option<LatencyFigures>,
}

/// What was measured around an attack.
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) sent: u64,
    pub(super) before: Service,
    pub(super) during: Service,
    pub(super) after: Service,
    pub(super) meanwhile: Condition,
    pub(super) afterwards: Condition,
    pub(super) drops: u64,
}

impl AttackFigures {
    /// The figures, with a failure for each that is not as wanted.
    pub(super) fn judge(measured: Measured) -> Self {
        let Measured { name, sent, before, during, after, meanwhile, afterwards, drops } = measured;
        let [before, during, after] = [before, during, after].map(ServiceFigures::of);
        let [mut failures, mut delays] = [Vec::new(), Vec::new()];
        let unless = |holds: bool, list: &mut Vec<String>, otherwise: String| {
            if !holds {
                list.push(format!("{name}: {otherwise}"));
            }
        };
        for (when, service) in [("meanwhile", during), ("afterwards", after)] {
            let enough = service.goodput_centi * 100 >= before.goodput_centi * GOODPUT_PERCENT;
            unless(enough, &mut delays, format!("{when} {service} of {before} transfers a second"));
            let p99 = service.latency.map_or(u64::MAX, |latency| latency.p99_ms);
            unless(p99 < P99_MS, &mut delays, format!("{when} p99 is {p99} ms"));
            let missing = service.missing;
            unless(missing == 0, &mut delays, format!("{when} {missing} transfers did not become final"));
        }
        let mut check = |holds: bool, otherwise: String| unless(holds, &mut failures, otherwise);
        check(sent > 0, "nothing was sent, so this says nothing".to_owned());
        let peak_mb = meanwhile.peak_mb.max(afterwards.peak_mb);
        check(peak_mb <= MEMORY_MB, format!("a validator has {peak_mb} MB"));
        check(
            meanwhile.vague.is_empty(),
            format!("{:?} were unhealthy and did not say why", meanwhile.vague),
        );
        let silent = format!("{:?} did not say how they were", meanwhile.silent);
        unless(meanwhile.silent.is_empty(), &mut delays, silent);
        let unwell = format!("after five seconds they are not well: {afterwards:?}");
        unless(afterwards.is_well(), &mut delays, unwell);
        let problems = meanwhile.problems.into_iter().collect();
        Self { attack: name, sent, before, during, after, peak_mb, drops, problems, failures, delays }
    }
}

impl ServiceFigures {
    fn of(service: Service) -> Self {
        let Service { finals, missing, length, latency } = service;
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self { goodput_centi: (finals * 100_000).checked_div(length_ms).unwrap_or(0), missing, latency }
    }
}

impl fmt::Display for ServiceFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.goodput_centi / 100, self.goodput_centi % 100)
    }
}

/// The figures as a table.
pub(super) struct Figures<'a>(pub(super) &'a [AttackFigures]);

impl fmt::Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Honest transfers a second and their p50 and p99 in ms, before, during and after each attack"
        )?;
        let header =
            ["attack", "sent", "before", "p50/p99", "during", "p50/p99", "after", "p50/p99", "MB", "drops"];
        let mut table = Table::new(header);
        for figures in self.0 {
            let AttackFigures { attack, sent, before, during, after, peak_mb, drops, .. } = figures;
            let time = |service: &ServiceFigures| match service.latency {
                Some(LatencyFigures { p50_ms, p99_ms, .. }) => format!("{p50_ms}/{p99_ms}"),
                None => "-".to_owned(),
            };
            table.row([
                attack.clone(),
                sent.to_string(),
                before.to_string(),
                time(before),
                during.to_string(),
                time(during),
                after.to_string(),
                time(after),
                peak_mb.to_string(),
                drops.to_string(),
            ]);
        }
        write!(f, "{table}")?;
        for figures in self.0.iter().filter(|figures| !figures.problems.is_empty()) {
            writeln!(f, "  validators said during {}: {}", figures.attack, figures.problems.join(", "))?;
        }
        Ok(())
    }
}

/// Several attacks at the same time.
pub(super) fn names(attacks: &[Attack]) -> String {
    match attacks {
        [one] => one.name(),
        several => format!("{} at once", several.len()),
    }
}
