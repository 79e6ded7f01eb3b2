use std::path::PathBuf;

use evchain_protocol::session::{Margins, ProducerPolicy, WantedLeads};

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
    /// The watchtower that answers for its channels while it is away, if there is one: an address that
    /// ends in its key, `/p2p/...`.
    pub watchtower: Option<Multiaddr>,
    /// How many times as fast as in reality its simulated meter counts.
    pub speed: u32,
    /// How long before deadlines it acts, if that is not to be what suits the chain (T5).
    pub leads: WantedLeads,
}

impl ProducerConfig {
    /// With the usual settings.
    pub fn new(tariff: ProducerTariff, state_dir: PathBuf, listen: Multiaddr) -> Self {
        let leads = WantedLeads::default();
        Self { tariff, state_dir, listen, advertise: None, watchtower: None, speed: 1, leads }
    }

    /// How patient and careful it is with these margins.
    pub(super) fn policy(&self, margins: Margins) -> ProducerPolicy {
        let early_tolerance = self.tariff.early_tolerance;
        ProducerPolicy { early_tolerance, ..ProducerPolicy::default() }.with_margins(margins)
    }
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
