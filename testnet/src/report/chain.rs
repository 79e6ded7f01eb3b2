use std::collections::{BTreeMap, BTreeSet};

use evchain_node::rpc::{BlockInfo, BlockKey, NodeApiClient, RpcClient, RpcError};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::primitives::{Amount, Height, Timestamp};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

/// Questions that are under way at the same time.
const QUESTIONS: usize = 16;

/// What stands on the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChainFigures {
    /// Blocks after genesis.
    pub blocks: u64,
    /// Those with transactions.
    pub blocks_with_transactions: u64,
    /// From the first block's time to the last one's, in ms.
    pub span_ms: u64,
    /// By the kind of transaction.
    pub kinds: BTreeMap<String, KindFigures>,
    /// All fees.
    pub fees: Amount,
    /// Everybody who ever had an account after genesis.
    #[serde(skip)]
    pub newcomers: BTreeSet<PublicKey>,
}

/// The transactions of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindFigures {
    /// The phase of a charge that they belong to.
    pub phase: &'static str,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl ChainFigures {
    /// Reads every block up to a height.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub async fn read(rpc: &RpcClient, tip: Height) -> Result<Self, RpcError> {
        let mut figures = Self::default();
        let mut first: Option<Timestamp> = None;
        let blocks = futures::stream::iter(1..=tip.get())
            .map(|height| read_block(rpc, Height::new(height)))
            .buffered(QUESTIONS);
        tokio::pin!(blocks);
        while let Some((block, events)) = blocks.try_next().await? {
            let time = block.header.time_ms;
            figures.span_ms = time.since(*first.get_or_insert(time)).get();
            figures.add(&block, &events);
        }
        Ok(figures)
    }

    fn add(&mut self, block: &BlockInfo, events: &[EventRecord]) {
        self.blocks += 1;
        self.blocks_with_transactions += u64::from(!block.transactions.is_empty());
        for transaction in &block.transactions {
            let new = || KindFigures { phase: phase_of(&transaction.kind), count: 0, bytes: 0 };
            let kind = self.kinds.entry(transaction.kind.clone()).or_insert_with(new);
            kind.count += 1;
            kind.bytes += transaction.bytes as u64;
        }
        for record in events {
            match &record.event {
                Event::FeePaid { amount, .. } => self.fees = self.fees.saturating_add(*amount),
                Event::Sponsored { account, .. } | Event::Admitted { account, .. } => {
                    self.newcomers.insert(*account);
                }
                _ => {}
            }
        }
    }

    /// Transactions of all kinds, and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        let kinds = self.kinds.values();
        kinds.fold((0, 0), |(count, bytes), kind| (count + kind.count, bytes + kind.bytes))
    }
}

async fn read_block(rpc: &RpcClient, height: Height) -> Result<(BlockInfo, Vec<EventRecord>), RpcError> {
    let block = rpc.block(BlockKey::Height(height)).await?;
    // What happens by itself makes no account and costs no fee.
    let events = if block.transactions.is_empty() { Vec::new() } else { rpc.events(height).await? };
    Ok((block, events))
}

/// The phase of a charge (P21 III) that a transaction belongs to.
fn phase_of(kind: &str) -> &'static str {
    match kind {
        "transfer" => "funding, return",
        "admit" => "admission",
        "record_station" | "place_request" => "exploration",
        "place_bid" => "bidding",
        "commit" => "evaluation",
        "create_lock" | "lock_installments" | "open_channel" => "deposit",
        _ => "settlement",
    }
}
