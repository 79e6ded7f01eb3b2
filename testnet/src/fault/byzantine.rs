use std::path::PathBuf;
use std::time::Duration;

use evchain_node::rpc::{NodeApiClient, OffenceInfo, RpcError};
use evchain_protocol::crypto::PublicKey;
use tokio::process::Command;
use tokio::time::Instant;

use super::error::FaultError;
use super::http;
use super::report::{FaultKind, FaultReport};
use super::run::FaultOptions;
use super::trial::{ALL, BOUND, Trial, new_chain_with};
use crate::cluster::Validator;
use crate::progress::Progress;

/// Which validator's place the cheat takes.
const CHEAT: usize = 4;
/// The others.
const HONEST: [usize; 3] = [1, 2, 3];
/// Blocks of an epoch: some ten seconds.
const EPOCH_LENGTH: u64 = 100;
const POLL: Duration = Duration::from_millis(200);
/// The honest refuse a key for 30 s after its first forged proof, and for 60 s after its second; it comes to no third.
const WELCOME_WITHIN: Duration = Duration::from_mins(2);

/// One validator is a program that signs what no honest one signs. The others find it out, report it to
/// the chain, which removes it at the epoch's end, and go on.
pub(super) async fn byzantine(
    options: &FaultOptions,
    progress: &Progress,
) -> Result<FaultReport, FaultError> {
    let program = program(options)?;
    let files = new_chain_with(options, &[], |params| {
        params.epoch_length = EPOCH_LENGTH;
        params.evidence_removes = true;
    })?;
    let mut trial = Trial::start_at(FaultKind::Byzantine, files, Vec::new(), options, progress).await?;
    trial.goes_on(&ALL, "before").await;
    let key = trial.cluster.files().validators()[CHEAT - 1];
    trial.cluster.validators()[CHEAT - 1].rest().await;
    let cheat = trial.cluster.start_in_place_of(CHEAT, program)?;
    trial.note(format!("validator {CHEAT} runs a program that double-votes in every view: {key}"));

    let recorded = recorded(&mut trial, key).await?;
    tell_offences(&mut trial, key, &recorded, options).await?;
    is_removed(&mut trial, key).await?;
    tell_counts(&mut trial).await?;
    trial.goes_on(&HONEST, "without it").await;
    what_it_did(&mut trial, &cheat);
    cheat.stop().await;
    // The honest program with the same key, which is nobody's now, follows.
    trial.cluster.validators()[CHEAT - 1].wake().await;
    is_let_in(&mut trial).await;
    trial.goes_on(&ALL, "after it has stopped").await;
    let status = trial.clients[CHEAT - 1].status().await.map_err(RpcError::from)?;
    trial.check(!status.votes, &format!("validator {CHEAT} votes although it was removed"));
    trial.incidents();
    trial.finish().await
}

/// The program beside the node's, which only tests build.
fn program(options: &FaultOptions) -> Result<PathBuf, FaultError> {
    let path = options.node_bin.with_file_name("examples").join("byzantine");
    if path.is_file() { Ok(path) } else { Err(FaultError::NoByzantine(path)) }
}

/// Waits until every honest validator has evidence on its chain, of nobody else.
async fn recorded(trial: &mut Trial, key: PublicKey) -> Result<Vec<OffenceInfo>, FaultError> {
    let (end, mut recorded) = (Instant::now() + BOUND, Vec::new());
    for number in HONEST {
        recorded = trial.clients[number - 1].evidence().await.map_err(RpcError::from)?;
        while recorded.is_empty() && Instant::now() < end {
            tokio::time::sleep(POLL).await;
            recorded = trial.clients[number - 1].evidence().await.map_err(RpcError::from)?;
        }
        trial.check(!recorded.is_empty(), &format!("validator {number} has no evidence on its chain"));
        let innocent = recorded.iter().find(|offence| offence.authority != key);
        trial.check(innocent.is_none(), &format!("an honest authority is accused: {innocent:?}"));
    }
    Ok(recorded)
}

/// What is on the chain, as the operator sees it.
async fn tell_offences(
    trial: &mut Trial,
    key: PublicKey,
    recorded: &[OffenceInfo],
    options: &FaultOptions,
) -> Result<(), FaultError> {
    for offence in recorded {
        let OffenceInfo { epoch, view, offence, record, .. } = offence;
        let (name, reference) = (offence.name(), record.evidence);
        trial.note(format!("on the chain: {name} in epoch {epoch}, view {view}, in transaction {reference}"));
    }
    let rpc = trial.cluster.validators()[0].rpc.to_string();
    let mut command = Command::new(&options.node_bin);
    command.args(["query", "evidence", "--json", "--rpc", &rpc]);
    let output = command.output().await.map_err(FaultError::io("run", &options.node_bin))?;
    let shown = String::from_utf8_lossy(&output.stdout);
    trial.check(shown.contains(&key.to_string()), &format!("`evchain query evidence` says {shown}"));
    Ok(())
}

/// What each honest validator counted and said.
async fn tell_counts(trial: &mut Trial) -> Result<(), FaultError> {
    for number in HONEST {
        let endpoint = trial.cluster.validators()[number - 1].rpc.clone();
        let metrics = http::get(&endpoint, "/metrics").await?;
        let counted: Vec<_> = metrics.lines().filter(|line| line.starts_with("evchain_evidence_")).collect();
        let found = counted.iter().any(|line| line.starts_with("evchain_evidence_detected_total{"));
        trial.check(found, &format!("validator {number} has no metrics of evidence"));
        trial.note(format!("validator {number} counts {}", counted.join(", ")));
        let warned = trial.logged(number, 0, "signed what no honest one signs", BOUND).await;
        trial.check(warned, &format!("validator {number} did not warn"));
    }
    Ok(())
}

/// Waits for the epoch that begins without the cheat.
async fn is_removed(trial: &mut Trial, key: PublicKey) -> Result<(), FaultError> {
    for number in HONEST {
        let end = Instant::now() + BOUND;
        loop {
            let authorities = trial.clients[number - 1].authorities().await.map_err(RpcError::from)?;
            if !authorities.keys.contains(&key) {
                let (epoch, count) = (authorities.epoch, authorities.keys.len());
                trial.note(format!("validator {number}: epoch {epoch} has {count} authorities without it"));
                break;
            }
            if Instant::now() >= end {
                trial.fail(format!("validator {number}: the cheat is still an authority"));
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// Waits until the honest no longer refuse the key for what the cheat sent with it.
async fn is_let_in(trial: &mut Trial) {
    let since = Instant::now();
    let peers = trial.has_peers(CHEAT, HONEST.len(), WELCOME_WITHIN).await;
    trial.check(
        peers >= HONEST.len(),
        &format!("validator {CHEAT} has {peers} peers long after the cheat has stopped"),
    );
    trial.note(format!("validator {CHEAT} is let in again after {} s", since.elapsed().as_secs()));
}

fn what_it_did(trial: &mut Trial, cheat: &Validator) {
    let log = std::fs::read_to_string(&cheat.log).unwrap_or_default();
    let said: Vec<&str> = log.lines().filter(|line| line.starts_with("byzantine: epoch")).collect();
    let proposed = said.iter().filter(|line| line.contains("proposed")).count();
    trial.check(!said.is_empty(), "the cheat has not cheated, so this says nothing");
    trial.note(format!("it cheated in {} views, and proposed in {proposed} of them", said.len()));
}
