use std::time::Duration;

use super::chance::Chance;
use super::error::FaultError;
use super::report::{FaultKind, FaultReport};
use super::run::FaultOptions;
use super::trial::{ALL, Trial};
use crate::cluster::Incident;
use crate::progress::Progress;

/// The longest time between two kills, in ms. A validator needs less to start and take part again, so
/// some are killed while they start.
const LONGEST_PAUSE_MS: u64 = 1_500;
/// After how many restarts the chain has to go on before the next.
const ROUND: u64 = 10;

/// Validators are killed at random moments, as a power cut would: mostly one, now and then two or
/// all, and start again.
pub(super) async fn restarts(options: &FaultOptions, progress: &Progress) -> Result<FaultReport, FaultError> {
    let mut trial = Trial::start(FaultKind::Restarts, options, progress).await?;
    let mut chance = Chance::new(options.seed);
    trial.note(format!("seed {}", options.seed));
    let mut next_check = ROUND.min(options.restarts);
    while trial.report.restarts < options.restarts && trial.report.failures.is_empty() {
        for number in victims(&mut chance) {
            trial.cluster.validators()[number - 1].kill().await;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(LONGEST_PAUSE_MS))).await;
        take_incidents(&mut trial);
        if trial.report.restarts >= next_check {
            let when = format!("after {} restarts", trial.report.restarts);
            trial.goes_on(&ALL, &when).await;
            next_check += ROUND;
        }
    }
    trial.goes_on(&ALL, "at the end").await;
    take_incidents(&mut trial);
    trial.finish().await
}

/// Whom to kill: of 20 times all once, two four times, else one.
fn victims(chance: &mut Chance) -> Vec<usize> {
    let count = match chance.below(20) {
        0 => ALL.len(),
        1..=4 => 2,
        _ => 1,
    };
    let first = usize::try_from(chance.below(ALL.len() as u64)).unwrap_or_default();
    (0..count).map(|offset| ALL[(first + offset) % ALL.len()]).collect()
}

/// Whoever ends otherwise than killed has a fault of its own.
fn take_incidents(trial: &mut Trial) {
    for incident in trial.incidents() {
        match &incident {
            Incident::Ended { how, .. } if how.contains("SIGKILL") => {}
            Incident::Restarted { .. } => {}
            Incident::Ended { number, .. } | Incident::NotStarted { number, .. } => {
                let tail = trial.cluster.validators()[number - 1].log_tail();
                trial.fail(format!("{incident}; the end of its log:\n{tail}"));
            }
        }
    }
}
