use std::path::Path;
use std::time::Duration;

use evchain_node::agents::{AgentError, ChargeOutcome, ChargeReport, consumer, producer};
use evchain_node::network::Multiaddr;
use evchain_node::rpc::{RpcClient, RpcError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::agents::{consumer_config, consumer_name, order, producer_config, producer_name};
use super::faults::{Fault, Faults};
use super::plan::{Consumer, Plan, Producer};
use super::recorder::{Recorder, Records, Side};
use crate::cluster::{Cluster, ClusterError};
use crate::data::ProducerKind;
use crate::progress::Progress;

/// How long producers may take until they take sessions.
const PRODUCERS_START: Duration = Duration::from_mins(1);
/// How long producers may take to stop.
const PRODUCERS_STOP: Duration = Duration::from_secs(30);
/// What a session may take beyond its window before it is given up: deadlines on the chain, and
/// validators that were killed.
const PATIENCE: Duration = Duration::from_mins(3);
/// When the next fault is due if there is none.
const NEVER: Duration = Duration::from_hours(24);
/// How many windows a consumer asks for, where each passed before it had locked money. At the busiest hour all
/// connectors around are promised to others for several windows, and an outage puts more cars into the next.
const MAX_ASKS: u32 = 8;
const POLL: Duration = Duration::from_millis(100);

/// What came of a request.
#[derive(Debug)]
pub struct SessionResult {
    /// Which consumer of the plan.
    pub index: usize,
    /// How often it asked for a window, since validators that are down can let one pass.
    pub asks: u32,
    /// The agent's report, or why there is none.
    pub report: Result<ChargeReport, String>,
}

/// Why a scenario ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The testnet.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No validator answers.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A producer that cannot start, or stopped before its time.
    #[error("{name} has stopped: {source}")]
    Producer {
        /// Which.
        name: String,
        /// Why.
        source: AgentError,
    },
    /// Producers that are not ready in time.
    #[error(
        "after {waited_s} s only {listening} of {all} producers take sessions, and {recorded} of {stations} stations \
         are recorded"
    )]
    NotReady {
        /// Producers that take sessions.
        listening: usize,
        /// Of how many.
        all: usize,
        /// Stations whose record is on the chain.
        recorded: usize,
        /// Of how many.
        stations: usize,
        /// After how long.
        waited_s: u64,
    },
    /// A task that failed.
    #[error("an agent's task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The user wants no more.
    #[error("interrupted")]
    Interrupted,
}

/// Runs a scenario to its end: every producer and consumer of the plan as an agent of its own.
///
/// # Errors
/// See [`RunError`]. A session that fails is no error but a result.
pub async fn run(
    cluster: &mut Cluster,
    plan: &Plan,
    faults: Faults,
    recorder: &Recorder,
    progress: &Progress,
) -> Result<Vec<SessionResult>, RunError> {
    let mut agents = Agents::start(cluster, plan, recorder, progress).await?;
    let mut faults = faults.in_order().into_iter().peekable();
    loop {
        let next_fault = faults.peek().map_or(agents.begin + NEVER, |(at, _)| agents.begin + *at);
        tokio::select! {
            results = agents.run() => return results,
            Some(incident) = cluster.next_incident() => progress.line(&incident.to_string()),
            () = sleep_until(next_fault) => if let Some((_, fault)) = faults.next() {
                kill(cluster, fault, progress).await;
            },
            _ = tokio::signal::ctrl_c() => return Err(RunError::Interrupted),
        }
    }
}

/// The agents of a plan, each a task that works whether or not anybody waits for it.
#[derive(Debug)]
pub struct Agents {
    plan: Plan,
    producers: Producers,
    consumers: JoinSet<SessionResult>,
    results: Vec<SessionResult>,
    begin: Instant,
    stop: CancellationToken,
    progress: Progress,
}

impl Agents {
    /// Starts them; the consumers' time counts from now. They ask those validators that run now.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn start(
        cluster: &Cluster,
        plan: &Plan,
        recorder: &Recorder,
        progress: &Progress,
    ) -> Result<Self, RunError> {
        let stop = CancellationToken::new();
        let producers = start_producers(cluster, plan, recorder, progress, &stop).await?;
        progress.line(&format!("{} producers take sessions", plan.producers.len()));
        let begin = Instant::now();
        let consumers = start_consumers(cluster, plan, recorder, progress, begin).await?;
        let (plan, progress) = (plan.clone(), progress.clone());
        Ok(Self { plan, producers, consumers, results: Vec::new(), begin, stop, progress })
    }

    /// Waits until every session has ended, and gives what came of each, in the plan's order. Cancel
    /// safe.
    ///
    /// # Errors
    /// [`RunError::Producer`], [`RunError::Task`].
    pub async fn run(&mut self) -> Result<Vec<SessionResult>, RunError> {
        while self.results.len() < self.plan.consumers.len() {
            tokio::select! {
                Some(result) = self.consumers.join_next() => {
                    let result: SessionResult = result?;
                    self.progress.session_ended(&describe(&self.plan.consumers[result.index], &result));
                    self.results.push(result);
                }
                Some(result) = self.producers.join_next() => {
                    let (name, result) = result?;
                    if let Err(source) = result {
                        return Err(RunError::Producer { name, source });
                    }
                }
            }
        }
        self.stop.cancel();
        // Nothing is open any more, so a producer that does not stop in time loses nothing.
        let _ = timeout(PRODUCERS_STOP, async { while self.producers.join_next().await.is_some() {} }).await;
        self.results.sort_by_key(|result| result.index);
        Ok(std::mem::take(&mut self.results))
    }
}

type Producers = JoinSet<(String, Result<(), AgentError>)>;

async fn start_producers(
    cluster: &Cluster,
    plan: &Plan,
    recorder: &Recorder,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Producers, RunError> {
    let mut tasks = JoinSet::new();
    for (index, producer) in plan.producers.iter().enumerate() {
        let name = producer_name(index);
        let key = cluster.files().wallet(&name)?.main_key();
        let rpc = RpcClient::connect(&cluster.endpoints(index)).await?;
        let state_dir = agent_dir(cluster.files().dir(), &name);
        let config = producer_config(producer, plan, &state_dir, any_port());
        let observer = recorder.observer(Side::Producer, producer.row.name.clone(), progress.clone());
        let (name, stop) = (producer.row.name.clone(), stop.clone());
        tasks.spawn(async move {
            let result = producer::run(config, rpc, key, observer, stop).await;
            (name, result.map(drop))
        });
    }
    let is_station = |producer: &&Producer| producer.row.kind == ProducerKind::Station;
    let stations = plan.producers.iter().filter(is_station).count();
    let end = Instant::now() + PRODUCERS_START;
    loop {
        if let Some(result) = tasks.try_join_next() {
            let (name, result) = result?;
            result.map_err(|source| RunError::Producer { name, source })?;
        }
        let Records { listening, recorded, .. } = recorder.records();
        if listening >= plan.producers.len() && recorded >= stations {
            return Ok(tasks);
        }
        if Instant::now() >= end {
            let waited_s = PRODUCERS_START.as_secs();
            return Err(RunError::NotReady {
                listening,
                all: plan.producers.len(),
                recorded,
                stations,
                waited_s,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn start_consumers(
    cluster: &Cluster,
    plan: &Plan,
    recorder: &Recorder,
    progress: &Progress,
    begin: Instant,
) -> Result<JoinSet<SessionResult>, RunError> {
    let mut tasks = JoinSet::new();
    for (index, consumer) in plan.consumers.iter().enumerate() {
        let name = consumer_name(index);
        let wallet = cluster.files().wallet(&name)?;
        let rpc = RpcClient::connect(&cluster.endpoints(index)).await?;
        let config = consumer_config(plan.speed, &agent_dir(cluster.files().dir(), &name));
        let observer = recorder.observer(Side::Consumer, consumer.name.clone(), progress.clone());
        let (consumer, producers, progress) = (consumer.clone(), plan.producers.clone(), progress.clone());
        tasks.spawn(async move {
            sleep_until(begin + Duration::from_millis(consumer.asks_after.get())).await;
            let patience =
                Duration::from_millis(consumer.lead.saturating_add(consumer.window).get()) + PATIENCE;
            let mut asks = 0;
            let report = loop {
                asks += 1;
                // The window is counted from now, so each time it is a later one.
                let order = order(&consumer, &producers);
                let (rpc, observer, stop) = (rpc.clone(), observer.clone(), CancellationToken::new());
                let charge = Box::pin(consumer::run(&config, &order, rpc, &wallet, observer, stop));
                match timeout(patience, charge).await {
                    Ok(Ok(report)) if has_missed_its_window(&report) && asks < MAX_ASKS => {
                        progress.line(&format!("{}: missed its window, asks for a later one", consumer.name));
                    }
                    Ok(Ok(report)) => break Ok(report),
                    Ok(Err(error)) => break Err(error.to_string()),
                    Err(_) => break Err("the charge has not ended".to_owned()),
                }
            };
            SessionResult { index, asks, report }
        });
    }
    Ok(tasks)
}

/// Whether a charge ended before money was locked, with the request or the lock too late.
fn has_missed_its_window(report: &ChargeReport) -> bool {
    report.session.is_none()
        && matches!(report.outcome, ChargeOutcome::GivenUp { .. } | ChargeOutcome::NoBids)
}

async fn kill(cluster: &Cluster, fault: Fault, progress: &Progress) {
    let count = match fault {
        Fault::One => 1,
        Fault::All => cluster.validators().len(),
    };
    // The last ones, since the first is the one that people look at.
    for validator in cluster.validators().iter().rev().take(count) {
        progress.line(&format!("kills validator {} without warning", validator.number));
        validator.kill().await;
    }
}

fn describe(consumer: &Consumer, result: &SessionResult) -> String {
    match &result.report {
        Ok(report) => {
            let outcome = match &report.outcome {
                ChargeOutcome::Charged => "charged".to_owned(),
                ChargeOutcome::Partial => "charged in part".to_owned(),
                ChargeOutcome::NoBids => "nobody bid".to_owned(),
                ChargeOutcome::NoUsableBid => "no usable bid".to_owned(),
                ChargeOutcome::NotServed => "not served".to_owned(),
                ChargeOutcome::GivenUp { reason } => format!("given up: {reason}"),
            };
            let settled = if report.settled { "settled" } else { "not settled" };
            format!("{}: {outcome}, paid EUR {}, {settled}", consumer.name, report.paid)
        }
        Err(reason) => format!("{}: failed: {reason}", consumer.name),
    }
}

fn agent_dir(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join("agents").join(name)
}

/// An address on this machine, at a port that the system chooses.
fn any_port() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap_or_else(|_| unreachable!("it is an address"))
}
