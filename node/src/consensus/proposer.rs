use std::time::Duration;

use evchain_consensus::input::Input;
use evchain_consensus::output::BuildRequest;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Span, Timestamp};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use super::inbox::ConsensusHandle;
use crate::chain::{BlockLimits, ChainHandle};
use crate::clock;
use crate::mempool::MempoolHandle;

/// Makes this node's blocks when it leads: as soon as there is something to put in, and an empty
/// one when the idle interval is over, so that deadlines pass.
#[derive(Debug, Clone)]
pub struct Proposer {
    /// Executes candidates.
    pub chain: ChainHandle,
    /// Holds candidates.
    pub mempool: MempoolHandle,
    /// Blocks are at least this far apart.
    pub min_block_interval: Span,
    /// What fits into a block.
    pub limits: BlockLimits,
}

impl Proposer {
    /// Keeps to these parameters from now on.
    pub(super) fn follow(&mut self, params: &Params) {
        self.min_block_interval = params.min_block_interval;
        self.limits = BlockLimits::of(params);
    }

    /// Starts to make a block; the answer goes to the event loop.
    pub fn start(&self, request: BuildRequest, consensus: ConsensusHandle) -> AbortHandle {
        let proposer = self.clone();
        tokio::spawn(async move {
            let (epoch, view) = (request.epoch, request.view);
            let block = match proposer.build(request).await {
                Ok(block) => Some(block),
                Err(error) => {
                    error!(%epoch, %view, %error, "consensus: no block could be made");
                    None
                }
            };
            consensus.deliver(Input::Built { epoch, view, block }).await;
        })
        .abort_handle()
    }

    async fn build(
        &self,
        request: BuildRequest,
    ) -> Result<std::sync::Arc<evchain_consensus::block::Block>, crate::chain::ChainError> {
        let idle_until = Instant::now() + Duration::from_millis(request.idle.get());
        let earliest = self.earliest(request.parent.time_ms).min(idle_until);
        sleep_until(earliest).await;
        loop {
            // Asked for before looking, so that what arrives in between is not missed.
            let arrival = self.mempool.arrival();
            let is_last_try = Instant::now() >= idle_until;
            let candidates = self.mempool.candidates(self.limits).await;
            if !candidates.is_empty() || is_last_try {
                let time = clock::now().max(Timestamp::new(request.parent.time_ms.get().saturating_add(1)));
                let built = self.chain.build(request.clone(), time, candidates).await?;
                if built.transactions > 0 || is_last_try {
                    return Ok(built.block);
                }
            }
            tokio::select! {
                () = arrival => {}
                () = sleep_until(idle_until) => {}
            }
        }
    }

    fn earliest(&self, parent_time: Timestamp) -> Instant {
        let due = parent_time.saturating_add(Timestamp::new(self.min_block_interval.get()));
        Instant::now() + Duration::from_millis(due.since(clock::now()).get())
    }
}
