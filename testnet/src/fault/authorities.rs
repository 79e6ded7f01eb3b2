use std::collections::BTreeSet;
use std::process::Stdio;

use evchain_node::agents::producer::Reservation;
use evchain_node::rpc::{NodeApiClient, RpcClient, RpcError};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Epoch, Height};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use super::error::FaultError;
use super::report::{FaultKind, FaultReport};
use super::run::FaultOptions;
use super::trial::{ALL, BOUND, POLL, Trial, new_chain_with};
use crate::data::salzburg;
use crate::progress::Progress;
use crate::report::ChainFigures;
use crate::scenario::{Agents, PaymentMix, Plan, PlanOptions, Recorder, participants};

/// Blocks in an epoch: some ten seconds.
const EPOCH_LENGTH: u64 = 200;
/// Charging sessions meanwhile.
const SESSIONS: usize = 18;
/// How much faster they run than in reality, so that they take as long as the changes.
const SPEED: &str = "600";
const INSTALLMENTS: u32 = 10;
/// How many blocks the others make without the two that are killed.
const BLOCKS_WITHOUT: u64 = 30;
/// How many blocks the last authorities finalize before their certificates are looked at.
const LAST_BLOCKS: u64 = 20;

/// Four authorities become five, seven and four again, while vehicles charge. Those who join know one
/// peer and begin with an empty folder; of those who leave, three are of the first four.
pub(super) async fn grow_and_shrink(
    options: &FaultOptions,
    progress: &Progress,
) -> Result<FaultReport, FaultError> {
    let plan = plan()?;
    let files = new_chain_with(options, &participants(&plan), |params| params.epoch_length = EPOCH_LENGTH)?;
    let mut trial = Trial::start_at(FaultKind::Authorities, files, Vec::new(), options, progress).await?;
    let recorder = Recorder::default();
    let mut agents = Agents::start(&trial.cluster, &plan, &recorder, progress).await?;
    trial.goes_on(&ALL, "before").await;

    let mut council = Council { options: options.clone(), members: ALL.to_vec() };
    let fifth = council.join(&mut trial, 1).await?;
    council.add(&mut trial, &[fifth]).await?;
    // One of them knows nobody but the newest authority.
    let others = [council.join(&mut trial, 2).await?, council.join(&mut trial, fifth).await?];
    council.add(&mut trial, &others).await?;
    without_two(&mut trial).await?;
    council.remove(&mut trial, &[1, 2, 3]).await?;
    trial.goes_on(&[1, 2, 3, 4, 5, 6, 7], "with four new authorities").await;
    signed_by_all(&mut trial, &council).await?;

    let results = agents.run().await?;
    let settled = results.iter().filter(|result| result.report.as_ref().is_ok_and(|report| report.settled));
    let settled = settled.count();
    trial.note(format!("{settled} of {} sessions are settled", plan.consumers.len()));
    trial.check(settled == plan.consumers.len(), "not every session is settled");
    let tip = trial.height(1).await.unwrap_or(Height::ZERO);
    trial.newcomers = ChainFigures::read(&trial.clients[0], tip).await?.newcomers;
    trial.incidents();
    trial.finish().await
}

fn plan() -> Result<Plan, FaultError> {
    let installments = InstallmentCount::new(INSTALLMENTS).unwrap_or(InstallmentCount::ONE);
    let (region, payment, speed) = (None, PaymentMix::Mix, SPEED.parse().ok());
    let options = PlanOptions {
        region,
        sessions: SESSIONS,
        installments,
        payment,
        speed,
        reservation: Reservation::Exclusive,
    };
    Ok(Plan::new(salzburg::stations()?, salzburg::requests()?, &options)?)
}

/// With seven authorities two may fail: without two of the first four, five are left, and three of them
/// are new.
async fn without_two(trial: &mut Trial) -> Result<(), FaultError> {
    for number in [1, 2] {
        trial.cluster.validators()[number - 1].crash().await;
    }
    trial.note("validators 1 and 2 are killed (SIGKILL)");
    let left = [3, 4, 5, 6, 7];
    let from = trial.height(3).await.unwrap_or(Height::ZERO);
    let enough = from.saturating_add(Height::new(BLOCKS_WITHOUT));
    while trial.height(3).await.is_none_or(|height| height < enough) && trial.report.failures.is_empty() {
        trial.goes_on(&left, "without two of the first four").await;
    }
    // What the two had signed before may have become final a block or two later.
    let from = from.saturating_add(Height::new(2));
    let signers = signers(trial, 3, from).await?;
    trial.check(
        numbers(trial, &signers.who) == left,
        "without two of the first four, others than the five that are left have signed",
    );
    trial.note(format!("without them {} certificates are signed by {left:?} each", signers.certificates));
    for number in [1, 2] {
        trial.cluster.validators()[number - 1].wake().await;
    }
    trial.goes_on(&[1, 2, 3, 4, 5, 6, 7], "after the two are back").await;
    Ok(())
}

/// The certificates of the last blocks are signed by those who are authorities now, each of whom takes
/// part.
async fn signed_by_all(trial: &mut Trial, council: &Council) -> Result<(), FaultError> {
    let begun = trial.clients[3].authorities().await.map_err(RpcError::from)?.first_height;
    let enough = begun.saturating_add(Height::new(LAST_BLOCKS));
    trial.cluster.wait_for_height(enough, BOUND).await?;
    let signers = signers(trial, 4, begun).await?;
    let who = numbers(trial, &signers.who);
    trial.note(format!("the last {} certificates are signed by {who:?}", signers.certificates));
    trial.check(who == council.members, "others than the authorities have signed the last blocks");
    Ok(())
}

/// Who signed the certificates from a height on, as a node has them.
struct SignersSeen {
    who: BTreeSet<PublicKey>,
    certificates: u64,
}

async fn signers(trial: &Trial, node: usize, from: Height) -> Result<SignersSeen, FaultError> {
    let rpc = &trial.clients[node - 1];
    let tip = rpc.status().await.map_err(RpcError::from)?.height;
    let mut seen = SignersSeen { who: BTreeSet::new(), certificates: 0 };
    let mut height = from;
    while height <= tip {
        let certificate = rpc.finalization(height).await.map_err(RpcError::from)?;
        // Of the epochs in question, the current one and the former, the names are known.
        seen.who.extend(certificate.signers.into_iter().flatten());
        seen.certificates += 1;
        height = certificate.height.saturating_add(Height::new(1));
    }
    Ok(seen)
}

/// The authorities, who act by the command line as their operators do.
struct Council {
    options: FaultOptions,
    /// The validators' numbers.
    members: Vec<usize>,
}

impl Council {
    /// Admits a new key and starts its node, which knows one peer; gives its number.
    async fn join(&self, trial: &mut Trial, peer: usize) -> Result<usize, FaultError> {
        let number = trial.cluster.add_newcomer()?;
        let key = trial.cluster.files().validators()[number - 1].to_string();
        self.evchain(trial, self.members[0], "admit", &[&key, "--roles", "auditor"]).await?;
        trial.join(number, peer).await?;
        Ok(number)
    }

    /// Takes validators in.
    async fn add(&mut self, trial: &mut Trial, numbers: &[usize]) -> Result<(), FaultError> {
        for number in numbers {
            self.decide(trial, "propose-add", *number, &self.members).await?;
        }
        self.members.extend(numbers);
        self.take_effect(trial).await
    }

    /// Removes validators, by the votes of the others first.
    async fn remove(&mut self, trial: &mut Trial, numbers: &[usize]) -> Result<(), FaultError> {
        let mut voters = self.members.clone();
        voters.sort_by_key(|number| numbers.contains(number));
        for number in numbers {
            self.decide(trial, "propose-remove", *number, &voters).await?;
        }
        self.members.retain(|number| !numbers.contains(number));
        self.take_effect(trial).await
    }

    /// The first proposes, and as many approve as make more than two thirds.
    async fn decide(
        &self,
        trial: &Trial,
        kind: &str,
        number: usize,
        voters: &[usize],
    ) -> Result<(), FaultError> {
        let key = trial.cluster.validators()[number - 1].key.to_string();
        let proposed = self.evchain(trial, voters[0], kind, &[&key]).await?;
        let proposal = proposed["ref"].as_str().unwrap_or_default().to_owned();
        let needed = 2 * voters.len() / 3 + 1;
        for voter in &voters[1..needed] {
            self.evchain(trial, *voter, "approve", &[&proposal]).await?;
        }
        Ok(())
    }

    /// Runs `evchain tx` with a validator's key.
    async fn evchain(
        &self,
        trial: &Trial,
        voter: usize,
        kind: &str,
        arguments: &[&str],
    ) -> Result<Value, FaultError> {
        let validator = &trial.cluster.validators()[voter - 1];
        let output = Command::new(&self.options.node_bin)
            .args(["tx", kind])
            .args(arguments)
            .args(["--json", "--rpc", &validator.rpc.http_url()])
            .arg("--wallet")
            .arg(trial.cluster.files().validator_wallet_path(voter))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(FaultError::io("run", &self.options.node_bin))?;
        let failed = |reason: String| FaultError::Tool { command: format!("evchain tx {kind}"), reason };
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
    }

    /// Waits until every node knows the new authorities, and exactly these vote.
    async fn take_effect(&self, trial: &mut Trial) -> Result<(), FaultError> {
        let expected: BTreeSet<PublicKey> =
            self.members.iter().map(|number| trial.cluster.validators()[number - 1].key).collect();
        let end = Instant::now() + BOUND;
        let mut epoch = Epoch::ZERO;
        for number in 1..=trial.clients.len() {
            loop {
                match self.seen_by(&trial.clients[number - 1], &expected, number).await {
                    Ok(Some(seen)) => break epoch = epoch.max(seen),
                    Ok(None) | Err(_) if Instant::now() < end => tokio::time::sleep(POLL).await,
                    Ok(None) => {
                        let members = &self.members;
                        trial.fail(format!("validator {number} does not see {members:?} as authorities"));
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        trial.note(format!("authorities {:?} from epoch {epoch} on, as every node sees", self.members));
        Ok(())
    }

    /// In which epoch a node has these authorities and the role that follows; none if it has not.
    async fn seen_by(
        &self,
        rpc: &RpcClient,
        expected: &BTreeSet<PublicKey>,
        number: usize,
    ) -> Result<Option<Epoch>, RpcError> {
        let (now, status) = (rpc.authorities().await?, rpc.status().await?);
        let keys: BTreeSet<PublicKey> = now.keys.into_iter().collect();
        let is_so = keys == *expected && status.votes == self.members.contains(&number);
        Ok(is_so.then_some(now.epoch))
    }
}

/// The numbers of these validators, in order.
fn numbers(trial: &Trial, keys: &BTreeSet<PublicKey>) -> Vec<usize> {
    let validators = trial.cluster.validators().iter();
    validators.filter(|validator| keys.contains(&validator.key)).map(|validator| validator.number).collect()
}
