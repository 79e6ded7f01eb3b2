use std::collections::BTreeSet;
use std::time::Duration;

use evchain_node::rpc::{NodeApiClient, RpcClient, TransactionKey};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Epoch, Height};
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::error::FaultError;
use super::load::{Load, PAYMENT, Paid, Payment};
use super::report::{FaultKind, FaultReport};
use super::run::FaultOptions;
use crate::cluster::{ChainFiles, Cluster, ClusterOptions, Incident, Participant, Place};
use crate::progress::Progress;
use crate::report::Audit;

/// Within this time after a fault is over, or while it leaves a quorum, every connected validator
/// has new blocks and payments become final: see "Faults" in the README.
pub(super) const BOUND: Duration = Duration::from_mins(1);
/// Everybody.
pub(super) const ALL: [usize; 4] = [1, 2, 3, 4];

/// How many new blocks are progress.
const BLOCKS: u64 = 3;
/// How many payers pay.
const PAYERS: usize = 4;
/// After how long a validator that ended starts again.
const RESTART_AFTER: Duration = Duration::from_millis(300);
/// How long to wait before asking again.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// Questions that are under way at the same time.
const QUESTIONS: usize = 16;

/// Validators under load, on which a fault is tried.
pub(super) struct Trial {
    pub(super) cluster: Cluster,
    /// One client for each validator.
    pub(super) clients: Vec<RpcClient>,
    pub(super) report: FaultReport,
    /// Who may have got money beside those with an account from the beginning.
    pub(super) newcomers: BTreeSet<PublicKey>,
    load: Load,
    /// The highest block seen: a validator that was killed a moment ago does not answer yet.
    highest: Height,
    progress: Progress,
    begun: Instant,
}

impl Trial {
    /// A new chain on the loopback address.
    pub(super) async fn start(
        kind: FaultKind,
        options: &FaultOptions,
        progress: &Progress,
    ) -> Result<Self, FaultError> {
        let files = new_chain(options)?;
        Self::start_at(kind, files, Vec::new(), options, progress).await
    }

    /// A chain of [`new_chain`] at these places.
    pub(super) async fn start_at(
        kind: FaultKind,
        files: ChainFiles,
        places: Vec<Place>,
        options: &FaultOptions,
        progress: &Progress,
    ) -> Result<Self, FaultError> {
        let begun = Instant::now();
        let node_bin = options.node_bin.clone();
        let cluster_options = ClusterOptions { node_bin, restart_after: Some(RESTART_AFTER), places };
        let cluster = Cluster::start(files, &cluster_options).await?;
        progress.line(&format!("4 validators run, logs are in {}", options.dir.display()));
        let mut clients = Vec::new();
        for validator in cluster.validators() {
            clients.push(cluster.client_of(validator).await?);
        }
        let payers = (1..=PAYERS)
            .map(|number| Ok(cluster.files().wallet(&payer(number))?.main_key()))
            .collect::<Result<Vec<_>, FaultError>>()?;
        let payee = cluster.files().wallet(PAYEE)?.main_key().public_key();
        let load = Load::start(payers, payee, &clients).await?;
        let report = FaultReport {
            kind,
            notes: Vec::new(),
            restarts: 0,
            blocks: 0,
            payments_sent: 0,
            payments_final: 0,
            duration_s: 0,
            attacks: Vec::new(),
            audit: None,
            failures: Vec::new(),
        };
        let (newcomers, progress) = (BTreeSet::new(), progress.clone());
        Ok(Self { cluster, clients, report, newcomers, load, highest: Height::ZERO, progress, begun })
    }

    /// Something that was seen.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.progress.line(&text);
        self.report.notes.push(text);
    }

    /// How far it is.
    pub(super) fn progress(&self, text: &str) {
        self.progress.line(text);
    }

    /// Something that should not be.
    pub(super) fn fail(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.progress.line(&format!("FAILED: {text}"));
        self.report.failures.push(text);
    }

    /// Checks that something holds.
    pub(super) fn check(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.fail(otherwise);
        }
    }

    /// Starts a newcomer, which knows one peer, and waits until it answers.
    pub(super) async fn join(&mut self, number: usize, peer: usize) -> Result<(), FaultError> {
        self.cluster.join(number, peer)?;
        let newcomer = &self.cluster.validators()[number - 1];
        self.cluster.wait_for_height_of(newcomer, Height::new(1), BOUND).await?;
        let client = self.cluster.client_of(newcomer).await?;
        self.clients.push(client);
        Ok(())
    }

    /// A validator's height, if it answers.
    pub(super) async fn height(&self, number: usize) -> Option<Height> {
        self.clients[number - 1].status().await.ok().map(|status| status.height)
    }

    /// Waits until a validator has so many peers, or no longer; gives how many it has.
    pub(super) async fn has_peers(&self, number: usize, wanted: usize, patience: Duration) -> usize {
        let end = Instant::now() + patience;
        loop {
            let peers = self.clients[number - 1].peers().await.map_or(0, |peers| peers.len());
            if peers >= wanted || Instant::now() >= end {
                return peers;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Checks that these validators get new blocks in time, and that payments become final.
    pub(super) async fn goes_on(&mut self, who: &[usize], when: &str) {
        let (begun, finals) = (Instant::now(), self.load.finals());
        for number in who {
            self.highest = self.highest.max(self.height(*number).await.unwrap_or(Height::ZERO));
        }
        let target = self.highest.saturating_add(Height::new(BLOCKS));
        loop {
            let mut behind = Vec::new();
            for number in who {
                let height = self.height(*number).await;
                if height.is_none_or(|height| height < target) {
                    behind.push((*number, height));
                }
            }
            if behind.is_empty() && self.load.finals() > finals {
                self.highest = target;
                let waited = begun.elapsed().as_millis();
                self.progress.line(&format!("{when}: block {target} at {who:?} after {waited} ms"));
                return;
            }
            if begun.elapsed() >= BOUND {
                let finals = self.load.finals() - finals;
                return self.fail(format!(
                    "{when}: no progress within {} s: {finals} payments, not at block {target}: {behind:?}",
                    BOUND.as_secs()
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a validator has come to an epoch and votes in it.
    pub(super) async fn reaches(&mut self, number: usize, epoch: Epoch) {
        let end = Instant::now() + BOUND;
        loop {
            let rpc = &self.clients[number - 1];
            if let (Ok(now), Ok(status)) = (rpc.authorities().await, rpc.status().await)
                && now.epoch >= epoch
                && status.votes
            {
                return;
            }
            if Instant::now() >= end {
                let waited = BOUND.as_secs();
                return self
                    .fail(format!("validator {number} does not vote in epoch {epoch} within {waited} s"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What has happened to processes since the last call.
    pub(super) fn incidents(&mut self) -> Vec<Incident> {
        let incidents = self.cluster.take_incidents();
        for incident in &incidents {
            self.progress.line(&incident.to_string());
            self.report.restarts += u64::from(matches!(incident, Incident::Restarted { .. }));
        }
        incidents
    }

    /// Checks that no process has ended or started meanwhile.
    pub(super) fn expect_no_incident(&mut self) {
        for incident in self.incidents() {
            self.fail(incident.to_string());
        }
    }

    /// Waits until a validator's log has these words after its first `skip` bytes.
    pub(super) async fn logged(
        &mut self,
        number: usize,
        skip: usize,
        words: &str,
        patience: Duration,
    ) -> bool {
        let end = Instant::now() + patience;
        while !self.log(number, skip).contains(words) {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// A validator's log after its first bytes.
    pub(super) fn log(&self, number: usize, skip: usize) -> String {
        let bytes = std::fs::read(&self.cluster.validators()[number - 1].log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(skip..).unwrap_or_default()).into_owned()
    }

    /// Ends the load and holds every validator to its promises.
    pub(super) async fn finish(mut self) -> Result<FaultReport, FaultError> {
        let paid = self.load.finish().await?;
        self.report.payments_sent = self.load.sent();
        self.report.payments_final = paid.finals.len() as u64;
        let verdict = self.judge(&paid).await;
        self.report.duration_s = self.begun.elapsed().as_secs();
        self.report.failures.extend(paid.failures);
        self.cluster.stop().await;
        verdict?;
        Ok(self.report)
    }

    async fn judge(&mut self, paid: &Paid) -> Result<(), FaultError> {
        let mut tip = Height::ZERO;
        for number in 1..=self.clients.len() {
            tip = tip.max(self.height(number).await.unwrap_or(Height::ZERO));
        }
        if let Err(error) = self.cluster.wait_for_height(tip, BOUND).await {
            self.fail(format!("not every validator has block {tip}: {error}"));
            return Ok(());
        }
        self.report.blocks = tip.get();
        let files = self.cluster.files();
        let accounts = &files.accounts() | &self.newcomers;
        let audit = Audit::run(&self.clients, &accounts, files.genesis().build()?.supply).await?;
        self.check(audit.is_agreed(), "the validators have different blocks or states");
        self.check(audit.is_conserved(), "the money is not what it was");
        self.report.audit = Some(audit);
        self.check(!paid.finals.is_empty(), "no payment became final");
        for number in 1..=self.clients.len() {
            self.judge_payments(number, &paid.finals).await?;
        }
        Ok(())
    }

    /// Every payment stands where it was called final, and moved its money once.
    async fn judge_payments(&mut self, number: usize, finals: &[Payment]) -> Result<(), FaultError> {
        let rpc = &self.clients[number - 1];
        let misplaced = futures::stream::iter(finals)
            .map(|payment| async move {
                let found = rpc.transaction(TransactionKey::Id(payment.transaction)).await;
                let block = found.ok().and_then(|found| found.finality).map(|finality| finality.block);
                Ok::<_, FaultError>((payment, block))
            })
            .buffered(QUESTIONS)
            .try_filter(|(payment, block)| std::future::ready(*block != Some(payment.block)))
            .try_collect::<Vec<_>>()
            .await?;
        let received = rpc.account(self.payee()?).await.map_err(evchain_node::rpc::RpcError::from)?;
        let received = received.account.balance.checked_sub(Participant::bank().balance);
        let expected = Amount::new(PAYMENT.get() * finals.len() as u64);
        for (payment, block) in misplaced {
            let (transaction, promised) = (payment.transaction, payment.block);
            self.fail(format!(
                "validator {number}: payment {transaction} was final in {promised}, now {block:?}"
            ));
        }
        let otherwise = format!("validator {number}: the payee got {received:?}, not {expected}");
        self.check(received == Ok(expected), &otherwise);
        Ok(())
    }

    fn payee(&self) -> Result<PublicKey, FaultError> {
        Ok(self.cluster.files().wallet(PAYEE)?.main_key().public_key())
    }
}

const PAYEE: &str = "payee";

fn payer(number: usize) -> String {
    format!("payer-{number}")
}

/// A new chain of four validators, with payers.
pub(super) fn new_chain(options: &FaultOptions) -> Result<ChainFiles, FaultError> {
    new_chain_with(options, &[], |_| {})
}

/// The same with further participants and other parameters.
pub(super) fn new_chain_with(
    options: &FaultOptions,
    participants: &[Participant],
    change: impl FnOnce(&mut Params),
) -> Result<ChainFiles, FaultError> {
    let names = (1..=PAYERS).map(payer).chain([PAYEE.to_owned()]);
    let mut all = participants.to_vec();
    all.extend(names.map(|name| Participant { name, ..Participant::bank() }));
    Ok(ChainFiles::create_with(&options.dir, ALL.len(), &all, change)?)
}
