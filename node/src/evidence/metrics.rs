use evchain_protocol::finality::OffenceKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters of evidence. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct EvidenceMetrics {
    detected: Family<KindLabels, Counter>,
    recorded: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

impl EvidenceMetrics {
    /// New counters that the registry shows, each name starting with `evidence_`.
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("evidence");
        let help = "Offences of authorities that this node found out";
        registry.register("detected", help, metrics.detected.clone());
        let help = "Those of them that came onto the chain, whoever reported them";
        registry.register("recorded", help, metrics.recorded.clone());
        metrics
    }

    pub(super) fn detected(&self, kind: OffenceKind) {
        self.detected.get_or_create(&KindLabels { kind: kind.name() }).inc();
    }

    pub(super) fn recorded(&self) {
        self.recorded.inc();
    }
}
