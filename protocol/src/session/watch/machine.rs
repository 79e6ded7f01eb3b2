//! The watchtower's machine (`docs/session.md`, W1-W9).

use std::collections::BTreeMap;

use crate::crypto::{ChainId, PublicKey};
use crate::primitives::{Span, Timestamp, TxRef};
use crate::session::outcome::RecoverError;
use crate::session::terms::later;
use crate::state::channel::{Channel, CoSignedState, INITIAL_RELEASED, PostedState};

use super::io::{GuardRecord, WatchInput, WatchOutput, WatchPolicy, WatchRecord};
use super::messages::{GuardRefusal, Guarded, Refused, WatchMessage};

/// Where a tower is with one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is to be done.
    Watching,
    /// A post is on its way.
    Posting,
    /// A post failed, and is due again at this moment.
    Failed(Timestamp),
}

/// One channel under guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    channel: Channel,
    state: CoSignedState,
    phase: Phase,
    /// Whether a post was begun, ever.
    posted: bool,
}

impl Guard {
    /// The channel, as the final chain had it when the tower last looked.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Installments that the newest state releases.
    pub const fn released(&self) -> u32 {
        self.state.state.released
    }

    /// What is posted is asked for anew after a crash.
    const fn record(&self) -> GuardRecord {
        GuardRecord { channel: Channel { posted: None, ..self.channel }, state: self.state }
    }

    /// W5: so early that a challenge period may begin, and after the window (C3 of the ledger).
    fn post_at(&self, lead: Span) -> Timestamp {
        self.channel.deadline.before(lead.min(self.channel.challenge))
    }
}

/// Holds for each channel under guard the newest state that both signed, and says when to post it.
#[derive(Debug, Clone)]
pub struct Watchtower {
    chain: ChainId,
    policy: WatchPolicy,
    guards: BTreeMap<TxRef, Guard>,
    chain_time: Timestamp,
}

impl Watchtower {
    /// A tower that guards nothing yet.
    pub const fn new(chain: ChainId, policy: WatchPolicy) -> Self {
        Self { chain, policy, guards: BTreeMap::new(), chain_time: Timestamp::ZERO }
    }

    /// The tower that persisted these records, in their order. It has to be told what the chain has
    /// of each channel (W7) before it can act.
    ///
    /// # Errors
    /// [`RecoverError`]: the records are damaged.
    pub fn recover(
        chain: ChainId,
        policy: WatchPolicy,
        records: &[WatchRecord],
    ) -> Result<Self, RecoverError> {
        let mut tower = Self::new(chain, policy);
        for (place, record) in records.iter().enumerate() {
            tower.replay(record).ok_or(RecoverError::OutOfPlace(place))?;
        }
        Ok(tower)
    }

    /// Books one record; `None` if it does not follow from those before it.
    fn replay(&mut self, record: &WatchRecord) -> Option<()> {
        match record {
            WatchRecord::Guarded(GuardRecord { channel, state }) => {
                let guard = Guard { channel: *channel, state: *state, phase: Phase::Watching, posted: false };
                let before = self.guards.insert(state.state.channel, guard);
                before
                    .is_none_or(|before| !before.posted && before.released() < guard.released())
                    .then_some(())
            }
            WatchRecord::Posted(name) => {
                self.guards.get_mut(name)?.posted = true;
                Some(())
            }
            WatchRecord::Ended(name) => self.guards.remove(name).map(drop),
        }
    }

    /// The fewest records that give this tower (W9).
    pub fn records(&self) -> Vec<WatchRecord> {
        let guarded = self.guards.values().map(|guard| WatchRecord::Guarded(guard.record()));
        let posted = self.guards.iter().filter(|(_, guard)| guard.posted);
        guarded.chain(posted.map(|(name, _)| WatchRecord::Posted(*name))).collect()
    }

    /// The channels under guard, by their names.
    pub const fn guards(&self) -> &BTreeMap<TxRef, Guard> {
        &self.guards
    }

    /// When to call [`Self::step`] with [`WatchInput::Timeout`], unless something comes before.
    pub fn deadline(&self) -> Option<Timestamp> {
        let due = |guard: &Guard| match (guard.phase, guard.channel.posted) {
            (Phase::Watching, None) => Some(guard.post_at(self.policy.lead)),
            (Phase::Failed(at), _) => Some(at),
            _ => None,
        };
        self.guards.values().filter_map(due).min()
    }

    /// Takes one input at this moment of the own clock and appends what is to be done.
    pub fn step(&mut self, now: Timestamp, input: &WatchInput, out: &mut Vec<WatchOutput>) {
        match *input {
            // W1, W2, W3
            WatchInput::Guard { from, state, found } => {
                let name = state.state.channel;
                let answer = match self.guard(now, from, state, found, out) {
                    Ok(released) => WatchMessage::Guarded(Guarded { channel: name, released }),
                    Err(reason) => WatchMessage::Refused(Refused { channel: name, reason }),
                };
                out.push(WatchOutput::Answer(answer));
                self.look(now, name, out);
            }
            // W7
            WatchInput::Found(name, Some(found)) => {
                let posted = |channel: &Channel| channel.posted.map(|posted| posted.released);
                if let Some(guard) = self.guards.get_mut(&name)
                    && posted(&found) >= posted(&guard.channel)
                {
                    guard.channel = found;
                }
                self.look(now, name, out);
            }
            // W8
            WatchInput::Found(name, None) => {
                if self.guards.remove(&name).is_some() {
                    out.push(WatchOutput::Persist(WatchRecord::Ended(name)));
                }
            }
            WatchInput::Failed(name) => {
                let again = later(now, self.policy.retry);
                if let Some(guard) = self.guards.get_mut(&name)
                    && guard.phase == Phase::Posting
                {
                    guard.phase = Phase::Failed(again); // W6
                }
            }
            WatchInput::ChainTime(time) => {
                self.chain_time = self.chain_time.max(time);
                self.look_at_all(now, out);
            }
            WatchInput::Timeout => self.look_at_all(now, out),
        }
    }

    /// W1 to W3. Gives what is held after it.
    fn guard(
        &mut self,
        now: Timestamp,
        from: PublicKey,
        state: CoSignedState,
        found: Option<Channel>,
        out: &mut Vec<WatchOutput>,
    ) -> Result<u32, GuardRefusal> {
        let name = state.state.channel;
        let held = self.guards.get(&name).copied();
        let channel = held.map(|guard| guard.channel).or(found).ok_or(GuardRefusal::NoChannel)?;
        // W1
        if channel.due() <= now.max(self.chain_time) {
            return Err(GuardRefusal::NoChannel);
        }
        if channel.producer != from {
            return Err(GuardRefusal::NotProducer);
        }
        let released = state.state.released;
        if released <= INITIAL_RELEASED || released > channel.count.get() {
            return Err(GuardRefusal::OutOfRange);
        }
        state.verify(&channel, self.chain).map_err(|_| GuardRefusal::NotSigned)?;
        match held {
            // W2
            Some(guard) if guard.released() >= released => return Ok(guard.released()),
            Some(guard) if guard.posted => return Err(GuardRefusal::Answered),
            Some(_) => {}
            // W3
            None => {
                let of_client = self.guards.values().filter(|guard| guard.channel.producer == from).count();
                if of_client >= self.policy.max_channels_per_client {
                    return Err(GuardRefusal::ClientFull);
                }
                if self.guards.len() >= self.policy.max_channels {
                    return Err(GuardRefusal::Full);
                }
            }
        }
        let guard = Guard { channel, state, phase: Phase::Watching, posted: false };
        out.push(WatchOutput::Persist(WatchRecord::Guarded(guard.record())));
        self.guards.insert(name, guard);
        Ok(released)
    }

    fn look_at_all(&mut self, now: Timestamp, out: &mut Vec<WatchOutput>) {
        let names: Vec<TxRef> = self.guards.keys().copied().collect();
        for name in names {
            self.look(now, name, out);
        }
    }

    /// Posts what is held of a channel where it has to.
    fn look(&mut self, now: Timestamp, name: TxRef, out: &mut Vec<WatchOutput>) {
        let moment = now.max(self.chain_time);
        let lead = self.policy.lead;
        let Some(guard) = self.guards.get_mut(&name) else { return };
        let is_needed = match guard.channel.posted {
            Some(PostedState { released, .. }) => released < guard.released(), // W4
            None => moment >= guard.post_at(lead),                             // W5
        };
        guard.phase = match (guard.phase, is_needed) {
            (_, false) => Phase::Watching, // W7
            (Phase::Posting, true) => Phase::Posting,
            (Phase::Failed(again), true) if now < again => Phase::Failed(again),
            (Phase::Watching | Phase::Failed(_), true) => {
                if !std::mem::replace(&mut guard.posted, true) {
                    out.push(WatchOutput::Persist(WatchRecord::Posted(name)));
                }
                out.push(WatchOutput::Post(guard.state)); // W4, W5, W6
                Phase::Posting
            }
        };
    }
}
