//! The agents of the tables' sessions, as futures in this process.

use std::time::Duration;

use evchain_node::agents::consumer::ConsumerConfig;
use evchain_node::agents::producer::ProducerConfig;
use evchain_node::agents::{ChargeReport, Observer, consumer, producer};
use evchain_node::network::Multiaddr;
use evchain_node::rpc::RpcClient;
use evchain_protocol::primitives::RegionId;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::order::{Order, SESSION, tariff};
use super::run::TablesError;
use super::steps::Log;
use crate::cluster::Cluster;

/// How long stations may take until they are ready.
const STATIONS_START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// The stations.
pub(super) struct Stations {
    tasks: JoinSet<Result<(), TablesError>>,
    started: usize,
}

/// A station to be started.
pub(super) struct Station {
    pub(super) name: String,
    pub(super) region: RegionId,
    /// How dear it is among those of its region.
    pub(super) index: usize,
    pub(super) speed: u32,
    pub(super) observer: Observer,
    pub(super) stop: CancellationToken,
}

impl Stations {
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), started: 0 }
    }

    pub(super) async fn start(&mut self, cluster: &Cluster, station: Station) -> Result<(), TablesError> {
        let Station { name, region, index, speed, observer, stop } = station;
        let key = cluster.files().wallet(&name)?.main_key();
        let rpc = RpcClient::connect(&cluster.endpoints(index)).await?;
        let state = cluster.files().dir().join("agents").join(&name);
        let listen: Multiaddr =
            "/ip4/127.0.0.1/tcp/0".parse().unwrap_or_else(|_| unreachable!("it is an address"));
        let config = ProducerConfig { speed, ..ProducerConfig::new(tariff(region, index), state, listen) };
        self.started += 1;
        self.tasks.spawn(async move {
            let result = producer::run(config, rpc, key, observer, stop).await;
            result.map(drop).map_err(|source| TablesError::Agent { name, source })
        });
        Ok(())
    }

    /// Waits until all take sessions, as this log tells.
    pub(super) async fn ready(&mut self, sold: &Log) -> Result<(), TablesError> {
        let end = Instant::now() + STATIONS_START;
        while sold.told().listening < self.started {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
            }
            if Instant::now() >= end {
                return Err(TablesError::TooSlow("a station".to_owned()));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until all have ended, which were told to.
    pub(super) async fn end(mut self) -> Result<(), TablesError> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// The future that charges once. It is dropped when `vanish` is cancelled, as if the vehicle were gone: then
/// there is no report.
pub(super) async fn charge(
    cluster: &Cluster,
    name: String,
    index: usize,
    order: Order,
    observer: Observer,
    vanish: CancellationToken,
) -> Result<impl Future<Output = Result<Option<ChargeReport>, TablesError>> + Send + 'static, TablesError> {
    let wallet = cluster.files().wallet(&name)?;
    let rpc = RpcClient::connect(&cluster.endpoints(index)).await?;
    let state = cluster.files().dir().join("agents").join(&name);
    let config = ConsumerConfig { speed: order.speed, ..ConsumerConfig::new(state) };
    Ok(async move {
        let (wanted, stop) = (order.wanted(), CancellationToken::new());
        let charge = Box::pin(consumer::run(&config, &wanted, rpc, &wallet, observer, stop));
        let charged = tokio::select! {
            biased;
            () = vanish.cancelled() => return Ok(None),
            charged = tokio::time::timeout(SESSION, charge) => charged,
        };
        let charged = charged.map_err(|_| TablesError::TooSlow(name.clone()))?;
        charged.map(Some).map_err(|source| TablesError::Agent { name, source })
    })
}
