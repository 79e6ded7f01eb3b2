use std::time::Duration;

use evchain_consensus::input::Input;
use evchain_consensus::output::BuildRequest;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Span, Timestamp};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use super::inbox::ConsensusHandle;
use crate::chain::{BlockLimits, BuildOrder, ChainHandle};
use crate::clock;
use crate::mempool::MempoolHandle;

/// After a try that no candidate could stand in: what arrives next may be as useless, and a flood of that must
/// not take up the ledger's thread.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(10);

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
            let or_empty = Instant::now() >= idle_until;
            let candidates = self.mempool.candidates(self.limits).await;
            let mut pause_until = Instant::now();
            if !candidates.is_empty() || or_empty {
                let time = clock::now().max(Timestamp::new(request.parent.time_ms.get().saturating_add(1)));
                let limits = self.limits;
                let order = BuildOrder { request: request.clone(), time, limits, candidates, or_empty };
                if let Some(built) = self.chain.build(order).await? {
                    return Ok(built.block);
                }
                pause_until += FRUITLESS_PAUSE;
            }
            tokio::select! {
                () = arrival => sleep_until(pause_until.min(idle_until)).await,
                () = sleep_until(idle_until) => {}
            }
        }
    }

    fn earliest(&self, parent_time: Timestamp) -> Instant {
        let due = parent_time.saturating_add(Timestamp::new(self.min_block_interval.get()));
        Instant::now() + Duration::from_millis(due.since(clock::now()).get())
    }
}
