use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::health::HealthWatch;
use super::hosts::{Counts, Hosts};
use crate::clock;
use crate::node::NodeHandle;
use crate::rpc::health_types::ProblemKind;

/// Reads the node's gauges when they are asked for, so that nobody has to keep them up to date.
pub(super) struct NodeCollector {
    node: NodeHandle,
}

impl NodeCollector {
    pub(super) const fn new(node: NodeHandle) -> Self {
        Self { node }
    }
}

impl std::fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeCollector").finish_non_exhaustive()
    }
}

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let tip = self.node.chain.reader().tip();
        let (mempool, consensus) = (self.node.mempool.status(), self.node.consensus.status());
        let gauges = [
            ("chain_height", "Height of the newest final block", tip.height.get()),
            (
                "chain_tip_age_ms",
                "Age of the newest final block in ms",
                clock::now().since(tip.time_ms).get(),
            ),
            ("consensus_epoch", "Current epoch", consensus.epoch.get()),
            ("consensus_authorities", "Authorities of the epoch", consensus.authorities as u64),
            ("consensus_view", "Current view", consensus.view.get()),
            ("consensus_votes", "Whether this node signs votes", u64::from(consensus.votes)),
            ("mempool_transactions", "Transactions that wait for a block", mempool.transactions as u64),
            ("mempool_bytes", "Bytes of those", mempool.bytes as u64),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let refused = ConstCounter::new(mempool.refused);
        let help = "Transactions that the mempool refused";
        refused.encode(encoder.encode_descriptor("mempool_refused", help, None, refused.metric_type())?)
    }
}

/// Reads what clients hold, and what is wrong.
pub(super) struct RpcCollector {
    hosts: Arc<Hosts>,
    health: HealthWatch,
}

impl RpcCollector {
    pub(super) const fn new(hosts: Arc<Hosts>, health: HealthWatch) -> Self {
        Self { hosts, health }
    }
}

impl std::fmt::Debug for RpcCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcCollector").finish_non_exhaustive()
    }
}

impl Collector for RpcCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = [
            ("rpc_connections", "Clients' connections", self.hosts.connections()),
            ("rpc_bytes", "Bytes of requests and answers that are held", self.hosts.bytes_held()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let Counts { refused, evicted, limited, forbidden } = &self.hosts.counts;
        let counters = [
            ("rpc_connections_refused", "Connections closed at once for want of a place", refused),
            ("rpc_connections_evicted", "Connections that gave way to others", evicted),
            ("rpc_calls_limited", "Calls above the rate of their host", limited),
            ("rpc_requests_forbidden", "Requests for a host name or of a web page not allowed", forbidden),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let found = self.health.now().problems;
        let help = "Whether something is wrong with the node, by its name in /health";
        let mut problems = encoder.encode_descriptor("problem", help, None, MetricType::Gauge)?;
        for problem in ProblemKind::ALL {
            let gauge = ConstGauge::new(i64::from(found.iter().any(|found| found.name == problem)));
            gauge.encode(problems.encode_family(&[("name", problem.name())])?)?;
        }
        Ok(())
    }
}
