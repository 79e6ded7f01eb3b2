use std::path::PathBuf;

use evchain_protocol::params::Params;
use evchain_protocol::primitives::Span;
use evchain_protocol::session::ProducerPolicy;

use super::tariff::ProducerTariff;
use crate::network::Multiaddr;

/// How a producer's agent works.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// What it offers.
    pub tariff: ProducerTariff,
    /// Where its journals lie, in a folder `sessions`. One agent at a time.
    pub state_dir: PathBuf,
    /// Where it takes sessions, such as `/ip4/0.0.0.0/tcp/9700`. Port 0: the system chooses.
    pub listen: Multiaddr,
    /// Where consumers reach it, if that is not where it listens.
    pub advertise: Option<Multiaddr>,
    /// How many times as fast as in reality its simulated meter counts.
    pub speed: u32,
    /// How patient and careful it is; none for what suits the chain's claim margin.
    pub policy: Option<ProducerPolicy>,
}

impl ProducerConfig {
    /// With the usual settings.
    pub fn new(tariff: ProducerTariff, state_dir: PathBuf, listen: Multiaddr) -> Self {
        Self { tariff, state_dir, listen, advertise: None, speed: 1, policy: None }
    }

    /// The policy on a chain with these parameters.
    pub(super) fn policy(&self, params: &Params) -> ProducerPolicy {
        self.policy.unwrap_or_else(|| policy_for(params, self.tariff.early_tolerance))
    }
}

/// The policy that suits a chain's claim margin. `claim_lead` is at most half of it, so that the
/// consumer, who counts one and a half times of it, is never late in time (T3, S5).
pub(super) fn policy_for(params: &Params, early_tolerance: Span) -> ProducerPolicy {
    let usual = ProducerPolicy::default();
    let claim_lead = usual.claim_lead.min(Span::new(params.claim_margin.get() / 2));
    let settle_lead = Span::new(claim_lead.get() / 2);
    ProducerPolicy { claim_lead, settle_lead, early_tolerance, ..usual }
}

/// What a producer's agent did until it was stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProducerReport {
    /// Bids that became final.
    pub bids: u64,
    /// Sessions that ended, by any reason.
    pub sessions: u64,
    /// Sessions that go on when the agent is started again.
    pub unfinished: u64,
}
