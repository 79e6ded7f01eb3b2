use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evchain_node::rpc::{AuthoritiesInfo, NodeApiClient, OffenceInfo, RpcClient, RpcError};
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::finality::OffenceKind;
use evchain_protocol::primitives::{Epoch, Height, View};

use super::error::FaultError;
use super::report::{FaultKind, FaultReport};
use super::run::FaultOptions;
use super::trial::{ALL, BOUND, POLL, Trial, new_chain_with};
use crate::cluster::Validator;
use crate::progress::Progress;

/// Which validator loses its database or runs twice.
const VICTIM: usize = 4;
/// How many heights may pass without a certificate that it signed, where it votes.
const CERTIFICATES: u64 = 200;
/// How long a node that refuses to start may take to say so.
const REFUSAL: Duration = Duration::from_secs(30);
/// How long a twin runs beside its original at least.
const BESIDE: Duration = Duration::from_secs(10);
/// Blocks in an epoch: where a database is lost, enough for two starts, and few enough for three of four
/// validators, whose every fourth leader is missing.
const EPOCH_LENGTH: u64 = 60;

/// One validator's database is lost while its key is not: it follows, and votes again from the next
/// epoch on.
pub(super) async fn wipe(options: &FaultOptions, progress: &Progress) -> Result<FaultReport, FaultError> {
    let files = new_chain_with(options, &[], |params| params.epoch_length = EPOCH_LENGTH)?;
    let mut trial = Trial::start_at(FaultKind::Wipe, files, Vec::new(), options, progress).await?;
    trial.goes_on(&ALL, "before").await;
    // Most of an epoch is then left.
    let now = authorities(&trial, 1).await?.epoch;
    trial.reaches(1, now.saturating_add(Epoch::new(1))).await;
    let before = signed(&trial, Height::new(1), Height::MAX).await?;
    trial.note(format!("validator {VICTIM} has signed {before} certificates"));
    trial.check(before > 0, "it has signed nothing, so this says nothing");

    trial.cluster.validators()[VICTIM - 1].rest().await;
    let data = trial.cluster.files().validator_data_dir(VICTIM);
    fs::remove_dir_all(&data).map_err(FaultError::io("remove", &data))?;
    let mut tip = Height::ZERO;
    for number in [1, 2, 3] {
        tip = tip.max(trial.height(number).await.unwrap_or(Height::ZERO));
    }
    let lost_in = authorities(&trial, 1).await?;
    trial.note(format!("validator {VICTIM} has lost its database in epoch {}", lost_in.epoch));
    trial.cluster.validators()[VICTIM - 1].wake().await;
    trial.goes_on(&ALL, "after the loss").await;
    observes(&mut trial, lost_in.epoch, "after the loss").await?;
    // A second start finds a database that is not new.
    trial.cluster.validators()[VICTIM - 1].kill().await;
    trial.goes_on(&ALL, "after one more crash").await;
    observes(&mut trial, lost_in.epoch, "after one more crash").await?;

    let next = lost_in.epoch.saturating_add(Epoch::new(1));
    trial.reaches(VICTIM, next).await;
    // Three of four decide, so that it is needed now.
    trial.cluster.validators()[0].crash().await;
    trial.goes_on(&[2, 3, VICTIM], "with its votes in place of another's").await;
    trial.cluster.validators()[0].wake().await;
    trial.goes_on(&ALL, "after the other is back").await;
    let silent = signed(&trial, tip.saturating_add(Height::new(1)), lost_in.last_height).await?;
    trial.check(silent == 0, &format!("it has signed {silent} certificates after it lost its votes"));
    let again = signed(&trial, lost_in.last_height.saturating_add(Height::new(1)), Height::MAX).await?;
    trial.note(format!(
        "validator {VICTIM} votes again from epoch {next} on: it has signed {again} certificates"
    ));
    trial.check(again > 0, "it has signed nothing in later epochs");
    trial.incidents();
    trial.finish().await
}

/// Checks that the victim does not vote, as long as the epoch lasts in which it may have voted.
async fn observes(trial: &mut Trial, lost_in: Epoch, when: &str) -> Result<(), FaultError> {
    let votes = trial.clients[VICTIM - 1].status().await.map_err(RpcError::from)?.votes;
    let now = authorities(trial, VICTIM).await?.epoch;
    trial.note(format!("{when}, in epoch {now}: it {}", if votes { "votes" } else { "observes" }));
    trial.check(!votes || now > lost_in, &format!("{when}: validator {VICTIM} votes"));
    Ok(())
}

async fn authorities(trial: &Trial, number: usize) -> Result<AuthoritiesInfo, FaultError> {
    Ok(trial.clients[number - 1].authorities().await.map_err(RpcError::from)?)
}

/// How many of the last certificates of these heights the victim has signed.
async fn signed(trial: &Trial, from: Height, to: Height) -> Result<usize, FaultError> {
    let (rpc, victim) = (&trial.clients[1], trial.cluster.files().validators()[VICTIM - 1]);
    // The set stays what it is, while the names of older epochs' signers are forgotten.
    let keys = authorities(trial, 2).await?.keys;
    let place = keys.iter().position(|key| *key == victim).unwrap_or(usize::MAX);
    let tip = rpc.status().await.map_err(RpcError::from)?.height.min(to);
    let first = from.get().max(tip.get().saturating_sub(CERTIFICATES));
    let mut signed = 0;
    for height in first..=tip.get() {
        let certificate = rpc.finalization(Height::new(height)).await.map_err(RpcError::from)?;
        // A height without a certificate of its own answers with the next.
        let is_own = certificate.height.get() == height;
        let by_victim = |index: &AuthorityIndex| usize::from(index.get()) == place;
        signed += usize::from(is_own && certificate.signer_indexes.iter().any(by_victim));
    }
    Ok(signed)
}

/// One validator runs twice: in the same folder, from a copy of its key, from a copy of everything.
pub(super) async fn twin(options: &FaultOptions, progress: &Progress) -> Result<FaultReport, FaultError> {
    let files = new_chain_with(options, &[], |params| {
        params.epoch_length = EPOCH_LENGTH;
        // The one that was found out first stays, for the next.
        params.evidence_removes = false;
    })?;
    let mut trial = Trial::start_at(FaultKind::Twin, files, Vec::new(), options, progress).await?;
    trial.goes_on(&ALL, "before").await;
    same_folder(&mut trial).await?;
    copied_key(&mut trial).await?;
    copied_folder(&mut trial).await?;
    trial.goes_on(&ALL, "after the twins have gone").await;
    trial.incidents();
    trial.finish().await
}

/// The lock of the database refuses a second process.
async fn same_folder(trial: &mut Trial) -> Result<(), FaultError> {
    let files = trial.cluster.files();
    let wallet = copy_wallet(trial, "same-folder", false)?;
    let twin = trial.cluster.start_twin(VICTIM, wallet, files.validator_data_dir(VICTIM))?;
    let end = tokio::time::Instant::now() + REFUSAL;
    while twin.ended().is_none() && tokio::time::Instant::now() < end {
        tokio::time::sleep(POLL).await;
    }
    let refused = twin.ended().is_some() && twin.log_tail().contains("Another evchain process");
    let said = twin.log_tail();
    trial.note(format!("a second process in the same folder: {}", last_line(&said)));
    trial.check(refused, &format!("a second process in the same folder was not refused clearly: {said}"));
    twin.stop().await;
    trial.goes_on(&ALL, "after it was refused").await;
    Ok(())
}

/// The key without the record of what it has signed, and no database: the twin votes too, from the epoch on
/// that begins while it runs.
async fn copied_key(trial: &mut Trial) -> Result<(), FaultError> {
    let wallet = copy_wallet(trial, "copied-key", false)?;
    let data = wallet.with_file_name("data");
    let twin = trial.cluster.start_twin(VICTIM, wallet, data)?;
    beside(trial, twin, "a copy of the key").await
}

/// Everything, from a moment when the validator was down: both go on from the same votes.
async fn copied_folder(trial: &mut Trial) -> Result<(), FaultError> {
    trial.cluster.validators()[VICTIM - 1].rest().await;
    let wallet = copy_wallet(trial, "copied-folder", true)?;
    let (from, data) = (trial.cluster.files().validator_data_dir(VICTIM), wallet.with_file_name("data"));
    copy_folder(&from, &data)?;
    trial.cluster.validators()[VICTIM - 1].wake().await;
    let twin = trial.cluster.start_twin(VICTIM, wallet, data)?;
    beside(trial, twin, "a copy of everything").await
}

/// Lets a twin run until it and its original are found out. The others must go on.
async fn beside(trial: &mut Trial, twin: Validator, what: &str) -> Result<(), FaultError> {
    let rpc = client(&twin).await;
    let votes = match &rpc {
        Some(rpc) => rpc.status().await.is_ok_and(|status| status.votes),
        None => false,
    };
    let voting = if votes { "it votes" } else { "it does not vote" };
    trial.note(format!("validator {VICTIM} runs twice, from {what}: {voting}"));
    trial.check(rpc.is_some(), &format!("the twin from {what} does not run: {}", twin.log_tail()));
    let begun_in = authorities(trial, 1).await?.epoch;
    found_out(trial, begun_in, what).await?;
    trial.goes_on(&[1, 2, 3], &format!("beside {what}")).await;
    twin.stop().await;
    trial.goes_on(&ALL, &format!("after {what} has stopped")).await;
    Ok(())
}

/// Waits until the chain holds that the two proposed different blocks in a view, in a later epoch than this:
/// what is of this one, may be another twin's. Other votes of theirs may contradict each other before, and
/// the chain keeps three offences of an epoch; each epoch has room anew.
async fn found_out(trial: &mut Trial, begun_in: Epoch, what: &str) -> Result<(), FaultError> {
    let victim = trial.cluster.files().validators()[VICTIM - 1];
    let begun = tokio::time::Instant::now();
    // By epoch: the chain forgets those of the last but one.
    let mut found: BTreeMap<(Epoch, View), BTreeSet<&str>> = BTreeMap::new();
    let mut accused = BTreeSet::new();
    let proposed_twice = loop {
        for OffenceInfo { authority, epoch, view, offence, .. } in offences(trial).await? {
            if authority != victim {
                accused.insert(authority);
            } else if epoch > begun_in {
                found.entry((epoch, view)).or_default().insert(offence.name());
            }
        }
        let proposed_twice = found.values().any(|kinds| kinds.contains(OffenceKind::DoubleNotarize.name()));
        if begun.elapsed() >= if proposed_twice { BESIDE } else { BOUND } {
            break proposed_twice;
        }
        tokio::time::sleep(POLL).await;
    };
    trial.check(accused.is_empty(), &format!("honest authorities are accused: {accused:?}"));
    for ((epoch, view), kinds) in &found {
        let kinds: Vec<&str> = kinds.iter().copied().collect();
        let kinds = kinds.join(", ");
        trial.note(format!("evidence, {what}: on the chain of epoch {epoch}, view {view}: {kinds}"));
    }
    let waited = BOUND.as_secs();
    trial.check(proposed_twice, &format!("{what} proposed beside its original, unnoticed for {waited} s"));
    Ok(())
}

async fn offences(trial: &Trial) -> Result<Vec<OffenceInfo>, FaultError> {
    Ok(trial.clients[0].evidence().await.map_err(RpcError::from)?)
}

async fn client(twin: &Validator) -> Option<RpcClient> {
    let end = tokio::time::Instant::now() + BOUND;
    while twin.ended().is_none() && tokio::time::Instant::now() < end {
        if let Ok(client) = RpcClient::connect(std::slice::from_ref(&twin.rpc)).await {
            return Some(client);
        }
        tokio::time::sleep(POLL).await;
    }
    None
}

/// A copy of the victim's key in a folder of its own, with or without the record of what it has signed.
fn copy_wallet(trial: &Trial, folder: &str, with_note: bool) -> Result<PathBuf, FaultError> {
    let from = trial.cluster.files().validator_wallet_path(VICTIM);
    let dir = trial.cluster.files().dir().join(folder);
    fs::create_dir_all(&dir).map_err(FaultError::io("make", &dir))?;
    let to = dir.join("wallet.json");
    fs::copy(&from, &to).map_err(FaultError::io("copy", &from))?;
    if with_note {
        let note = from.with_extension("json.voted");
        fs::copy(&note, to.with_extension("json.voted")).map_err(FaultError::io("copy", &note))?;
    }
    Ok(to)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), FaultError> {
    fs::create_dir_all(to).map_err(FaultError::io("make", to))?;
    for entry in fs::read_dir(from).map_err(FaultError::io("read", from))? {
        let path = entry.map_err(FaultError::io("read", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(FaultError::io("copy", &path))?;
        }
    }
    Ok(())
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or("nothing is said")
}
