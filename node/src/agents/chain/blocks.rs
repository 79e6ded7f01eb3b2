//! The final blocks, for everything in an agent that waits for the chain.

use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::Event;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Span, TxRef};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use super::finality::FinalityMeter;
use crate::agents::event::{AgentEvent, Observer, Warning};
use crate::clock;
use crate::rpc::{BlockNotice, Follow, Followed, NodeApiClient, RpcClient};

/// Blocks that wait for a slow reader; above, it is told of a gap.
const QUEUE: usize = 256;
/// The pause between attempts to subscribe for the first time.
const PAUSE: Duration = Duration::from_millis(500);
/// A node that tells of no block for so many of the chain's hop bounds is given up: a chain with nothing to
/// do makes a block within each, and a few leaders may be away one after the other.
const QUIET_HOPS: u32 = 20;
/// The same at least.
const LEAST_QUIET: Duration = Duration::from_secs(10);

/// Follows the chain as long as it lives.
pub(in crate::agents) struct Blocks {
    news: broadcast::Sender<News>,
    meter: watch::Receiver<FinalityMeter>,
    _follower: AbortOnDropHandle<()>,
}

/// What the chain tells.
#[derive(Debug, Clone)]
pub(in crate::agents) enum News {
    /// A block is final.
    Block(Arc<BlockNotice>),
    /// Some blocks were missed: ask for what matters.
    Gap,
}

/// One reader's place in the news.
pub(in crate::agents) struct NewsReader(broadcast::Receiver<News>);

impl Blocks {
    /// `meter` has measured the blocks before.
    pub(in crate::agents) fn follow(rpc: RpcClient, observer: Observer, meter: FinalityMeter) -> Self {
        let (news, _) = broadcast::channel(QUEUE);
        let (metering, meter) = watch::channel(meter);
        let follower = tokio::spawn(follow(rpc, observer, news.clone(), metering));
        Self { news, meter, _follower: AbortOnDropHandle::new(follower) }
    }

    /// How long the chain takes now to make something final.
    pub(in crate::agents) fn finality(&self, params: &Params) -> Span {
        self.meter.borrow().finality(params)
    }

    /// Reads from now on. Who asks the chain after this call misses nothing.
    pub(in crate::agents) fn reader(&self) -> NewsReader {
        NewsReader(self.news.subscribe())
    }
}

impl NewsReader {
    /// The next news. Cancel safe.
    pub(in crate::agents) async fn next(&mut self) -> News {
        match self.0.recv().await {
            Ok(news) => news,
            Err(broadcast::error::RecvError::Lagged(_)) => News::Gap,
            // The follower ends with the agent only.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn follow(
    rpc: RpcClient,
    observer: Observer,
    news: broadcast::Sender<News>,
    meter: watch::Sender<FinalityMeter>,
) {
    let blocks = subscribe(&rpc, &observer).await;
    let quiet = longest_quiet(&rpc).await;
    relay(blocks, quiet, observer, news, meter).await;
}

/// Tells of the blocks, and leaves a node that tells of none for so long.
async fn relay(
    mut blocks: Follow<BlockNotice>,
    quiet: Duration,
    observer: Observer,
    news: broadcast::Sender<News>,
    meter: watch::Sender<FinalityMeter>,
) {
    // No reader yet is no failure.
    let _ = news.send(News::Gap);
    let mut has_warned = false;
    loop {
        let followed = tokio::time::timeout(quiet, blocks.next()).await;
        let _ = news.send(match followed {
            Ok(Followed::Item(block)) => {
                has_warned = false;
                let (height, time) = (block.header.height, block.header.time_ms);
                meter.send_modify(|meter| meter.heard(height, time, clock::now()));
                News::Block(Arc::new(block))
            }
            Ok(Followed::Resumed) => News::Gap,
            // Its connection lives, and the chain goes on elsewhere, or nowhere.
            Err(_) => {
                let reason = format!("{} tells of no block for {} s", blocks.node(), quiet.as_secs());
                if !std::mem::replace(&mut has_warned, true) {
                    unreachable(&observer, reason);
                }
                blocks.skip();
                continue;
            }
        });
    }
}

async fn subscribe(rpc: &RpcClient, observer: &Observer) -> Follow<BlockNotice> {
    loop {
        match rpc.follow_blocks().await {
            Ok(blocks) => return blocks,
            Err(error) => unreachable(observer, error.to_string()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn unreachable(observer: &Observer, reason: String) {
    let action = "follow the chain".to_owned();
    observer(&AgentEvent::Warned(Warning::Unreachable { action, reason }));
}

/// How long a node may tell of no block.
async fn longest_quiet(rpc: &RpcClient) -> Duration {
    // Whoever follows asks the same nodes for more than that; a chain is rarely slower than by default.
    let params = rpc.params().await.unwrap_or_default();
    (Duration::from_millis(params.hop_bound.get()) * QUIET_HOPS).max(LEAST_QUIET)
}

/// What a block did to a payment or channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agents) enum Change {
    /// Installments below this index are settled.
    SettledBelow(u32),
    /// Nothing is left of it: claimed, returned or paid out.
    Ended,
    /// The consumer took everything back.
    Cancelled,
    /// This key posted a state.
    Posted(PublicKey),
}

/// What a block did to this payment or channel, in order.
pub(in crate::agents) fn changes_of(block: &BlockNotice, name: TxRef) -> Vec<Change> {
    block.events.iter().filter_map(|record| change(&record.event, name)).collect()
}

/// Whether a block settled a single lock between these two, as far as its events say.
pub(in crate::agents) fn settles_locks(
    block: &BlockNotice,
    consumer: PublicKey,
    producer: PublicKey,
) -> bool {
    block.events.iter().any(|record| match record.event {
        Event::LockClaimed { payee, .. } => payee == producer,
        Event::LockRefunded { payer, .. } => payer == consumer,
        _ => false,
    })
}

fn change(event: &Event, name: TxRef) -> Option<Change> {
    match event {
        Event::InstallmentsClaimed { payment, up_to, .. }
        | Event::InstallmentsRefunded { payment, up_to, .. }
            if *payment == name =>
        {
            Some(Change::SettledBelow(up_to.saturating_add(1)))
        }
        Event::DepositForfeited { payment, .. } if *payment == name => Some(Change::SettledBelow(1)),
        Event::PaymentEnded { payment } if *payment == name => Some(Change::Ended),
        Event::ChannelClosed { channel, .. } if *channel == name => Some(Change::Ended),
        Event::PaymentCancelled { payment: cancelled, .. }
        | Event::ChannelCancelled { channel: cancelled, .. }
            if *cancelled == name =>
        {
            Some(Change::Cancelled)
        }
        Event::ChannelPosted { channel, by, .. } if *channel == name => Some(Change::Posted(*by)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
