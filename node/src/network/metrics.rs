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
    /// What peers were found to have sent that no honest node sends, by reason.
    pub faults: Family<ReasonLabels, Counter>,
    /// Bytes set aside for responses that are being made or have not left yet.
    pub response_bytes: Gauge,
    /// The most that this was.
    pub response_bytes_peak: Gauge,
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
        registry.register("faults", "What no honest node sends", metrics.faults.clone());
        registry.register("response_bytes", "Bytes held by responses", metrics.response_bytes.clone());
        registry.register("response_bytes_peak", "The most of these", metrics.response_bytes_peak.clone());
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

    pub(super) fn found_fault(&self, reason: &'static str) {
        self.faults.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn response_bytes_taken(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let now = self.response_bytes.inc_by(bytes).saturating_add(bytes);
        if now > self.response_bytes_peak.get() {
            self.response_bytes_peak.set(now);
        }
    }

    pub(super) fn response_bytes_given_back(&self, bytes: usize) {
        self.response_bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn count(&self, labels: &TrafficLabels, len: usize) {
        self.bytes.get_or_create(labels).inc_by(len as u64);
        self.messages.get_or_create(labels).inc();
    }
}
