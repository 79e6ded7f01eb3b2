use std::num::NonZeroUsize;
use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{RegionId, TxRef};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::Action;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::{SubscriptionResult, async_trait};
use lru::LruCache;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use super::queries::Queries;
use crate::chain::FinalBlock;
use crate::rpc::api::EventsApiServer;
use crate::rpc::error::CallError;
use crate::rpc::types::{BidInfo, BlockNotice, Named, NoticedTransaction, PartyNotice};

/// How long a subscriber may take to make room for an item.
const PATIENCE: Duration = Duration::from_secs(5);
/// Locks, payments and channels whose parties one subscription remembers.
const REMEMBERED_PARTIES: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// Pushes what became final.
#[derive(Clone)]
pub(super) struct Subscriptions {
    pub(super) queries: Queries,
}

impl Subscriptions {
    /// Sends what `pick` takes from each final block, until the subscriber leaves or falls behind.
    async fn push<T: Serialize>(
        &self,
        pending: PendingSubscriptionSink,
        mut pick: impl FnMut(&FinalBlock) -> Result<Vec<T>, CallError> + Send,
    ) -> SubscriptionResult {
        // Before it is accepted, so that a client that asks for the state afterwards misses nothing.
        let mut finals = self.queries.chain().subscribe();
        let sink = pending.accept().await?;
        loop {
            let block = tokio::select! {
                () = sink.closed() => return Ok(()),
                block = finals.recv() => block,
            };
            let block = match block {
                Ok(block) => block,
                Err(RecvError::Lagged(missed)) => {
                    return Err(format!(
                        "dropped: {missed} blocks behind. Ask for what came since, and subscribe again"
                    )
                    .into());
                }
                Err(RecvError::Closed) => return Err("the node is stopping".into()),
            };
            for item in pick(&block)? {
                let message = serde_json::value::to_raw_value(&item)?;
                if sink.send_timeout(message, PATIENCE).await.is_err() {
                    let seconds = PATIENCE.as_secs();
                    return Err(format!("dropped: no room for an item within {seconds} s. Ask for what came since, and subscribe again").into());
                }
            }
        }
    }
}

#[async_trait]
impl EventsApiServer for Subscriptions {
    async fn subscribe_blocks(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        self.push(pending, |block| Ok(vec![notice(block)])).await
    }

    async fn subscribe_requests(
        &self,
        pending: PendingSubscriptionSink,
        region: Option<RegionId>,
    ) -> SubscriptionResult {
        let pick = |block: &FinalBlock| {
            let mut requests = Vec::new();
            for record in &block.events {
                let Event::Requested { request, region: of, .. } = &record.event else { continue };
                if region.is_none_or(|region| region == *of)
                    && let Some(StateValue::Request(value)) = self.state_value(StateKey::Request(*request))?
                {
                    requests.push(Named { name: *request, value });
                }
            }
            Ok(requests)
        };
        self.push(pending, pick).await
    }

    async fn subscribe_bids(
        &self,
        pending: PendingSubscriptionSink,
        request: Option<TxRef>,
    ) -> SubscriptionResult {
        let pick = |block: &FinalBlock| {
            let mut bids = Vec::new();
            for record in &block.events {
                let Event::BidPlaced { request: of, producer, .. } = record.event else { continue };
                if request.is_none_or(|request| request == of)
                    && let Some(StateValue::Bid(bid)) = self.state_value(StateKey::Bid(of, producer))?
                {
                    bids.push(BidInfo { request: of, producer, bid });
                }
            }
            Ok(bids)
        };
        self.push(pending, pick).await
    }

    async fn subscribe_payments(
        &self,
        pending: PendingSubscriptionSink,
        party: PublicKey,
    ) -> SubscriptionResult {
        let mut parties = Parties::new(self.queries.clone());
        let pick = move |block: &FinalBlock| {
            let mut notices = Vec::new();
            for record in &block.events {
                if parties.concerns(&record.event, &party)? {
                    notices.push(PartyNotice {
                        height: block.header.height,
                        time: block.header.time_ms,
                        transaction: record.transaction,
                        event: record.event.clone(),
                    });
                }
            }
            Ok(notices)
        };
        self.push(pending, pick).await
    }
}

impl Subscriptions {
    /// An entry of the newest state, which is that of the block at hand or of one shortly after. The
    /// read is a lookup in the store's cache, so it is done right here.
    fn state_value(&self, key: StateKey) -> Result<Option<StateValue>, CallError> {
        Ok(self.queries.chain().state().get(&key)?)
    }
}

fn notice(block: &FinalBlock) -> BlockNotice {
    let transactions = block.transactions.iter().map(|transaction| NoticedTransaction {
        place: transaction.place,
        id: transaction.id,
        sender: transaction.sender,
    });
    BlockNotice {
        block: block.hash,
        header: block.header.clone(),
        transactions: transactions.collect(),
        events: block.events.clone(),
    }
}

/// Knows between whom a lock, payment or channel is, also after it has left the state.
struct Parties {
    queries: Queries,
    known: LruCache<TxRef, Option<[PublicKey; 2]>>,
}

impl Parties {
    fn new(queries: Queries) -> Self {
        Self { queries, known: LruCache::new(REMEMBERED_PARTIES) }
    }

    /// Whether an event is about this party's money.
    fn concerns(&mut self, event: &Event, party: &PublicKey) -> Result<bool, CallError> {
        let object = match event {
            Event::Transferred { from, to, .. } | Event::Withdrawn { from, to, .. } => {
                return Ok(from == party || to == party);
            }
            Event::Locked { payer, payee, .. } => return Ok(payer == party || payee == party),
            Event::PaymentLocked { consumer, producer, .. }
            | Event::ChannelOpened { consumer, producer, .. }
            | Event::ChannelClosed { consumer, producer, .. } => {
                return Ok(consumer == party || producer == party);
            }
            Event::LockClaimed { lock, .. } | Event::LockRefunded { lock, .. } => *lock,
            Event::InstallmentsClaimed { payment, .. }
            | Event::DepositForfeited { payment, .. }
            | Event::InstallmentsRefunded { payment, .. }
            | Event::PaymentCancelled { payment, .. }
            | Event::PaymentEnded { payment } => *payment,
            Event::ChannelPosted { channel, .. } | Event::ChannelCancelled { channel, .. } => *channel,
            Event::FeePaid { .. }
            | Event::Sponsored { .. }
            | Event::Admitted { .. }
            | Event::Revoked { .. }
            | Event::RolesSet { .. }
            | Event::StationRecorded { .. }
            | Event::Requested { .. }
            | Event::BidPlaced { .. }
            | Event::Committed { .. }
            | Event::RequestEnded { .. }
            | Event::Proposed { .. }
            | Event::Approved { .. }
            | Event::ProposalPassed { .. }
            | Event::ProposalFailed { .. }
            | Event::ProposalExpired { .. }
            | Event::OffenceRecorded { .. }
            | Event::AuthorityLeft { .. }
            | Event::AuthorityJoined { .. }
            | Event::EpochStarted { .. } => return Ok(false),
        };
        Ok(self.of(object)?.is_some_and(|parties| parties.contains(party)))
    }

    fn of(&mut self, object: TxRef) -> Result<Option<[PublicKey; 2]>, CallError> {
        if let Some(parties) = self.known.get(&object) {
            return Ok(*parties);
        }
        // The transaction that made it names both, as long as its block is kept.
        let parties = match self.queries.signed(object) {
            Ok(signed) => {
                let sender = signed.transaction.sender;
                match signed.transaction.action {
                    Action::CreateLock(lock) => Some([sender, lock.payee]),
                    Action::LockInstallments(payment) => Some([sender, payment.producer]),
                    Action::OpenChannel(channel) => Some([sender, channel.producer]),
                    _ => None,
                }
            }
            Err(CallError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        self.known.put(object, parties);
        Ok(parties)
    }
}
