//! The final blocks, for everything in an agent that waits for the chain.

use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::Event;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Span, TxRef};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use super::event::{AgentEvent, Observer, Warning};
use super::finality::FinalityMeter;
use crate::clock;
use crate::rpc::{BlockNotice, Followed, RpcClient};

/// Blocks that wait for a slow reader; above, it is told of a gap.
const QUEUE: usize = 256;
/// The pause between attempts to subscribe for the first time.
const PAUSE: Duration = Duration::from_millis(500);

/// Follows the chain as long as it lives.
pub(super) struct Blocks {
    news: broadcast::Sender<News>,
    meter: watch::Receiver<FinalityMeter>,
    _follower: AbortOnDropHandle<()>,
}

/// What the chain tells.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// A block is final.
    Block(Arc<BlockNotice>),
    /// Some blocks were missed: ask for what matters.
    Gap,
}

/// One reader's place in the news.
pub(super) struct NewsReader(broadcast::Receiver<News>);

impl Blocks {
    /// `meter` has measured the blocks before.
    pub(super) fn follow(rpc: RpcClient, observer: Observer, meter: FinalityMeter) -> Self {
        let (news, _) = broadcast::channel(QUEUE);
        let (metering, meter) = watch::channel(meter);
        let follower = tokio::spawn(follow(rpc, observer, news.clone(), metering));
        Self { news, meter, _follower: AbortOnDropHandle::new(follower) }
    }

    /// How long the chain takes now to make something final.
    pub(super) fn finality(&self, params: &Params) -> Span {
        self.meter.borrow().finality(params)
    }

    /// Reads from now on. Who asks the chain after this call misses nothing.
    pub(super) fn reader(&self) -> NewsReader {
        NewsReader(self.news.subscribe())
    }
}

impl NewsReader {
    /// The next news. Cancel safe.
    pub(super) async fn next(&mut self) -> News {
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
    let mut blocks = loop {
        match rpc.follow_blocks().await {
            Ok(blocks) => break blocks,
            Err(error) => {
                let action = "follow the chain".to_owned();
                let warning = Warning::Unreachable { action, reason: error.to_string() };
                observer(&AgentEvent::Warned(warning));
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    // No reader yet is no failure.
    let _ = news.send(News::Gap);
    loop {
        let _ = news.send(match blocks.next().await {
            Followed::Item(block) => {
                let (height, time) = (block.header.height, block.header.time_ms);
                meter.send_modify(|meter| meter.heard(height, time, clock::now()));
                News::Block(Arc::new(block))
            }
            Followed::Resumed => News::Gap,
        });
    }
}

/// What a block did to a payment or channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
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
pub(super) fn changes_of(block: &BlockNotice, name: TxRef) -> Vec<Change> {
    block.events.iter().filter_map(|record| change(&record.event, name)).collect()
}

/// Whether a block settled a single lock between these two, as far as its events say.
pub(super) fn settles_locks(block: &BlockNotice, consumer: PublicKey, producer: PublicKey) -> bool {
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
