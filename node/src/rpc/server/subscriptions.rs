use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{RegionId, TxRef};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::Action;
use jsonrpsee::core::{SubscriptionResult, async_trait};
use jsonrpsee::types::SubscriptionResponse;
use jsonrpsee::types::response::SubscriptionPayload;
use jsonrpsee::{Extensions, PendingSubscriptionSink, SubscriptionSink};
use lru::LruCache;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::budget::Charge;
use super::hosts::Caller;
use super::queries::Queries;
use super::websocket::Outgoing;
use crate::chain::FinalBlock;
use crate::rpc::api::EventsApiServer;
use crate::rpc::error::CallError;
use crate::rpc::types::{BidInfo, BlockNotice, MAX_RESPONSE_BYTES, Named, NoticedTransaction, PartyNotice};

/// How long a subscriber may take to make room for an item.
const PATIENCE: Duration = Duration::from_secs(5);
/// Locks, payments and channels whose parties are remembered, for all subscriptions together.
const REMEMBERED_PARTIES: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// The notices of blocks that are kept, in bytes, and the newest in any case.
const NOTICES_BYTES: usize = 1024 * 1024;
/// The room that is made for what a block brings before it is known how long that is, in bytes: for its
/// header, ...
const ITEM_BYTES: usize = 2 * 1024;
/// ... and for each of its transactions and events.
const EVENT_BYTES: usize = 512;

/// Pushes what became final.
#[derive(Clone)]
pub(super) struct Subscriptions {
    queries: Queries,
    parties: Arc<Parties>,
    notices: Arc<Mutex<Notices>>,
}

/// The newest blocks' notices, which are the same for all who want blocks: each is written once, so that a crowd of
/// them costs a copy each. There are several, since some of the crowd are a block or two behind the others.
#[derive(Default)]
struct Notices {
    /// The oldest first.
    known: VecDeque<(Hash, Arc<RawValue>)>,
    bytes: usize,
}

impl Notices {
    fn get(&self, block: &Hash) -> Option<&Arc<RawValue>> {
        self.known.iter().find(|(of, _)| of == block).map(|(_, json)| json)
    }

    fn put(&mut self, block: Hash, json: Arc<RawValue>) {
        self.bytes += json.get().len();
        self.known.push_back((block, json));
        while self.bytes > NOTICES_BYTES && self.known.len() > 1 {
            self.bytes -= self.known.pop_front().map_or(0, |(_, oldest)| oldest.get().len());
        }
    }
}

/// JSON that many share.
struct Shared(Arc<RawValue>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The way to one connection's writer.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    caller: Arc<Caller>,
    queue: mpsc::Sender<Outgoing>,
}

impl Outbox {
    pub(super) const fn new(caller: Arc<Caller>, queue: mpsc::Sender<Outgoing>) -> Self {
        Self { caller, queue }
    }

    /// Room for what a block brings, made before anything of it is built.
    async fn room(&self, block: &FinalBlock) -> Charge {
        let parts = block.events.len().saturating_add(block.transactions.len());
        let about = ITEM_BYTES.saturating_add(EVENT_BYTES.saturating_mul(parts));
        self.caller.account().reserve(about.min(MAX_RESPONSE_BYTES as usize)).await
    }

    /// Hands items to the writer, in the room that was made for them; they take what they need of it.
    async fn send(&self, messages: Vec<String>, mut charge: Charge) {
        let bytes = messages.iter().map(String::len).sum();
        if bytes > charge.bytes() {
            charge.join(self.caller.account().reserve(bytes - charge.bytes()).await);
        }
        charge.shrink_to(bytes);
        // Fails where the connection has ended, and with it the subscription.
        let _ = self.queue.send(Outgoing { messages, charge, place: None }).await;
    }
}

/// An item as it goes over the wire.
fn message<T: Serialize>(sink: &SubscriptionSink, item: &T) -> Result<String, serde_json::Error> {
    let payload = SubscriptionPayload { subscription: sink.subscription_id(), result: item };
    serde_json::to_string(&SubscriptionResponse::new(sink.method_name().into(), payload))
}

impl Subscriptions {
    pub(super) fn new(queries: Queries) -> Self {
        let parties = Arc::new(Parties::new(queries.clone()));
        Self { queries, parties, notices: Arc::default() }
    }

    fn notice(&self, block: &FinalBlock) -> Result<Shared, CallError> {
        // It is held while a notice is written, so that nobody else writes the same one. Each change leaves it whole.
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = notices.get(&block.hash) {
            return Ok(Shared(Arc::clone(known)));
        }
        let json = to_raw_value(&notice(block)).map_err(|error| CallError::Failed(error.to_string()))?;
        let json: Arc<RawValue> = json.into();
        notices.put(block.hash, Arc::clone(&json));
        drop(notices);
        Ok(Shared(json))
    }

    /// Sends what `pick` takes from each final block, until the subscriber leaves or falls behind.
    async fn push<T: Serialize + Send + Sync>(
        &self,
        pending: PendingSubscriptionSink,
        extensions: &Extensions,
        mut pick: impl FnMut(&FinalBlock) -> Result<Vec<T>, CallError> + Send,
    ) -> SubscriptionResult {
        // Only WebSockets get here, and each has one.
        let outbox = extensions.get::<Outbox>().ok_or("subscriptions need a WebSocket")?;
        // Before it is accepted, so that a client that asks for the state afterwards misses nothing.
        let mut finals = self.queries.chain().subscribe();
        let sink = pending.accept().await?;
        let _busy = outbox.caller.ask();
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
            let sent = async {
                let room = outbox.room(&block).await;
                let items = pick(&block)?;
                if !items.is_empty() {
                    let messages = items.iter().map(|item| message(&sink, item)).collect::<Result<_, _>>();
                    let messages = messages.map_err(|error| CallError::Failed(error.to_string()))?;
                    outbox.send(messages, room).await;
                }
                Ok::<(), CallError>(())
            };
            let Ok(sent) = tokio::time::timeout(PATIENCE, sent).await else {
                let seconds = PATIENCE.as_secs();
                return Err(format!("dropped: no room for an item within {seconds} s. Ask for what came since, and subscribe again").into());
            };
            sent?;
        }
    }
}

#[async_trait]
impl EventsApiServer for Subscriptions {
    async fn subscribe_blocks(
        &self,
        pending: PendingSubscriptionSink,
        extensions: &Extensions,
    ) -> SubscriptionResult {
        self.push(pending, extensions, |block| Ok(vec![self.notice(block)?])).await
    }

    async fn subscribe_requests(
        &self,
        pending: PendingSubscriptionSink,
        extensions: &Extensions,
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
        self.push(pending, extensions, pick).await
    }

    async fn subscribe_bids(
        &self,
        pending: PendingSubscriptionSink,
        extensions: &Extensions,
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
        self.push(pending, extensions, pick).await
    }

    async fn subscribe_payments(
        &self,
        pending: PendingSubscriptionSink,
        extensions: &Extensions,
        party: PublicKey,
    ) -> SubscriptionResult {
        let parties = &self.parties;
        let pick = |block: &FinalBlock| {
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
        self.push(pending, extensions, pick).await
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
    /// All subscriptions look at the same events at about the same time: hence the lock, which is never
    /// held while something is read.
    known: Mutex<LruCache<TxRef, Option<[PublicKey; 2]>>>,
}

impl Parties {
    fn new(queries: Queries) -> Self {
        Self { queries, known: Mutex::new(LruCache::new(REMEMBERED_PARTIES)) }
    }

    /// Whether an event is about this party's money.
    fn concerns(&self, event: &Event, party: &PublicKey) -> Result<bool, CallError> {
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

    fn of(&self, object: TxRef) -> Result<Option<[PublicKey; 2]>, CallError> {
        // A cache that was left in the middle of a change is still a cache.
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parties) = known().get(&object) {
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
        known().put(object, parties);
        Ok(parties)
    }
}

#[cfg(test)]
mod tests;
