//! A charge from order to report, and what is left of charges that were broken off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Timestamp, TxRef};
use evchain_protocol::session::decide::Doubt;
use evchain_protocol::session::{ConsumerRecord, EndReason, Margins, RejectReason, WantedLeads};
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Auction};
use super::config::{ChargeOrder, ConsumerConfig};
use super::record::{ChargeRecord, Started, Step};
use super::recorder::Recorder;
use crate::agents::chain::blocks::Blocks;
use crate::agents::chain::finality::FinalityMeter;
use crate::agents::chain::nodes::{Nodes, Signer};
use crate::agents::error::AgentError;
use crate::agents::event::{Observer, Warning};
use crate::agents::journal::{self, Journal};
use crate::agents::report::{ChargeOutcome, ChargeReport, ConsideredBid, SessionReport};
use crate::clock;
use crate::rpc::{NodeApiClient, RpcClient};
use crate::wallet::Wallet;

/// How the journals of charges are named, before the index of their fresh key.
pub(in crate::agents) const JOURNAL_PREFIX: &str = "key-";

/// Charges once: asks with a fresh key of the wallet, which its main key pays for, chooses, pays,
/// and takes back what is left. When `stop` is cancelled the session is ended and settled.
/// Dropping the future is like a crash: [`resume`] goes on.
///
/// # Errors
/// [`AgentError`] where the agent cannot go on. That nobody served is no error but in the report.
pub async fn run(
    config: &ConsumerConfig,
    order: &ChargeOrder,
    rpc: RpcClient,
    wallet: &Wallet,
    observer: Observer,
    stop: CancellationToken,
) -> Result<ChargeReport, AgentError> {
    let (begun, mut attempts) = (clock::now(), 0);
    // Before a key is taken and money moves.
    order.check(begun, config.policy.tolerance_permille)?;
    let setup = Setup::new(config, rpc, wallet, observer).await?;
    setup.check_margins()?;
    let mut recorder = Recorder::new(setup.nodes.clone());
    loop {
        attempts += 1;
        let mut attempt = setup.begin(wallet, recorder).await?;
        let auction = tokio::select! {
            auction = attempt.auction(order) => Some(auction),
            () = stop.cancelled() => None,
        };
        attempt.finish_pending().await?;
        let found_nobody = matches!(auction, Some(Ok(Auction::NoBids | Auction::BidChanged)));
        let outcome = match auction {
            Some(Ok(Auction::Paid)) => ChargeOutcome::NotServed,
            Some(Ok(Auction::NoBids)) => ChargeOutcome::NoBids,
            Some(Ok(Auction::NoUsableBid | Auction::BidChanged)) => ChargeOutcome::NoUsableBid,
            Some(Ok(Auction::TooLate)) if attempts > 1 => ChargeOutcome::NoBids,
            Some(Ok(Auction::TooLate)) => given_up("the window starts too soon to find somebody"),
            None => given_up("stopped by the user"),
            Some(Err(error @ AgentError::Rejected { .. })) => given_up(&error.to_string()),
            Some(Err(error)) => return Err(error),
        };
        let finished = attempt.finish(&setup, outcome, Vec::new(), &stop).await?;
        let (summary, kept) = finished;
        let asks_again = (found_nobody || summary.came_too_late()) && attempts < order.max_attempts;
        if !asks_again || stop.is_cancelled() || clock::now() >= order.window.start {
            return Ok(summary.into_report(kept, begun, attempts));
        }
        recorder = kept;
    }
}

/// Goes on with every charge that was interrupted: with those that have locked their price to the
/// end, of others the money is taken back. Each ends for itself; one that fails is taken up again by the
/// next call.
///
/// # Errors
/// As [`run`], where none could be begun.
pub async fn resume(
    config: &ConsumerConfig,
    rpc: RpcClient,
    wallet: &Wallet,
    observer: Observer,
    stop: CancellationToken,
) -> Result<Vec<Result<ChargeReport, AgentError>>, AgentError> {
    let paths = unfinished_charges(config)?;
    resume_all(config, &paths, rpc, wallet, observer, stop).await
}

/// Goes on with one charge that was interrupted, by the name of its journal. With `stop` cancelled already
/// it is ended and settled as far as it came. None if there is no such charge, or nothing is left to do.
///
/// # Errors
/// As [`run`].
pub async fn resume_named(
    config: &ConsumerConfig,
    name: &str,
    rpc: RpcClient,
    wallet: &Wallet,
    observer: Observer,
    stop: CancellationToken,
) -> Result<Option<ChargeReport>, AgentError> {
    let mut paths = unfinished_charges(config)?;
    paths.retain(|path| journal::name_of(path) == name);
    resume_all(config, &paths, rpc, wallet, observer, stop).await?.pop().transpose()
}

async fn resume_all(
    config: &ConsumerConfig,
    paths: &[PathBuf],
    rpc: RpcClient,
    wallet: &Wallet,
    observer: Observer,
    stop: CancellationToken,
) -> Result<Vec<Result<ChargeReport, AgentError>>, AgentError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let setup = Setup::new(config, rpc, wallet, observer).await?;
    let charges = paths.iter().map(async |path| {
        let ended = setup.resume(wallet, path, &stop).await;
        if let Err(error) = &ended {
            // Not all who call look at more than the first that failed.
            let reason = format!("cannot end the charge {}: {error}", journal::name_of(path));
            setup.nodes.warn(Warning::Trouble { reason });
        }
        ended
    });
    let ended = futures::future::join_all(charges).await;
    Ok(ended.into_iter().filter_map(Result::transpose).collect())
}

/// A vehicle that sells too keeps its sales in the same folder.
fn unfinished_charges(config: &ConsumerConfig) -> Result<Vec<PathBuf>, AgentError> {
    let mut paths = journal::unfinished(&sessions_folder(config))?;
    paths.retain(|path| journal::name_of(path).starts_with(JOURNAL_PREFIX));
    Ok(paths)
}

fn given_up(reason: &str) -> ChargeOutcome {
    ChargeOutcome::GivenUp { reason: reason.to_owned() }
}

fn sessions_folder(config: &ConsumerConfig) -> PathBuf {
    config.state_dir.join("sessions")
}

/// What all attempts of an agent share.
struct Setup<'a> {
    config: &'a ConsumerConfig,
    nodes: Nodes,
    params: Params,
    main: Arc<Signer>,
    blocks: Arc<Blocks>,
}

impl<'a> Setup<'a> {
    async fn new(
        config: &'a ConsumerConfig,
        rpc: RpcClient,
        wallet: &Wallet,
        observer: Observer,
    ) -> Result<Self, AgentError> {
        let nodes = Nodes::new(rpc.clone(), Arc::clone(&observer));
        let params =
            nodes.need("ask for the chain's parameters", |rpc| async move { rpc.params().await }).await?;
        let main = Arc::new(Signer::new(nodes.clone(), wallet.main_key()));
        let meter = FinalityMeter::of_recent_blocks(&nodes).await?;
        let blocks = Arc::new(Blocks::follow(rpc, observer, meter));
        Ok(Self { config, nodes, params, main, blocks })
    }

    /// No producer serves on a chain that is too slow to collect in time (T5).
    fn check_margins(&self) -> Result<(), AgentError> {
        let finality = self.blocks.finality(&self.params);
        Margins::choose(&self.params, finality, WantedLeads::default())
            .map(drop)
            .map_err(|error| AgentError::margins(finality, &error))
    }

    /// A new attempt with a fresh key.
    async fn begin(&self, wallet: &Wallet, recorder: Recorder) -> Result<Attempt, AgentError> {
        let (key_index, key) = wallet.fresh_key()?;
        let folder = sessions_folder(self.config);
        // Not named by the request, which does not exist before the money that this is to guard.
        let mut journal = Journal::create(&folder, &format!("{JOURNAL_PREFIX}{key_index}"))?;
        let started = Started { key_index, consumer: key.public_key() };
        journal.append(&ChargeRecord::Started(started)).await?;
        Ok(self.attempt(key, journal, recorder))
    }

    fn attempt(&self, key: KeyPair, journal: Journal<ChargeRecord>, recorder: Recorder) -> Attempt {
        Attempt {
            nodes: self.nodes.clone(),
            params: self.params.clone(),
            main: Arc::clone(&self.main),
            zeta: Arc::new(Signer::new(self.nodes.clone(), key)),
            blocks: Arc::clone(&self.blocks),
            journal,
            recorder,
            landed: BTreeMap::new(),
            pending: None,
            decision: None,
            funded: Amount::ZERO,
            considered: Vec::new(),
            chosen: None,
        }
    }

    /// Goes on with one journal. None if it is another's.
    async fn resume(
        &self,
        wallet: &Wallet,
        path: &Path,
        stop: &CancellationToken,
    ) -> Result<Option<ChargeReport>, AgentError> {
        let (journal, records) = match Journal::open(path) {
            Ok(opened) => opened,
            // Another process charges with it right now.
            Err(AgentError::InUse(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(ChargeRecord::Started(started)) = records.first() else {
            journal.close()?;
            return Ok(None);
        };
        let key = wallet.key(started.key_index);
        if key.public_key() != started.consumer {
            let reason =
                format!("{} belongs to another wallet than {}", path.display(), wallet.path().display());
            self.nodes.warn(Warning::Trouble { reason });
            return Ok(None);
        }
        let begun = clock::now();
        let mut attempt = self.attempt(key, journal, Recorder::new(self.nodes.clone()));
        let session = attempt.replay(records);
        attempt.finish_pending().await?;
        let outcome = given_up("interrupted before the price was locked");
        let (summary, recorder) = attempt.finish(self, outcome, session, stop).await?;
        Ok(Some(summary.into_report(recorder, begun, 1)))
    }
}

impl Attempt {
    /// Takes up what a journal holds. Gives the records of the last session.
    fn replay(&mut self, records: Vec<ChargeRecord>) -> Vec<ConsumerRecord> {
        let mut session = Vec::new();
        for record in records {
            match record {
                ChargeRecord::Started(_) => {}
                ChargeRecord::Sending(sending) => self.note_sending(sending),
                ChargeRecord::Final(landed) => {
                    // A node that has not got so far finds nothing of it.
                    self.nodes.saw(landed.place.height());
                    let before = self.landed.insert(landed.step, landed);
                    if before.is_none_or(|before| before.place != landed.place) {
                        self.recorder.paid_fee(landed.fee);
                    }
                    self.pending = None;
                }
                ChargeRecord::Decided(decision) => {
                    self.chosen = Some(ConsideredBid {
                        producer: decision.opening.producer,
                        price: decision.opening.price,
                        distance_m: Some(decision.distance_m),
                        doubt: Doubt::new(decision.doubt_permille),
                        unusable: None,
                    });
                    self.decision = Some(decision);
                }
                ChargeRecord::Session(record) => {
                    // One that came too early was followed by another.
                    if matches!(record, ConsumerRecord::Begun(_)) {
                        session.clear();
                    }
                    session.push(record);
                }
            }
        }
        session
    }

    /// Charges if the price is locked, waits for the payouts and takes the rest back.
    async fn finish(
        mut self,
        setup: &Setup<'_>,
        outcome: ChargeOutcome,
        records: Vec<ConsumerRecord>,
        stop: &CancellationToken,
    ) -> Result<(Summary, Recorder), AgentError> {
        let mut session = None;
        let locked = self.landed.get(&Step::Pay).copied().zip(self.decision.clone());
        if let Some((payment, decision)) = &locked {
            session = self.charge(setup.config, decision, payment.place, records, stop).await?;
            self.wait_settled(decision, payment.place).await?;
        } else if let (Some(decision), true) = (&self.decision, self.landed.contains_key(&Step::Lock(0))) {
            // Some single locks and not all pay for nothing: they come back at their deadlines.
            let producer = decision.opening.producer;
            self.wait_for_locks(producer).await?;
        }
        let paid = match &locked {
            Some(_) => self.paid(session.as_ref()).await?,
            None => Amount::ZERO,
        };
        let (returned, settled) = match self.sweep().await {
            Ok(returned) => (returned, true),
            Err(error @ AgentError::Rejected { .. }) => {
                self.recorder
                    .warn(Warning::Trouble { reason: format!("cannot take the rest back yet: {error}") });
                (Amount::ZERO, false)
            }
            Err(error) => return Err(error),
        };
        let summary = Summary {
            outcome: session.as_ref().map_or(outcome, outcome_of),
            payer: self.main.address(),
            consumer: self.zeta.address(),
            request: self.landed.get(&Step::Request).map(|landed| landed.place),
            lowest_price: self.considered.iter().map(|bid| bid.price).min(),
            bids: self.considered,
            chosen: self.chosen,
            paid,
            session,
            returned,
            settled,
        };
        // Else the next `resume` tries to take the rest back again: the journal alone knows of the key.
        if settled {
            self.journal.close()?;
        }
        Ok((summary, self.recorder))
    }

    /// What the producer got: what the fresh key was given and has not, the fees aside.
    async fn paid(&self, session: Option<&SessionReport>) -> Result<Amount, AgentError> {
        let account = self.nodes.account(self.zeta.address()).await?;
        let left = account.map_or(Amount::ZERO, |account| account.balance);
        let steps = self.landed.values().filter(|landed| landed.step != Step::Fund).map(|landed| landed.fee);
        let settlements = session.into_iter().flat_map(|session| &session.transactions).map(|sent| sent.fee);
        let spent = steps.chain(settlements).fold(left, Amount::saturating_add);
        Ok(self.funded.saturating_sub(spent))
    }
}

/// What a session came to for who ordered it.
fn outcome_of(session: &SessionReport) -> ChargeOutcome {
    match session.outcome.released {
        released if released == session.installments => ChargeOutcome::Charged,
        0 => ChargeOutcome::NotServed,
        _ => ChargeOutcome::Partial,
    }
}

/// A report without what a recorder adds.
struct Summary {
    outcome: ChargeOutcome,
    payer: PublicKey,
    consumer: PublicKey,
    request: Option<TxRef>,
    bids: Vec<ConsideredBid>,
    chosen: Option<ConsideredBid>,
    lowest_price: Option<Amount>,
    session: Option<SessionReport>,
    paid: Amount,
    returned: Amount,
    settled: bool,
}

impl Summary {
    /// Whether the producer had no connector left, and said so in time to take the money back.
    fn came_too_late(&self) -> bool {
        self.session.as_ref().is_some_and(|session| {
            session.outcome.reason == EndReason::Rejected(RejectReason::SoldOut) && self.paid == Amount::ZERO
        })
    }

    fn into_report(self, recorder: Recorder, begun: Timestamp, attempts: u32) -> ChargeReport {
        let fees = recorder.fees();
        let (phases, transactions, warnings) = recorder.into_parts();
        ChargeReport {
            outcome: self.outcome,
            payer: self.payer,
            consumer: self.consumer,
            attempts,
            request: self.request,
            bids: self.bids,
            chosen: self.chosen,
            lowest_price: self.lowest_price,
            session: self.session,
            paid: self.paid,
            settled: self.settled,
            returned: self.returned,
            fees,
            begun,
            ended: clock::now(),
            phases,
            transactions,
            warnings,
        }
    }
}
