use evchain_consensus::config::Config;
use evchain_consensus::input::NextEpoch;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::params::Params;
use tokio::task::block_in_place;
use tracing::info;

use super::event_loop::Halted;
use super::log::ConsensusLog;
use super::proposer::Proposer;
use super::voting::VotingRight;
use crate::chain::ChainReader;
use crate::network::NetworkHandle;

/// The engine's timing, as the chain's parameters say.
pub fn timing(params: &Params) -> Config {
    Config { hop_bound: params.hop_bound, idle: params.idle_interval, max_clock_drift: params.max_skew }
}

/// What the node does when an epoch ends.
pub struct EpochTurn {
    /// Knows the next epoch.
    pub chain: ChainReader,
    /// Links to both sets from then on.
    pub network: NetworkHandle,
    /// The node's key.
    pub key: PublicKey,
    /// Whether it may vote, and the notes of it beside the key.
    pub right: VotingRight,
}

impl EpochTurn {
    /// What the engine has to know of the epoch that the newest final block begins. When this
    /// returns, that block is durable and it is noted that the key votes in the new epoch.
    ///
    /// # Errors
    /// Where the store or the note failed.
    pub(super) async fn next(
        &mut self,
        log: &mut ConsensusLog,
        proposer: &mut Proposer,
    ) -> Result<NextEpoch, Halted> {
        let (now, params) = (self.chain.authorities()?, self.chain.params()?);
        let is_member = now.set.index_of(&self.key).is_some();
        let began = self.chain.tip().time_ms;
        let votes = is_member && block_in_place(|| self.right.begin_epoch(now.epoch, began, log))?;
        // A stopped network shows itself elsewhere.
        let _ = self.network.set_authorities(self.chain.authorities_to_link()?).await;
        proposer.follow(&params);
        info!(
            epoch = %now.epoch,
            authorities = now.set.len(),
            last_height = %now.last_height,
            role = if votes { "validator" } else { "observer" },
            "consensus: an epoch begins"
        );
        Ok(NextEpoch {
            epoch: now.epoch,
            authorities: now.set,
            last_height: now.last_height,
            config: timing(&params),
            may_vote: votes,
        })
    }
}
