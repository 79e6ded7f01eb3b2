//! The network's counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges of the network. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct NetworkMetrics {
    /// Peers with at least one connection.
    pub connected_peers: Gauge,
    /// Authorities to which a consensus stream is open.
    pub authority_links: Gauge,
    /// Open inbound sessions.
    pub inbound_sessions: Gauge,
    /// Payload bytes by protocol (`consensus`, `gossip`, `sync`, `session`) and direction (`in`, `out`).
    pub bytes: Family<TrafficLabels, Counter>,
    /// Messages, with the same labels.
    pub messages: Family<TrafficLabels, Counter>,
    /// What was not delivered or sent, by reason.
    pub drops: Family<ReasonLabels, Counter>,
    /// Connections that were refused, or closed for others, by reason.
    pub refusals: Family<ReasonLabels, Counter>,
    /// Peers that this node dialed and that closed the connection before they said who they are: probably they
    /// refuse this node's key.
    pub refused_by_peers: Counter,
    /// Peers that were disconnected and refused for a while, by reason.
    pub bans: Family<ReasonLabels, Counter>,
    /// 1 while own gossip reaches nobody although there are peers, else 0.
    pub gossip_failing: Gauge,
    /// Connections that were closed since the other side did not take gossip.
    pub dead_gossip_links: Counter,
    /// Dials that failed.
    pub failed_dials: Counter,
    /// Inbound connections that did not get through their handshake or were refused.
    pub failed_inbound: Counter,
}

/// Which traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TrafficLabels {
    /// The protocol.
    pub protocol: &'static str,
    /// `in` or `out`.
    pub direction: &'static str,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// The reason, such as `gossip_rate`.
    pub reason: &'static str,
}

impl NetworkMetrics {
    /// New metrics that the registry shows, each name starting with `network_`.
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("network");
        registry.register("connected_peers", "Peers with a connection", metrics.connected_peers.clone());
        registry.register("authority_links", "Open streams to authorities", metrics.authority_links.clone());
        registry.register("inbound_sessions", "Open inbound sessions", metrics.inbound_sessions.clone());
        registry.register("bytes", "Payload bytes", metrics.bytes.clone());
        registry.register("messages", "Messages", metrics.messages.clone());
        registry.register("drops", "Messages that were dropped", metrics.drops.clone());
        registry.register("refusals", "Connections refused or closed for others", metrics.refusals.clone());
        let refused = metrics.refused_by_peers.clone();
        registry.register("refused_by_peers", "Peers that probably refuse this node", refused);
        registry.register("bans", "Peers refused for a while", metrics.bans.clone());
        registry.register("gossip_failing", "Own gossip reaches nobody", metrics.gossip_failing.clone());
        let dead_links = metrics.dead_gossip_links.clone();
        registry.register("dead_gossip_links", "Peers that took no gossip", dead_links);
        registry.register("failed_dials", "Dials that failed", metrics.failed_dials.clone());
        registry.register("failed_inbound", "Inbound connections refused", metrics.failed_inbound.clone());
        metrics
    }

    pub(super) fn received(&self, protocol: &'static str, len: usize) {
        self.count(&TrafficLabels { protocol, direction: "in" }, len);
    }

    pub(super) fn sent(&self, protocol: &'static str, len: usize) {
        self.count(&TrafficLabels { protocol, direction: "out" }, len);
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        self.drops.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn banned(&self, reason: &'static str) {
        self.bans.get_or_create(&ReasonLabels { reason }).inc();
    }

    fn count(&self, labels: &TrafficLabels, len: usize) {
        self.bytes.get_or_create(labels).inc_by(len as u64);
        self.messages.get_or_create(labels).inc();
    }
}
