use std::time::Duration;

use super::error::FaultError;
use super::report::{FaultKind, FaultReport};
use super::run::FaultOptions;
use super::tool::tool;
use super::trial::{ALL, Trial};
use crate::progress::Progress;

/// Which validator stands still.
const VICTIM: usize = 4;
/// How often the others are looked at meanwhile.
const ROUND: Duration = Duration::from_secs(5);

/// One validator stands still, as a machine does that was put to sleep, and then goes on.
pub(super) async fn stop(options: &FaultOptions, progress: &Progress) -> Result<FaultReport, FaultError> {
    let mut trial = Trial::start(FaultKind::Stop, options, progress).await?;
    trial.goes_on(&ALL, "before").await;
    let pid = trial.cluster.validators()[VICTIM - 1].pid().map(|pid| pid.to_string()).unwrap_or_default();
    progress.line(&format!("validator {VICTIM} stands still for {} s", options.pause.as_secs()));
    tool("kill", &["-STOP", &pid])?;
    let end = tokio::time::Instant::now() + options.pause;
    while tokio::time::Instant::now() + ROUND < end {
        trial.goes_on(&[1, 2, 3], "while one stands still").await;
        tokio::time::sleep(ROUND).await;
    }
    tokio::time::sleep_until(end).await;
    tool("kill", &["-CONT", &pid])?;
    progress.line(&format!("validator {VICTIM} goes on"));
    trial.goes_on(&ALL, "after it goes on").await;
    trial.expect_no_incident();
    trial.finish().await
}
