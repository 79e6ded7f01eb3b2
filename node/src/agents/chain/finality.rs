//! How long the chain takes to make something final, as an agent sees it.

use std::collections::VecDeque;

use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Height, Span, Timestamp};
use futures::StreamExt;

use super::nodes::Nodes;
use crate::agents::error::AgentError;
use crate::rpc::{BlockKey, NodeApiClient};

/// How many of the newest blocks count.
const BLOCKS: usize = 128;
/// Questions for old blocks that are under way at the same time.
const QUESTIONS: usize = 16;
/// The quantile of the time between blocks, in percent: one outage is no measure of the next day.
const MOST: usize = 99;

/// Measured from the newest blocks.
#[derive(Debug, Clone, Default)]
pub(in crate::agents) struct FinalityMeter {
    newest: Option<(Height, Timestamp)>,
    /// From each block's time to the next one's, in ms.
    gaps: VecDeque<u64>,
    /// From each block's time until it was heard of, in ms.
    lags: VecDeque<u64>,
}

impl FinalityMeter {
    /// What the chain's newest blocks tell to one who starts.
    pub(in crate::agents) async fn of_recent_blocks(nodes: &Nodes) -> Result<Self, AgentError> {
        let what = "ask for the newest blocks";
        let tip = nodes.need(what, |rpc| async move { rpc.status().await }).await?.height.get();
        // The time of block 0 is that of the genesis, when nobody ran.
        let first = tip.saturating_sub(BLOCKS as u64).max(1);
        let times = futures::stream::iter(first..=tip).map(|height| async move {
            let key = BlockKey::Height(Height::new(height));
            nodes.ask(what, |rpc| async move { rpc.header(key).await }).await
        });
        let mut meter = Self::default();
        let mut times = times.buffered(QUESTIONS);
        while let Some(found) = times.next().await {
            if let Some(found) = found? {
                meter.follows(found.header.height, found.header.time_ms);
            }
        }
        Ok(meter)
    }

    /// A block that has just become known.
    pub(in crate::agents) fn heard(&mut self, height: Height, time: Timestamp, now: Timestamp) {
        self.follows(height, time);
        keep(&mut self.lags, now.since(time));
    }

    /// How long 99 of 100 transactions that just missed a block have to wait until the next one is known
    /// as final (T4): the time between two blocks, and the median of what it takes to hear of one. A
    /// node that catches up tells of many old blocks at once, hence the median.
    pub(in crate::agents) fn finality(&self, params: &Params) -> Span {
        let gap = quantile(&self.gaps, MOST).unwrap_or(params.idle_interval);
        gap.saturating_add(quantile(&self.lags, 50).unwrap_or(Span::ZERO))
    }

    fn follows(&mut self, height: Height, time: Timestamp) {
        if let Some((below, parent)) = self.newest
            && below.saturating_add(Height::new(1)) == height
        {
            keep(&mut self.gaps, time.since(parent));
        }
        self.newest = Some((height, time));
    }
}

fn keep(samples: &mut VecDeque<u64>, sample: Span) {
    if samples.len() == BLOCKS {
        samples.pop_front();
    }
    samples.push_back(sample.get());
}

/// None without samples.
fn quantile(samples: &VecDeque<u64>, percent: usize) -> Option<Span> {
    let mut sorted: Vec<u64> = samples.iter().copied().collect();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    sorted.get(last * percent / 100).copied().map(Span::new)
}

#[cfg(test)]
mod tests;
