use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use evchain_node::agents::sessions::Side;
use evchain_protocol::primitives::{Amount, Height, Span};
use evchain_protocol::state::account::Roles;

use super::case::{Ended, Field, try_case};
use super::fates::wrong_fates;
use super::judge::Fate;
use super::plan::{Case, Victim};
use crate::cluster::{ClusterError, Participant, free_ports};
use crate::fault::error::FaultError;
use crate::fault::report::{FaultKind, FaultReport};
use crate::fault::run::FaultOptions;
use crate::fault::trial::{ALL, Trial, new_chain_with};
use crate::progress::Progress;
use crate::report::{Audit, ChainFigures};

/// Pairs of agents at the same time: most of them wait most of the time, and two cores bear so many.
const PAIRS: usize = 20;
/// What each agent has: EUR 100.
pub(super) const BALANCE: Amount = Amount::new(1_000_000);
/// How long claims have after their slice of a window.
const CLAIM_MARGIN: Span = Span::new(20_000);
/// After how many cases progress is told.
const ROUND: usize = 50;

/// Real agents, in pairs, are killed between any two records of their journals and started again.
pub(in crate::fault) async fn kill_agents(
    options: &FaultOptions,
    progress: &Progress,
) -> Result<FaultReport, FaultError> {
    let cases = options.cases.of(options.seed);
    let sides = |case: &Case| {
        [(Side::Buys, Roles::CONSUMER), (Side::Sells, Roles::PRODUCER)].map(|(side, roles)| Participant {
            name: case.name_of(side),
            roles,
            balance: BALANCE,
        })
    };
    let participants: Vec<_> = cases.iter().flat_map(sides).collect();
    let files = new_chain_with(options, &participants, |params| params.claim_margin = CLAIM_MARGIN)?;
    let mut trial = Trial::start_at(FaultKind::Agents, files, Vec::new(), options, progress).await?;
    trial.goes_on(&ALL, "before").await;
    trial.note(format!("seed {}: {} pairs of agents, {PAIRS} at a time", options.seed, cases.len()));
    let all = cases.len();
    let field = Field { options, cluster: &trial.cluster, clients: &trial.clients };
    let ended = try_all(&field, cases, progress).await?;
    trial.check(ended.len() == all, "not every case was tried");
    tell(&mut trial, &ended);
    trial.goes_on(&ALL, "at the end").await;
    trial.expect_no_incident();
    let tip = trial.height(1).await.unwrap_or(Height::ZERO);
    trial.newcomers = ChainFigures::read(&trial.clients[0], tip).await?.newcomers;
    let mut report = trial.finish().await?;
    let locked = |audit: &Audit| audit.validators.iter().any(|it| it.locked != Amount::ZERO);
    if report.audit.as_ref().is_none_or(locked) {
        report.failures.push("money is still locked".to_owned());
    }
    report.restarts += ended.iter().map(|ended| ended.kills).sum::<u64>();
    Ok(report)
}

/// Tries the cases, each as soon as there is room.
async fn try_all(field: &Field<'_>, cases: Vec<Case>, progress: &Progress) -> Result<Vec<Ended>, FaultError> {
    let all = cases.len();
    let waiting = Mutex::new(cases.into_iter());
    let next = &|| waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let done = Mutex::new(Vec::with_capacity(all));
    let done_by_all = &done;
    let ports = free_ports(PAIRS).map_err(ClusterError::Ports)?;
    let workers = ports.into_iter().map(|port| async move {
        while let Some(case) = next() {
            let ended = try_case(field, case, port).await;
            for failure in &ended.failures {
                progress.line(&format!("FAILED: {}: {failure}", ended.case));
            }
            let mut done = done_by_all.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(ended);
            if done.len() % ROUND == 0 {
                progress.line(&format!("{} of {all} cases are over", done.len()));
            }
        }
    });
    futures::future::join_all(workers).await;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Tells after what who was killed, and what became of it.
fn tell(trial: &mut Trial, ended: &[Ended]) {
    for victim in [Victim::Consumer, Victim::Producer, Victim::Both] {
        let mut after: BTreeMap<&str, u64> = BTreeMap::new();
        let mut unhurt = 0_u64;
        for ended in ended.iter().filter(|ended| ended.case.victim == victim) {
            match &ended.struck_after {
                Some(record) => *after.entry(record).or_default() += 1,
                None => unhurt += 1,
            }
        }
        let all: u64 = after.values().sum();
        let mut after: Vec<_> = after.into_iter().collect();
        after.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let after: Vec<_> = after.into_iter().map(|(record, count)| format!("{record} {count}")).collect();
        trial.note(format!("{victim} killed {all} times, after: {}", after.join(", ")));
        if unhurt > 0 {
            trial.note(format!("{victim} had ended before the kill, {unhurt} times"));
        }
    }
    let twice = ended.iter().filter(|ended| ended.kills > 1).count();
    trial.note(format!("{twice} of these pairs were hit once more as they went on"));
    let of = |fate: Fate| ended.iter().filter(|ended| ended.fate == Some(fate)).count();
    let (charged, part) = (of(Fate::Charged), of(Fate::InPart));
    let (unserved, given_up) = (of(Fate::NotServed), of(Fate::GivenUp));
    trial.note(format!(
        "charged in full {charged}, in part {part}, locked and not served {unserved}, given up before all was \
         locked {given_up}"
    ));
    for ended in ended.iter().filter(|ended| ended.fate == Some(Fate::NotServed)) {
        let refusal = ended.refusal.as_deref().unwrap_or("the producer did not say why");
        trial.note(format!("not served: {}: {refusal}", ended.case));
    }
    for Ended { case, failures, .. } in ended {
        for failure in failures {
            trial.fail(format!("{case}: {failure}"));
        }
    }
    for wrong in wrong_fates(ended) {
        trial.fail(wrong);
    }
}
