use std::path::Path;
use std::time::Duration;

use evchain_node::agents::consumer::{ChargeOrder, ConsumerConfig, Deposit};
use evchain_node::agents::producer::{Mobility, ProducerConfig, ProducerTariff, Reservation};
use evchain_node::agents::{AgentError, ChargeOutcome, ChargeReport, consumer, producer};
use evchain_node::clock;
use evchain_node::network::Multiaddr;
use evchain_node::rpc::{NodeApiClient, RpcClient, RpcError, TransactionKey};
use evchain_protocol::crypto::Hash;
use evchain_protocol::genesis::GenesisError;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Span, Window};
use evchain_protocol::session::PaymentKind;
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Weights};
use evchain_protocol::session::pricing::{Pricing, Tariff};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::PaymentKinds;
use evchain_protocol::transaction::SignedTransaction;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::report::{Measured, TablesReport};
use super::steps::Log;
use crate::cluster::{ChainFiles, Cluster, ClusterError, ClusterOptions, Participant};
use crate::progress::Progress;
use crate::report::payment_name;

/// The kinds of payment, in the order of the table.
pub(super) const KINDS: [PaymentKind; 4] =
    [PaymentKind::Single, PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel];
/// N.
const COUNTS: [u32; 3] = [1, 10, 100];
/// Kinds and N of the sessions that run alone, to be timed.
const TIMED: [(PaymentKind, u32); 2] = [(PaymentKind::Chain, 100), (PaymentKind::Channel, 100)];
/// How often each of those runs.
const TIMED_RUNS: usize = 3;
/// Stations, N of P18 4.4.
const STATIONS: usize = 2;

const REGION: RegionId = RegionId::new(1);
const HERE: Position = Position { latitude_e7: 478_000_000, longitude_e7: 130_400_000 };
const ENERGY: Energy = Energy::new(20_000);
/// EUR 0.45 for each kWh at the first station, EUR 0.05 more at each further one.
const PRICE_PER_KWH: u64 = 4_500;
const PRICE_STEP: u64 = 500;
const POWER_W: u32 = 22_000;
/// Energy takes no time, so that what is timed is the protocol.
const SPEED: u32 = 1_000_000;
/// Enough for every session at once.
const CONNECTORS: u16 = 64;
const BALANCE: Amount = Amount::new(10_000_000);
/// How long producers may bid.
const BIDDING: Span = Span::new(2_000);
/// From the request to the window's start.
const LEAD: Span = Span::new(8_000);
/// The same with single locks: time to make 100 of them, and for the deposit to be claimed.
const LEAD_OF_LOCKS: Span = Span::new(45_000);
/// How long before the window the deposit of single locks comes back.
const REFUND_LEAD: Span = Span::new(1_000);
/// T.
const WINDOW: Span = Span::new(6_000);
/// How long after its slice of T an installment can be claimed.
const CLAIM_MARGIN: Span = Span::new(20_000);
/// How long stations may take until they are ready, and each session until it is settled.
const STATIONS_START: Duration = Duration::from_secs(30);
const SESSION: Duration = Duration::from_mins(4);
const POLL: Duration = Duration::from_millis(50);

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
    /// The chain's parameters make no sense, which a test would have found.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

/// What is to be charged.
#[derive(Debug, Clone, Copy)]
struct Order {
    kind: PaymentKind,
    count: u32,
}

/// Runs the sessions on a new testnet and reads the tables off the agents and the chain.
///
/// # Errors
/// See [`TablesError`]. A session that fails is no error but a failure in the report.
pub async fn run(
    dir: &Path,
    validators: usize,
    options: &ClusterOptions,
    progress: &Progress,
) -> Result<TablesReport, TablesError> {
    let together: Vec<Order> =
        COUNTS.into_iter().flat_map(|count| KINDS.map(|kind| Order { kind, count })).collect();
    let alone = TIMED.into_iter().flat_map(|(kind, count)| [Order { kind, count }; TIMED_RUNS]);
    let orders: Vec<Order> = together.iter().copied().chain(alone).collect();
    let stations = (0..STATIONS).map(|index| participant(station_name(index), Roles::PRODUCER));
    let vehicles = (0..orders.len()).map(|index| participant(vehicle_name(index), Roles::CONSUMER));
    let participants: Vec<_> = stations.chain(vehicles).collect();
    let files = ChainFiles::create_with(dir, validators, &participants, |params| {
        params.claim_margin = CLAIM_MARGIN;
    })?;
    let cluster = Cluster::start(files, options).await?;
    progress.line(&format!("{validators} validators run, logs are in {}", dir.display()));
    let measured = measure(&cluster, &orders, together.len(), progress).await;
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

fn station_name(index: usize) -> String {
    format!("station-{}", index + 1)
}

fn vehicle_name(index: usize) -> String {
    format!("vehicle-{}", index + 1)
}

/// Runs the first orders at once, and the others one after the other.
async fn measure(
    cluster: &Cluster,
    orders: &[Order],
    together: usize,
    progress: &Progress,
) -> Result<Measured, TablesError> {
    let (stop, sold) = (CancellationToken::new(), Log::default());
    let mut stations = start_stations(cluster, &sold, &stop).await?;
    progress.line(&format!("{STATIONS} stations are ready; {together} sessions at once"));
    let mut reports = Vec::new();
    let mut charges = JoinSet::new();
    for (index, order) in orders.iter().enumerate() {
        let charge = charge(cluster, index, *order).await?;
        if index < together {
            charges.spawn(charge);
        } else {
            while let Some(charged) = charges.join_next().await {
                reports.push(told(charged??, progress));
            }
            reports.push(told(charge.await?, progress));
        }
    }
    stop.cancel();
    while let Some(ended) = stations.join_next().await {
        ended??;
    }
    reports.sort_by_key(|charged| charged.index);
    let stations = STATIONS;
    Ok(Measured { reports, together, sold: sold.told(), stations })
}

fn told(charged: Charged, progress: &Progress) -> Charged {
    let Charged { order, report, .. } = &charged;
    let kind = payment_name(order.0);
    let outcome = if report.outcome == ChargeOutcome::Charged { "charged" } else { "NOT charged" };
    progress.line(&format!("{kind}, N = {}: {outcome}, paid EUR {}", order.1, report.paid));
    charged
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

/// The future that charges once.
async fn charge(
    cluster: &Cluster,
    index: usize,
    order: Order,
) -> Result<impl Future<Output = Result<Charged, TablesError>> + Send + 'static, TablesError> {
    let name = vehicle_name(index);
    let wallet = cluster.files().wallet(&name)?;
    let rpc = RpcClient::connect(&cluster.endpoints(index)).await?;
    let state = cluster.files().dir().join("agents").join(&name);
    let config = ConsumerConfig { speed: SPEED, ..ConsumerConfig::new(state) };
    let log = Log::default();
    Ok(async move {
        let (wanted, stop) = (wanted(order), CancellationToken::new());
        let charge = consumer::run(&config, &wanted, rpc, &wallet, log.observer(), stop);
        let charged = tokio::time::timeout(SESSION, Box::pin(charge)).await;
        let charged = charged.map_err(|_| TablesError::TooSlow(name.clone()))?;
        let report = charged.map_err(|source| TablesError::Agent { name, source })?;
        Ok(Charged { index, order: (order.kind, order.count), report, log })
    })
}

fn wanted(order: Order) -> ChargeOrder {
    let Order { kind, count } = order;
    let (lead, deposit) = match kind {
        PaymentKind::Single => (LEAD_OF_LOCKS, Deposit::Refund(REFUND_LEAD)),
        _ => (LEAD, Deposit::Forfeit),
    };
    let start = clock::now().saturating_after(lead).ceil_to_tick();
    let window = Window { start, end: start.saturating_after(WINDOW) };
    let choice = Choice {
        price_per_km: Amount::ZERO,
        weights: Weights::default(),
        max_distance: Distance::new(1_000),
        max_price: Amount::new(200_000),
        max_doubt: Doubt::MAX,
    };
    ChargeOrder {
        kinds: vec![kind],
        installments: InstallmentCount::new(count).unwrap_or(InstallmentCount::ONE),
        deposit,
        bidding: BIDDING,
        min_stations: STATIONS,
        ..ChargeOrder::new(REGION, window, ENERGY, HERE, choice)
    }
}

type Stations = JoinSet<Result<(), TablesError>>;

async fn start_stations(
    cluster: &Cluster,
    sold: &Log,
    stop: &CancellationToken,
) -> Result<Stations, TablesError> {
    let mut tasks = JoinSet::new();
    for index in 0..STATIONS {
        let name = station_name(index);
        let key = cluster.files().wallet(&name)?.main_key();
        let rpc = RpcClient::connect(&cluster.endpoints(index)).await?;
        let state = cluster.files().dir().join("agents").join(&name);
        let tariff = ProducerTariff {
            region: REGION,
            position: HERE,
            mobility: Mobility::Station,
            power_w: POWER_W,
            connectors: CONNECTORS,
            energy: None,
            reservation: Reservation::Overbook,
            pricing: Pricing::Fixed(Tariff {
                price_per_kwh: Amount::new(PRICE_PER_KWH + PRICE_STEP * index as u64),
                flat: Amount::ZERO,
            }),
            max_updates: 0,
            kinds: PaymentKinds::ALL,
            max_installments: InstallmentCount::new(100).unwrap_or(InstallmentCount::ONE),
            cancel_lead: None,
            early_tolerance: LEAD_OF_LOCKS,
        };
        let listen: Multiaddr =
            "/ip4/127.0.0.1/tcp/0".parse().unwrap_or_else(|_| unreachable!("it is an address"));
        let config = ProducerConfig { speed: SPEED, ..ProducerConfig::new(tariff, state, listen) };
        let (observer, stop) = (sold.observer(), stop.clone());
        tasks.spawn(async move {
            let result = producer::run(config, rpc, key, observer, stop).await;
            result.map(drop).map_err(|source| TablesError::Agent { name, source })
        });
    }
    let end = Instant::now() + STATIONS_START;
    while sold.told().listening < STATIONS {
        if let Some(ended) = tasks.try_join_next() {
            ended??;
        }
        if Instant::now() >= end {
            return Err(TablesError::TooSlow("a station".to_owned()));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(tasks)
}

/// The whole signed transactions of these ids, read from the chain.
pub(super) async fn signed(
    cluster: &Cluster,
    ids: impl IntoIterator<Item = Hash>,
) -> Result<Vec<SignedTransaction>, TablesError> {
    let rpc = RpcClient::connect(&cluster.endpoints(0)).await?;
    let mut found = Vec::new();
    for id in ids {
        let key = TransactionKey::Id(id);
        found.push(rpc.transaction(key).await.map_err(RpcError::from)?.signed);
    }
    Ok(found)
}
