use std::time::Duration;

use evchain_protocol::primitives::Height;

use super::error::FaultError;
use super::netns::Hosts;
use super::report::FaultKind;
use super::run::{FaultOptions, Outcome};
use super::switch::Links;
use super::trial::{ALL, Trial, new_chain};
use crate::progress::Progress;

/// The bad links: one way, and how many of 1000 packets are lost.
const DELAY: Duration = Duration::from_millis(100);
const LOSS_PERMILLE: u64 = 50;
/// How often progress over bad links is looked at, and how long these rounds last at least.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// Time for what is under way when a link is cut.
const SETTLE: Duration = Duration::from_secs(2);
/// How long nothing may happen where there is no quorum.
const STILL: Duration = Duration::from_secs(10);

/// The network splits in three ways, and heals each time.
pub(super) async fn partition(options: &FaultOptions, progress: &Progress) -> Result<Outcome, FaultError> {
    with_hosts(FaultKind::Partition, options, progress, async |mut trial, hosts| {
        hosts.set(Links { cut: between(&[4], &[1, 2, 3]), ..Links::default() });
        trial.note("validator 4 is cut off");
        stands_still(&mut trial, &[4]).await;
        keeps_going(&mut trial, &[1, 2, 3], "with one cut off").await;
        hosts.set(Links::default());
        trial.goes_on(&ALL, "after it is back").await;

        hosts.set(Links { cut: between(&[1, 2], &[3, 4]), ..Links::default() });
        trial.note("two and two are apart");
        stands_still(&mut trial, &ALL).await;
        hosts.set(Links::default());
        trial.goes_on(&ALL, "after the halves have met").await;

        let unheard = [2, 3, 4].map(|other| (1, other)).to_vec();
        hosts.set(Links { cut: unheard, ..Links::default() });
        trial.note("validator 1 hears and is not heard");
        keeps_going(&mut trial, &[2, 3, 4], "with one that is not heard").await;
        hosts.set(Links::default());
        trial.goes_on(&ALL, "after it is heard again").await;
        trial
    })
    .await
}

/// Every link is slow and loses packets.
pub(super) async fn loss(options: &FaultOptions, progress: &Progress) -> Result<Outcome, FaultError> {
    with_hosts(FaultKind::Loss, options, progress, async |mut trial, hosts| {
        hosts.set(Links { delay: DELAY, loss_permille: LOSS_PERMILLE, cut: Vec::new() });
        let lost = LOSS_PERMILLE / 10;
        trial.note(format!("every link delays by {} ms and loses {lost}% of the packets", DELAY.as_millis()));
        keeps_going(&mut trial, &ALL, "over bad links").await;
        hosts.set(Links::default());
        trial.goes_on(&ALL, "over good links again").await;
        trial
    })
    .await
}

/// Runs validators on hosts of their own, does something to the links, and judges.
async fn with_hosts(
    kind: FaultKind,
    options: &FaultOptions,
    progress: &Progress,
    body: impl AsyncFnOnce(Trial, &Hosts) -> Trial,
) -> Result<Outcome, FaultError> {
    let hosts = match Hosts::make(ALL.len(), options.seed).await {
        Ok(hosts) => hosts,
        Err(error) => {
            let reason =
                format!("no network namespaces with VXLAN can be made here: {error}. Run it as root");
            return Ok(Outcome::Skipped(reason));
        }
    };
    let mut trial = Trial::start_at(kind, new_chain(options)?, hosts.places(), options, progress).await?;
    trial.goes_on(&ALL, "before").await;
    let mut trial = body(trial, &hosts).await;
    trial.expect_no_incident();
    Ok(Outcome::Done(Box::new(trial.finish().await?)))
}

/// Checks that validators without a quorum agree on nothing new.
async fn stands_still(trial: &mut Trial, who: &[usize]) {
    tokio::time::sleep(SETTLE).await;
    let before = heights(trial, who).await;
    tokio::time::sleep(STILL).await;
    let after = heights(trial, who).await;
    let still = format!("without a quorum {who:?} stand at {before:?} after {} s", STILL.as_secs());
    if before == after && !before.contains(&None) {
        trial.note(still);
    } else {
        trial.fail(format!("without a quorum {who:?} went from {before:?} to {after:?}"));
    }
}

/// Checks again and again that these have progress, longer than a connection lives without a sign.
async fn keeps_going(trial: &mut Trial, who: &[usize], when: &str) {
    for round in 1..=ROUNDS {
        trial.goes_on(who, &format!("{when}, round {round}")).await;
        tokio::time::sleep(ROUND).await;
    }
}

async fn heights(trial: &Trial, who: &[usize]) -> Vec<Option<Height>> {
    futures::future::join_all(who.iter().map(|number| trial.height(*number))).await
}

fn between(some: &[usize], others: &[usize]) -> Vec<(usize, usize)> {
    let pairs = some.iter().flat_map(|one| others.iter().map(|other| (*one, *other)));
    pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect()
}
