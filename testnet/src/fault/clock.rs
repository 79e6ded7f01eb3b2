use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use evchain_node::clock;
use evchain_node::rpc::{BlockKey, NodeApiClient, RpcError};
use evchain_protocol::primitives::{Height, Span};

use super::error::FaultError;
use super::report::FaultKind;
use super::run::{FaultOptions, Outcome};
use super::trial::{ALL, Trial, new_chain};
use crate::cluster::Place;
use crate::progress::Progress;

/// Whose clock is wrong.
const VICTIM: usize = 4;
/// By how much, and how `faketime` is told. Only the time of day: timers run as they do.
const AHEAD: Span = Span::new(10_000);
const FAKETIME: [&str; 3] = ["FAKETIME=+10s", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"];
/// How often progress is looked at.
const ROUNDS: usize = 5;

/// The clock of one validator is ahead: blocks keep the others' time.
pub(super) async fn ahead(options: &FaultOptions, progress: &Progress) -> Result<Outcome, FaultError> {
    let Some(library) = libfaketime() else {
        return Ok(Outcome::Skipped(
            "libfaketime is not installed (Debian's package `faketime`), so no clock can be set ahead"
                .to_owned(),
        ));
    };
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(library);
    let mut places = vec![Place::default(); ALL.len()];
    places[VICTIM - 1].wrapper =
        [OsString::from("env"), preload].into_iter().chain(FAKETIME.map(Into::into)).collect();
    let mut trial = Trial::start_at(FaultKind::Clock, new_chain(options)?, places, options, progress).await?;

    let mut age = Span::ZERO;
    for number in ALL {
        let status = trial.clients[number - 1].status().await.map_err(RpcError::from)?;
        if number == VICTIM {
            age = status.tip_age_ms;
        }
    }
    trial.note(format!("validator {VICTIM} takes the newest block for {} ms old", age.get()));
    trial.check(age.get() * 2 >= AHEAD.get(), "its clock is not ahead, so this says nothing");
    for round in 1..=ROUNDS {
        trial.goes_on(&ALL, &format!("with a clock ahead, round {round}")).await;
        let tip = trial.clients[0].status().await.map_err(RpcError::from)?;
        let skew = trial.cluster.files().genesis().params.max_skew;
        let limit = clock::now().saturating_after(skew);
        trial.check(tip.time <= limit, &format!("block {} has a time that has not come", tip.height));
    }
    count_blocks(&mut trial).await?;
    trial.expect_no_incident();
    Ok(Outcome::Done(Box::new(trial.finish().await?)))
}

/// Says how many blocks are the victim's: none that anybody agreed to.
async fn count_blocks(trial: &mut Trial) -> Result<(), FaultError> {
    let rpc = trial.clients[0].clone();
    let tip = rpc.status().await.map_err(RpcError::from)?.height;
    let victim = trial.cluster.files().validators()[VICTIM - 1];
    let mut proposed = 0;
    for height in 1..=tip.get() {
        let header = rpc.header(BlockKey::Height(Height::new(height))).await.map_err(RpcError::from)?;
        proposed += u64::from(header.header.proposer == victim);
    }
    trial.note(format!("{proposed} of {tip} blocks are its own"));
    trial.check(proposed == 0, "a block of a validator whose clock is ahead became final");
    Ok(())
}

/// Debian has it in a folder for each architecture, others in /usr/lib or /usr/lib64.
fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let fixed = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    folders
        .chain(fixed)
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|path: &PathBuf| Path::is_file(path))
}
