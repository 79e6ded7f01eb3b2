use std::path::Path;

use evchain_node::agents::sessions::Side;
use evchain_node::agents::{AgentError, ChargeOutcome, ChargeReport};
use evchain_node::rpc::{RpcClient, RpcError};
use evchain_protocol::genesis::GenesisError;
use evchain_protocol::session::PaymentKind;
use evchain_protocol::state::account::Roles;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::agents::{Station, Stations, charge};
use super::book::all_is_settled;
use super::measure::Measured;
use super::order::{BALANCE, CLAIM_MARGIN, Order, REGION, SPEED, STATIONS, TablesPlan};
use super::report::TablesReport;
use super::steps::Log;
use super::stopped::{Pair, Stopped, pairs};
use crate::cluster::{ChainFiles, Cluster, ClusterError, ClusterOptions, Participant};
use crate::progress::Progress;
use crate::report::{AuditError, payment_name};

/// Why there are no tables.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The testnet.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No validator answers.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// An agent stopped before its time.
    #[error("{name} has stopped: {source}")]
    Agent {
        /// Which.
        name: String,
        /// Why.
        source: AgentError,
    },
    /// A task that failed.
    #[error("an agent's task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// An agent that does not come to an end.
    #[error("{0} is not done in time: the logs say where it stands")]
    TooSlow(String),
    /// The validators could not be compared.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The chain's parameters make no sense, which a test would have found.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

/// Runs the sessions on a new testnet and reads the tables off the agents and the chain.
///
/// # Errors
/// See [`TablesError`]. A session that fails is no error but a failure in the report.
pub async fn run(
    dir: &Path,
    validators: usize,
    plan: &TablesPlan,
    options: &ClusterOptions,
    progress: &Progress,
) -> Result<TablesReport, TablesError> {
    let all = plan.together().chain(plan.alone()).count();
    let stations = (0..STATIONS).map(station_name).chain(pairs().into_iter().map(Pair::station));
    let vehicles = (0..all).map(vehicle_name).chain(pairs().into_iter().map(Pair::vehicle));
    let stations = stations.map(|name| participant(name, Roles::PRODUCER));
    let vehicles = vehicles.map(|name| participant(name, Roles::CONSUMER));
    let participants: Vec<_> = stations.chain(vehicles).collect();
    let files = ChainFiles::create_with(dir, validators, &participants, |params| {
        params.claim_margin = CLAIM_MARGIN;
    })?;
    let cluster = Cluster::start(files, options).await?;
    progress.line(&format!("{validators} validators run, logs are in {}", dir.display()));
    let measured = measure(&cluster, plan, progress).await;
    let report = match measured {
        Ok(measured) => measured.report(&cluster).await,
        Err(error) => Err(error),
    };
    cluster.stop().await;
    report
}

fn participant(name: String, role: Roles) -> Participant {
    Participant { name, roles: role, balance: BALANCE }
}

pub(super) fn station_name(index: usize) -> String {
    format!("station-{}", index + 1)
}

pub(super) fn vehicle_name(index: usize) -> String {
    format!("vehicle-{}", index + 1)
}

/// A charge that is over.
#[derive(Debug)]
pub(super) struct Charged {
    pub(super) index: usize,
    /// The kind and N.
    pub(super) order: (PaymentKind, u32),
    pub(super) report: ChargeReport,
    /// What the consumer's agent told.
    pub(super) log: Log,
}

/// Runs the first orders at once, with the sessions in which one side stops, and the others one after the
/// other.
async fn measure(cluster: &Cluster, plan: &TablesPlan, progress: &Progress) -> Result<Measured, TablesError> {
    let (stop, sold) = (CancellationToken::new(), Log::default());
    let stations = start_stations(cluster, &sold, &stop).await?;
    let together = plan.together().count();
    progress.line(&format!("{STATIONS} stations are ready; {together} sessions at once"));
    let mut charges = JoinSet::new();
    for (index, order) in plan.together().enumerate() {
        charges.spawn(charge_one(cluster, index, order).await?);
    }
    let mut partners = JoinSet::new();
    for pair in pairs() {
        partners.spawn(stop_one(cluster, pair).await?);
    }
    let (mut reports, mut stopped) = (Vec::new(), Vec::new());
    while let Some(charged) = charges.join_next().await {
        reports.push(told(charged??, progress));
    }
    while let Some(ended) = partners.join_next().await {
        stopped.push(ended??);
    }
    progress.line(&format!("{} sessions in which one side stops are over", stopped.len()));
    for (index, order) in plan.alone().enumerate() {
        let one = charge_one(cluster, together + index, order).await?;
        reports.push(told(one.await?, progress));
    }
    // Whom a consumer left is not done before the deadlines have passed.
    let rpc = RpcClient::connect(&cluster.endpoints(0)).await?;
    let all_settled = all_is_settled(&rpc).await?;
    stop.cancel();
    stations.end().await?;
    reports.sort_by_key(|charged| charged.index);
    stopped.sort_by_key(|stopped| stopped.pair.index);
    Ok(Measured { plan: plan.clone(), reports, together, stopped, sold: sold.told(), all_settled })
}

fn told(charged: Charged, progress: &Progress) -> Charged {
    let Charged { order, report, .. } = &charged;
    let kind = payment_name(order.0);
    let outcome = if report.outcome == ChargeOutcome::Charged { "charged" } else { "NOT charged" };
    progress.line(&format!("{kind}, N = {}: {outcome}, paid EUR {}", order.1, report.paid));
    charged
}

/// The future that charges once.
async fn charge_one(
    cluster: &Cluster,
    index: usize,
    order: Order,
) -> Result<impl Future<Output = Result<Charged, TablesError>> + Send + 'static, TablesError> {
    let (name, log) = (vehicle_name(index), Log::default());
    let stays = CancellationToken::new();
    let charge = charge(cluster, name.clone(), index, order, log.observer(), stays).await?;
    Ok(async move {
        let report = charge.await?.ok_or(TablesError::TooSlow(name))?;
        Ok(Charged { index, order: (order.kind, order.count), report, log })
    })
}

/// The future that charges until one side stops.
async fn stop_one(
    cluster: &Cluster,
    pair: Pair,
) -> Result<impl Future<Output = Result<Stopped, TablesError>> + Send + 'static, TablesError> {
    let vanish = CancellationToken::new();
    let observer = pair.observer(Side::Buys, &Log::default(), vanish.clone());
    let charge = charge(cluster, pair.vehicle(), pair.index, pair.order, observer, vanish).await?;
    Ok(async move { Ok(Stopped { pair, report: charge.await? }) })
}

/// Starts all stations, those that stop in mid-session too.
async fn start_stations(
    cluster: &Cluster,
    sold: &Log,
    stop: &CancellationToken,
) -> Result<Stations, TablesError> {
    let mut stations = Stations::new();
    for index in 0..STATIONS {
        let (observer, stop) = (sold.observer(), stop.clone());
        let station =
            Station { name: station_name(index), region: REGION, index, speed: SPEED, observer, stop };
        stations.start(cluster, station).await?;
    }
    for pair in pairs() {
        let stop = stop.child_token();
        let observer = pair.observer(Side::Sells, sold, stop.clone());
        let (region, speed) = (pair.order.region, pair.order.speed);
        let station = Station { name: pair.station(), region, index: 0, speed, observer, stop };
        stations.start(cluster, station).await?;
    }
    stations.ready(sold).await?;
    Ok(stations)
}
