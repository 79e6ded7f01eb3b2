use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use evchain_protocol::event::Event;
use evchain_protocol::primitives::{Epoch, TxRef, View};
use evchain_protocol::transaction::Action;

use super::lane::{Lane, Rank};
use super::sender::Waiting;

/// The transactions that may wait to do what one of them does for all (M18). Some parties and watchtowers do the same
/// at the same time, and one may fail.
pub(super) const SEATS: usize = 8;

/// What anybody may do, and of which one final transaction leaves the others nothing to do: they cost their senders
/// nothing then, so that a poor sender with many accounts could have thousands of them tried in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contest {
    /// To post a state of this channel (C12 of the ledger).
    Post(TxRef),
    /// To report an offence in this view (V4 of the ledger). Authorities do it for nothing, and have room of their own.
    Report(Epoch, View),
}

/// How much of it a transaction does, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Merit(u32);

/// Who waits in a contest, from who leaves first to who leaves last: whoever does the most stays, then whoever is to
/// be proposed first.
type Seat = (Merit, Reverse<Rank>);

impl Contest {
    /// What an action contends for, and how much of it it does.
    pub(super) fn of(action: &Action, lane: Lane) -> Option<(Self, Merit)> {
        match action {
            _ if lane == Lane::Free => None,
            Action::PostState(post) => {
                let state = post.state.state;
                Some((Self::Post(state.channel), Merit(state.released)))
            }
            Action::ReportOffence(report) => {
                Some((Self::Report(report.evidence.epoch(), report.evidence.view()), Merit(0)))
            }
            _ => None,
        }
    }

    /// What is over or harder to do since an event.
    pub(super) fn ended_by(event: &Event) -> Option<Self> {
        match event {
            Event::ChannelPosted { channel, .. }
            | Event::ChannelClosed { channel, .. }
            | Event::ChannelCancelled { channel, .. } => Some(Self::Post(*channel)),
            Event::OffenceRecorded { epoch, view, .. } => Some(Self::Report(*epoch, *view)),
            _ => None,
        }
    }
}

/// The ready transactions that contend, by what for.
#[derive(Debug, Default)]
pub(super) struct Contests(BTreeMap<Contest, BTreeSet<Seat>>);

impl Contests {
    /// Who has to leave so that one of this merit and rank has a seat: nobody while there are seats.
    ///
    /// # Errors
    /// Where nobody who waits is worse.
    pub(super) fn seat(&self, contest: Contest, merit: Merit, rank: Rank) -> Result<Option<Rank>, NoSeat> {
        let Some(seats) = self.0.get(&contest).filter(|seats| seats.len() >= SEATS) else { return Ok(None) };
        match seats.first() {
            Some(worst) if *worst < (merit, Reverse(rank)) => Ok(Some(worst.1.0)),
            _ => Err(NoSeat),
        }
    }

    pub(super) fn put(&mut self, waiting: &Waiting, rank: Rank) {
        if let Some((contest, merit)) = waiting.contest() {
            self.0.entry(contest).or_default().insert((merit, Reverse(rank)));
        }
    }

    pub(super) fn take(&mut self, waiting: &Waiting, rank: Rank) {
        let Some((contest, merit)) = waiting.contest() else { return };
        if let Some(seats) = self.0.get_mut(&contest) {
            seats.remove(&(merit, Reverse(rank)));
            if seats.is_empty() {
                self.0.remove(&contest);
            }
        }
    }

    /// The ranks of those that contend for this.
    pub(super) fn of(&self, contest: Contest) -> impl Iterator<Item = Rank> {
        self.0.get(&contest).into_iter().flatten().map(|(_, Reverse(rank))| *rank)
    }
}

/// All seats are taken by whom is not worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSeat;
