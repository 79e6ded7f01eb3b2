//! What a producer has to ask its watchtower next, and when.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use evchain_protocol::primitives::TxRef;
use evchain_protocol::session::GuardRefusal;
use evchain_protocol::state::channel::CoSignedState;
use tokio::time::Instant;

/// The newest state of each session that runs.
pub(super) type Newest = BTreeMap<TxRef, CoSignedState>;

/// The first pause where the tower does not know the channel: its node may be a block behind.
const FIRST_WITHOUT_CHANNEL: Duration = Duration::from_secs(1);
/// The first pause where the tower has no room.
const FIRST_WITHOUT_ROOM: Duration = Duration::from_secs(10);
/// Pauses double up to this.
const LONGEST: Duration = Duration::from_mins(1);

/// The tower's last answer about one channel.
#[derive(Debug, Clone, Copy)]
enum Heard {
    /// It holds so many installments.
    Guarded(u32),
    /// It does not take the state that releases so many, and never will.
    Never(u32),
    /// It does not take any for a reason that may pass.
    NotNow { again: Instant, pause: Duration },
}

/// What the tower has answered, by channel.
#[derive(Debug, Default)]
pub(super) struct Questions {
    heard: BTreeMap<TxRef, Heard>,
    /// What was asked about last: the others come first.
    last: Option<TxRef>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for guard with this state.
    Ask(CoSignedState),
    /// Nothing, before this moment or a change.
    Wait(Option<Instant>),
}

impl Questions {
    /// A state that the tower has not answered to; of each channel in turn, so that a fast one does not
    /// keep the others waiting.
    pub(super) fn next(&mut self, newest: &Newest, now: Instant) -> Next {
        self.heard.retain(|channel, _| newest.contains_key(channel));
        let is_due = |state: &CoSignedState| match self.heard.get(&state.state.channel) {
            None => true,
            Some(Heard::Guarded(released) | Heard::Never(released)) => *released < state.state.released,
            Some(Heard::NotNow { again, .. }) => *again <= now,
        };
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let in_turn = newest.range((after, Bound::Unbounded)).chain(newest);
        if let Some((channel, state)) = in_turn.into_iter().find(|(_, state)| is_due(state)) {
            self.last = Some(*channel);
            return Next::Ask(*state);
        }
        let agains = self.heard.values().filter_map(|heard| match heard {
            Heard::NotNow { again, .. } => Some(*again),
            Heard::Guarded(_) | Heard::Never(_) => None,
        });
        Next::Wait(agains.min())
    }

    /// The tower answered to this state: it holds it or a newer one.
    pub(super) fn guarded(&mut self, state: &CoSignedState) {
        self.heard.insert(state.state.channel, Heard::Guarded(state.state.released));
    }

    /// The tower answered to this state: it does not take it; no reason where the answer made no sense.
    pub(super) fn refused(&mut self, state: &CoSignedState, reason: Option<GuardRefusal>, now: Instant) {
        let first = match reason {
            Some(GuardRefusal::NoChannel) => Some(FIRST_WITHOUT_CHANNEL),
            Some(GuardRefusal::Full | GuardRefusal::ClientFull) => Some(FIRST_WITHOUT_ROOM),
            _ => None,
        };
        let name = state.state.channel;
        let heard = match (first, self.heard.get(&name)) {
            (None, _) => Heard::Never(state.state.released),
            (Some(_), Some(Heard::NotNow { pause, .. })) => not_now(now, (*pause * 2).min(LONGEST)),
            (Some(first), _) => not_now(now, first),
        };
        self.heard.insert(name, heard);
    }

    /// The tower may have come back without what it had. What it refused it would refuse again.
    pub(super) fn connected(&mut self) {
        self.heard.retain(|_, heard| !matches!(heard, Heard::Guarded(_)));
    }
}

fn not_now(now: Instant, pause: Duration) -> Heard {
    Heard::NotNow { again: now + pause, pause }
}

#[cfg(test)]
mod tests;
