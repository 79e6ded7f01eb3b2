use evchain_protocol::primitives::{Epoch, Timestamp, View};

use crate::wallet::{Recorded, RecordedVotes};

/// How many views the record beside the key is ahead of the votes, at most: one write of it, with its
/// syncs, for so many views. An older copy of the database that lacks no more is not noticed.
pub const VIEWS_RESERVED: View = View::new(64);

/// What a node finds when it starts with a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// What is noted beside the key.
    pub recorded: Recorded,
    /// How often a node has started with the key, as the database says; none if it never did with this
    /// database.
    pub starts: Option<u64>,
    /// The epoch that the database is in.
    pub epoch: Epoch,
    /// When that epoch began: the time of the block that it builds on.
    pub began: Timestamp,
    /// The highest view of that epoch in which the database has a vote of the key, or a finalization.
    pub seen: View,
    /// The time: a block with a later one is of after the start, by the clock of who made it.
    pub now: Timestamp,
}

/// Why a database may lack what the key has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    /// No record.
    #[error("there is no record beside the key of what it has signed, so it may have signed anything")]
    NoRecord,
    /// A record of a new key, and a chain that is not new.
    #[error(
        "the record beside the key says that it never voted on this chain; it is believed in a chain's first epoch only, as it may be an old copy"
    )]
    NewRecord,
    /// The database was wiped, or is another validator's.
    #[error("this key has voted on this chain up to epoch {0}, and with another database than this one")]
    OtherDatabase(Epoch),
    /// The database is from before a later start.
    #[error(
        "this database is an older copy: it knows of {known} starts with this key, and the record beside the key of {recorded}"
    )]
    OlderDatabase {
        /// The database's count.
        known: u64,
        /// The record's.
        recorded: u64,
    },
    /// The record is from before a later start.
    #[error(
        "the record beside the key is an older copy: it knows of {recorded} starts with this key, and the database of {known}"
    )]
    OlderRecord {
        /// The database's count.
        known: u64,
        /// The record's.
        recorded: u64,
    },
    /// The database is from an earlier epoch, copied during the last start.
    #[error(
        "this database is an older copy: it is in epoch {known}, and the key has voted in epoch {recorded}"
    )]
    EarlierEpoch {
        /// The database's.
        known: Epoch,
        /// The record's.
        recorded: Epoch,
    },
    /// The database is from earlier in the same epoch, copied during the last start.
    #[error(
        "this database is an older copy: it has come to view {seen}, and the key may have voted up to view {recorded}"
    )]
    EarlierView {
        /// The database's.
        seen: View,
        /// The record's.
        recorded: View,
    },
    /// As an earlier start found.
    #[error("an earlier start has found that the database may lack votes of this epoch")]
    FoundBefore,
    /// The epoch may have begun before the node knew what its key signs.
    #[error("the epoch began before this key was known to have signed nothing in it")]
    BegunBefore,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement {
    /// What is to be noted beside the key.
    pub votes: RecordedVotes,
    /// Why the key may not vote in the database's epoch; none if it may.
    pub doubt: Option<Doubt>,
}

/// Judges whether the database holds everything that the key has signed, and counts the start.
pub(super) fn judge(found: &Found) -> Judgement {
    match found.recorded {
        Recorded::Missing => unknown(found, 0, Doubt::NoRecord),
        Recorded::Never => judge_never(found),
        Recorded::Votes(votes) => judge_votes(found, votes),
    }
}

/// The record of a key that never voted. It counts in the first epoch only: a backup of a new key has such
/// a record for ever, and is put back one day.
fn judge_never(found: &Found) -> Judgement {
    match found.starts {
        // One start: the note beside the key was not written before a crash.
        None | Some(1) if found.epoch == Epoch::ZERO => {
            let votes = RecordedVotes { unknown_before: Some(found.now), ..fits(found, 0) };
            Judgement { votes, doubt: None }
        }
        None | Some(1) => unknown(found, 0, Doubt::NewRecord),
        Some(known) => unknown(found, 0, Doubt::OlderRecord { known, recorded: 0 }),
    }
}

fn judge_votes(found: &Found, votes: RecordedVotes) -> Judgement {
    let recorded = votes.starts;
    let Some(known) = found.starts else {
        return lacking(found, votes, Doubt::OtherDatabase(votes.epoch));
    };
    if known < recorded {
        return lacking(found, votes, Doubt::OlderDatabase { known, recorded });
    }
    // One more: the note beside the key was not written before a crash.
    if known > recorded.saturating_add(1) {
        return unknown(found, recorded, Doubt::OlderRecord { known, recorded });
    }
    if votes.epoch > found.epoch {
        let doubt = Doubt::EarlierEpoch { known: found.epoch, recorded: votes.epoch };
        return lacking(found, votes, doubt);
    }
    if votes.epoch == found.epoch {
        if votes.view == View::MAX {
            return lacking(found, votes, Doubt::FoundBefore);
        }
        if found.seen.saturating_add(VIEWS_RESERVED) < votes.view {
            let doubt = Doubt::EarlierView { seen: found.seen, recorded: votes.view };
            return lacking(found, votes, doubt);
        }
        let votes = RecordedVotes { unknown_before: votes.unknown_before, ..fits(found, recorded) };
        return Judgement { votes, doubt: None };
    }
    if votes.unknown_before.is_some_and(|moment| found.began <= moment) {
        let votes = RecordedVotes { starts: recorded.saturating_add(1), ..votes };
        return Judgement { votes, doubt: Some(Doubt::BegunBefore) };
    }
    Judgement { votes: fits(found, recorded), doubt: None }
}

/// The database holds everything.
fn fits(found: &Found, starts: u64) -> RecordedVotes {
    RecordedVotes {
        starts: starts.saturating_add(1),
        epoch: found.epoch,
        view: found.seen.saturating_add(VIEWS_RESERVED),
        unknown_before: None,
    }
}

/// The record is right and the database lacks votes: nothing in the record's epoch any more, at any start.
fn lacking(found: &Found, votes: RecordedVotes, doubt: Doubt) -> Judgement {
    let starts = votes.starts.max(found.starts.unwrap_or(0)).saturating_add(1);
    let may_vote =
        found.epoch > votes.epoch && votes.unknown_before.is_none_or(|moment| found.began > moment);
    if may_vote {
        // A database of a later epoch than any vote: nothing in it can contradict one.
        return Judgement { votes: RecordedVotes { starts, ..fits(found, 0) }, doubt: None };
    }
    Judgement { votes: RecordedVotes { starts, view: View::MAX, ..votes }, doubt: Some(doubt) }
}

/// Not even the record is right: nothing in any epoch that may have begun by now.
fn unknown(found: &Found, recorded: u64, doubt: Doubt) -> Judgement {
    let starts = recorded.max(found.starts.unwrap_or(0)).saturating_add(1);
    let epoch = match found.recorded {
        Recorded::Votes(votes) => votes.epoch.max(found.epoch),
        Recorded::Missing | Recorded::Never => found.epoch,
    };
    let votes = RecordedVotes { starts, epoch, view: View::MAX, unknown_before: Some(found.now) };
    Judgement { votes, doubt: Some(doubt) }
}
