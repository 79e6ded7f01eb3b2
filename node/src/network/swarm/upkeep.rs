//! What is looked after every second: places, bans, and what there is to say about the network.

use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::{ConnectedPeer, NetworkTask};
use crate::network::identity::peer_of_key;
use crate::network::status::NetworkStatus;

const PERIOD: Duration = Duration::from_secs(1);
/// At most one line about peers that may refuse this node in this time.
const REFUSAL_LINE_EVERY: Duration = Duration::from_mins(1);

impl NetworkTask {
    pub(super) fn upkeep_if_due(&mut self, now: Instant) {
        if self.upkeep_at > now {
            return;
        }
        self.upkeep_at = now + PERIOD;
        self.reserve_places();
        let behaviour = self.swarm.behaviour_mut();
        let scores = self.peers.keys().filter_map(|peer| Some((*peer, behaviour.gossip.peer_score(peer)?)));
        behaviour.door.set_scores(scores.collect());
        behaviour.door.lift_bans_due(now);
        behaviour.door.look_again();
        let change = self.gossip_health.check(now);
        self.tell_gossip_health(change);
        self.tell_status();
    }

    /// Keeps places for authorities and bootstrap peers, and handshakes for their hosts.
    pub(super) fn reserve_places(&mut self) {
        let authorities = self.links.watch_authorities().borrow().clone();
        let peers = authorities.iter().filter_map(|key| peer_of_key(key).ok()).chain(self.bootstrap.clone());
        self.swarm.behaviour_mut().door.reserve(peers.collect(), self.book.lasting_hosts());
    }

    /// A peer that lets this node in tells it by identify who it is. One that was dialed and has ended the
    /// connection before that has probably refused this node's key, which it has no way to say.
    pub(super) fn suspect_refusal(&mut self, peer: &PeerId, former: &ConnectedPeer) {
        if !former.is_dialed || former.is_identified {
            return;
        }
        self.metrics.refused_by_peers.inc();
        let now = Instant::now();
        if self.refusal_told_at.is_some_and(|told| now.saturating_duration_since(told) < REFUSAL_LINE_EVERY) {
            return;
        }
        self.refusal_told_at = Some(now);
        tracing::warn!(
            %peer, address = %former.address, own_key = %self.announcer.key(),
            "a peer that this node dialed has closed the connection at once: probably its chain has not admitted \
             this node's key. Ask an authority to admit it (evchain tx admit KEY --roles auditor), or have that peer list it \
             (--allow) or let in anybody (--open)"
        );
    }

    fn tell_status(&self) {
        let status = NetworkStatus {
            connected_peers: self.peers.len(),
            authority_links: usize::try_from(self.metrics.authority_links.get()).unwrap_or(0),
            authority_links_wanted: self.links.count(),
            gossip_failing_since: self.gossip_health.failing_since(),
        };
        self.metrics.gossip_failing.set(i64::from(status.gossip_failing_since.is_some()));
        self.status.send_if_modified(|told| {
            let is_news = *told != status;
            *told = status;
            is_news
        });
    }
}
