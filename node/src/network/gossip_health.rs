//! Whether gossip gets out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Failures of less than this are not worth a warning: the mesh is just forming, or a burst is over soon.
const WORTH_A_WARNING: Duration = Duration::from_secs(5);
/// After so long without another attempt, what a failure says is no longer true.
const FORGOTTEN: Duration = Duration::from_mins(1);
/// Heartbeats in a row, a second each, in which a peer's queue refused messages. A busy peer lets some
/// through; one that takes nothing for as long has a dead link, which only a new connection mends.
const SLOW_HEARTBEATS: u32 = 30;
/// Slow in two heartbeats with no more between them is slow in a row.
const IN_A_ROW: Duration = Duration::from_secs(3);

/// What is to be said about publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Fails,
    WorksAgain,
}

/// The outcomes of publishing, and the peers that do not take what they are sent.
#[derive(Debug, Default)]
pub(super) struct GossipHealth {
    failing: Option<Failing>,
    /// How many heartbeats in a row each peer was slow, and when it last was.
    slow: BTreeMap<PeerId, (u32, Instant)>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    is_told: bool,
}

impl GossipHealth {
    /// A message has gone to at least one peer.
    pub(super) fn published(&mut self) -> Option<Change> {
        self.failing.take().filter(|failing| failing.is_told).map(|_| Change::WorksAgain)
    }

    /// A message has gone to nobody although there are peers.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failing.get_or_insert(Failing { since: now, last: now, is_told: false }).last = now;
    }

    /// Since when every message has failed.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.since)
    }

    /// Looks whether it is time to say something.
    pub(super) fn check(&mut self, now: Instant) -> Option<Change> {
        let failing = self.failing.as_mut()?;
        if now.saturating_duration_since(failing.last) >= FORGOTTEN {
            return self.published();
        }
        let is_news = !failing.is_told && now.saturating_duration_since(failing.since) >= WORTH_A_WARNING;
        failing.is_told |= is_news;
        is_news.then_some(Change::Fails)
    }

    /// A peer did not take messages in the last heartbeat. Says whether its link counts as dead.
    pub(super) fn slow(&mut self, peer: PeerId, now: Instant) -> bool {
        let (count, last) = self.slow.entry(peer).or_insert((0, now));
        let in_a_row = now.saturating_duration_since(*last) <= IN_A_ROW;
        *count = if in_a_row { count.saturating_add(1) } else { 1 };
        *last = now;
        *count >= SLOW_HEARTBEATS
    }

    /// The peer's last connection has ended.
    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.slow.remove(peer);
    }
}
