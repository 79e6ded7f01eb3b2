use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::clock;
use crate::node::NodeHandle;

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
        Ok(())
    }
}
