//! Gossip: batching own transactions, checking what comes, and the scores of those who send it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use evchain_protocol::codec::{self, List};
use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, Message,
    MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams,
    ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;

use super::config::NetworkLimits;
use super::error::StartError;
use super::protocols::{Protocols, Topic};

/// Gossipsub, restricted to the topics of the chain.
pub(super) type Gossipsub =
    Behaviour<IdentityTransform, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;

/// What every gossip message carries: at most so many items.
type Batch = List<Vec<u8>, MAX_BATCH_ITEMS>;

const MAX_BATCH_ITEMS: usize = 1_024;

/// The list's length.
const BATCH_OVERHEAD: usize = 4;

/// An item's length.
const ITEM_OVERHEAD: usize = 8;

/// The envelope around the data: author, sequence number, signature, topic.
const ENVELOPE_BYTES: usize = 1_024;

/// How many of the largest messages gossipsub may find unread on a stream. Its decoder holds the limit against
/// everything that it has read and not yet taken apart, the next message's beginning included, and gives the
/// stream up when there is more; so the limit has to lie far above one message.
const MESSAGES_IN_TRANSMIT_LIMIT: usize = 4;
/// What the decoder reads at once, beyond the message that it completes.
const READ_AHEAD_BYTES: usize = 8 * 1_024;

/// Message ids in one list of what a peer has or wants, of 34 bytes each: below the 16 KiB from which on the
/// other side gives the stream up.
const MAX_IDS_PER_LIST: usize = 256;

/// Messages that wait for one peer, of at most 64 KiB each.
const MAX_QUEUED_FOR_PEER: usize = 512;

/// The largest item that fits into a message.
pub(super) fn max_item_len(limits: &NetworkLimits) -> usize {
    limits.max_gossip_bytes.saturating_sub(BATCH_OVERHEAD + ITEM_OVERHEAD)
}

/// Bytes of a message that holds these items.
pub(super) fn encode_batch(items: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    Batch::new(items).ok().map(|batch| codec::encode(&batch))
}

/// The items of a message, or why it is invalid.
pub(super) fn decode_batch(topic: Topic, bytes: &[u8], max: usize) -> Result<Vec<Vec<u8>>, String> {
    let items = codec::decode::<Batch>(bytes, max).map_err(|error| error.to_string())?.into_vec();
    match (topic, items.len()) {
        (_, 0) => Err("an empty batch".to_owned()),
        (Topic::Finalizations | Topic::Addresses, 2..) => Err("more than one item".to_owned()),
        _ => Ok(items),
    }
}

/// The names of the topics, both ways.
pub(super) struct Topics(HashMap<TopicHash, Topic>);

impl Topics {
    pub(super) fn new(protocols: &Protocols) -> Self {
        Self(Topic::ALL.map(|topic| (protocols.gossip_topic(topic).hash(), topic)).into())
    }

    pub(super) fn get(&self, hash: &TopicHash) -> Option<Topic> {
        self.0.get(hash).copied()
    }
}

/// Own transactions that wait for others to share a message with them.
pub(super) struct Batcher {
    items: Vec<Vec<u8>>,
    bytes: usize,
    flush_at: Option<Instant>,
    max_items: usize,
    max_bytes: usize,
    delay: Duration,
}

impl Batcher {
    pub(super) fn new(limits: &NetworkLimits) -> Self {
        Self {
            items: Vec::new(),
            bytes: BATCH_OVERHEAD,
            flush_at: None,
            max_items: limits.batch_max_items.clamp(1, MAX_BATCH_ITEMS),
            max_bytes: limits.max_gossip_bytes,
            delay: Duration::from_millis(limits.batch_delay_ms),
        }
    }

    /// Adds a transaction. Returns the items of the message that is now full, if one is.
    pub(super) fn push(&mut self, item: Vec<u8>, now: Instant) -> Option<Vec<Vec<u8>>> {
        let len = item.len() + ITEM_OVERHEAD;
        let full = (self.bytes + len > self.max_bytes && !self.items.is_empty()).then(|| self.take());
        self.flush_at.get_or_insert(now + self.delay);
        self.bytes += len;
        self.items.push(item);
        // At most one message is full: with one item in each, none ever waits for a second.
        full.or_else(|| (self.items.len() >= self.max_items).then(|| self.take()))
    }

    /// The items whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Vec<Vec<u8>>> {
        self.flush_at.is_some_and(|at| at <= now).then(|| self.take())
    }

    /// When items are due.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    fn take(&mut self) -> Vec<Vec<u8>> {
        self.bytes = BATCH_OVERHEAD;
        self.flush_at = None;
        std::mem::take(&mut self.items)
    }
}

/// The gossip behaviour of a node, subscribed to every topic.
pub(super) fn gossipsub(
    keys: &Keypair,
    protocols: &Protocols,
    limits: &NetworkLimits,
) -> Result<Gossipsub, StartError> {
    let settings = |error: String| StartError::Settings(error);
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(transmit_limit(limits))
        .max_control_messages_sent(MAX_IDS_PER_LIST)
        // To the mesh only, as what is passed on: with many peers, sending to all would cost the most where
        // there are the most strangers.
        .flood_publish(false)
        // A node of a new chain has few peers: they mesh at the first heartbeat.
        .heartbeat_initial_delay(Duration::from_millis(500))
        .connection_handler_queue_len(MAX_QUEUED_FOR_PEER)
        .build()
        .map_err(|error| settings(error.to_string()))?;
    let topics: Vec<IdentTopic> = Topic::ALL.iter().map(|topic| protocols.gossip_topic(*topic)).collect();
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(topics.iter().map(IdentTopic::hash).collect::<HashSet<_>>()),
        max_subscribed_topics: Topic::ALL.len(),
        max_subscriptions_per_request: 2 * Topic::ALL.len(),
    };
    let authenticity = MessageAuthenticity::Signed(keys.clone());
    let mut behaviour = Gossipsub::new_with_subscription_filter(authenticity, config, filter)
        .map_err(|error| settings(error.to_owned()))?;
    behaviour.with_peer_score(score_params(&topics), thresholds()).map_err(settings)?;
    for topic in &topics {
        behaviour.subscribe(topic).map_err(|error| settings(error.to_string()))?;
    }
    Ok(behaviour)
}

fn transmit_limit(limits: &NetworkLimits) -> usize {
    let message = limits.max_gossip_bytes.saturating_add(ENVELOPE_BYTES);
    message.saturating_mul(MESSAGES_IN_TRANSMIT_LIMIT).saturating_add(READ_AHEAD_BYTES)
}

/// Scores below this one end a peer's connections: it passed on several invalid messages within
/// a minute or so.
pub(super) fn ban_threshold() -> f64 {
    thresholds().graylist_threshold
}

/// The same content is the same message, whoever sends it.
fn message_id(message: &Message) -> MessageId {
    let mut hasher = blake3::Hasher::new_derive_key("evchain 2026 gossip message");
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&[0]);
    hasher.update(&message.data);
    MessageId::new(hasher.finalize().as_bytes())
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds::default()
}

/// Peers gain a little by being there and by being first with messages, and lose much by invalid
/// ones: three within a minute lead below every threshold.
fn score_params(topics: &[IdentTopic]) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        // At most 5 points, after an hour.
        time_in_mesh_weight: 5.0 / 3_600.0,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 3_600.0,
        // At most 10 points.
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_mins(1)),
        first_message_deliveries_cap: 100.0,
        // How much a topic carries is up to the users, so too little is nobody's fault.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -15.0,
        invalid_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_mins(2)),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics.iter().map(|name| (name.hash(), topic.clone())).collect(),
        topic_score_cap: 20.0,
        // Authorities and agents of one operator often share an address; the limits on
        // connections bound what one host can do.
        ip_colocation_factor_weight: 0.0,
        retain_score: Duration::from_mins(10),
        ..PeerScoreParams::default()
    }
}
