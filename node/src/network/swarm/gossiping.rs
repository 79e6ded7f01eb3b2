//! Gossip as it comes and goes: rates, verdicts, publishing.

use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};

use super::{Misbehaviour, NetworkTask};
use crate::network::event::{GossipId, GossipMessage, Verdict};
use crate::network::gossip;
use crate::network::gossip_health::Change;
use crate::network::identity::key_of_peer;
use crate::network::limits::Admit;
use crate::network::protocols::Topic;

impl NetworkTask {
    pub(super) fn on_gossip(&mut self, source: PeerId, message: MessageId, content: &gossipsub::Message) {
        self.metrics.received("gossip", content.data.len());
        let id = GossipId { message, source };
        match self.gossip_rate(&source, content.data.len()) {
            Admit::Yes => {}
            Admit::Drop => {
                self.metrics.dropped("gossip_rate");
                self.judge(&id, Verdict::Ignore);
                return;
            }
            Admit::Disconnect => {
                self.judge(&id, Verdict::Ignore);
                self.ban(&Misbehaviour { peer: source, reason: "gossip_flood" });
                return;
            }
        }
        let (Some(topic), Ok(from)) = (self.topics.get(&content.topic), key_of_peer(&source)) else {
            self.judge(&id, Verdict::Reject);
            return;
        };
        match gossip::decode_batch(topic, &content.data, self.limits.max_gossip_bytes) {
            Ok(items) if topic == Topic::Addresses => {
                for item in items {
                    let verdict = self.take_announcement(item);
                    self.judge(&id, verdict);
                }
            }
            Ok(items) => {
                let bytes = u32::try_from(content.data.len()).unwrap_or(u32::MAX);
                let share = Arc::clone(&self.gossip_budget).try_acquire_many_owned(bytes).ok();
                let message =
                    share.map(|share| GossipMessage { topic, items, from, id: id.clone(), _share: share });
                if message.is_none_or(|message| self.events.gossip.try_send(message).is_err()) {
                    self.metrics.dropped("gossip_queue");
                    self.judge(&id, Verdict::Ignore);
                }
            }
            Err(error) => {
                tracing::debug!(peer = %from, topic = topic.name(), error, "malformed gossip");
                self.metrics.dropped("gossip_malformed");
                self.judge(&id, Verdict::Reject);
            }
        }
    }

    /// Holds a message against its sender's rates, in messages and in bytes.
    fn gossip_rate(&mut self, source: &PeerId, len: usize) -> Admit {
        let (now, bytes) = (Instant::now(), u32::try_from(len).unwrap_or(u32::MAX));
        let by_number = self.gossip_rates.admit(source, now);
        by_number.max(self.gossip_byte_rates.admit_units(source, bytes, now))
    }

    pub(super) fn judge(&mut self, id: &GossipId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id.message, &id.source, acceptance);
        if verdict == Verdict::Reject {
            let score = gossip.peer_score(&id.source);
            self.metrics.dropped("gossip_rejected");
            if score.is_some_and(|score| score < gossip::ban_threshold()) {
                self.ban(&Misbehaviour { peer: id.source, reason: "gossip_invalid" });
            }
        }
    }

    pub(super) fn publish(&mut self, topic: Topic, items: Vec<Vec<u8>>) {
        let Some(data) = gossip::encode_batch(items) else {
            self.metrics.dropped("gossip_batch_too_long");
            return;
        };
        let len = data.len();
        let name = self.protocols.gossip_topic(topic);
        match self.swarm.behaviour_mut().gossip.publish(name, data) {
            Ok(_) => {
                self.metrics.sent("gossip", len);
                let change = self.gossip_health.published();
                self.tell_gossip_health(change);
            }
            // Everybody has been told.
            Err(PublishError::Duplicate) => {}
            // Nobody to tell.
            Err(PublishError::NoPeersSubscribedToTopic) if self.peers.is_empty() => {}
            Err(error) => {
                self.metrics.dropped("gossip_unpublished");
                self.gossip_health.failed(Instant::now());
                tracing::debug!(topic = topic.name(), %error, "not published");
            }
        }
    }

    /// A peer did not take what it was sent since the last heartbeat. If it has taken nothing for long, its
    /// stream is dead, and only a new connection gives it another.
    pub(super) fn on_slow_peer(&mut self, peer: PeerId) {
        self.metrics.dropped("gossip_slow_peer");
        if !self.gossip_health.slow(peer, Instant::now()) {
            return;
        }
        tracing::warn!(%peer, "gossip: the peer takes no messages; closing its connections to make new ones");
        self.metrics.dead_gossip_links.inc();
        // An error means that it has gone already.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn tell_gossip_health(&self, change: Option<Change>) {
        match change {
            Some(Change::Fails) => {
                tracing::warn!(
                    peers = self.peers.len(),
                    "gossip: nobody takes what this node publishes, although there are peers"
                );
            }
            Some(Change::WorksAgain) => tracing::info!("gossip: what this node publishes is taken again"),
            None => {}
        }
    }
}
