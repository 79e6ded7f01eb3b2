//! Goal: a key votes only with a database that holds all that it has signed, a crash at any moment locks
//! nobody out, and nobody is let in by restarting.
//! Method: what a start can find, as a table; then real records and databases in a folder, put into the states
//! that crashes, lost files and copies leave.

use std::fs;
use std::path::{Path, PathBuf};

use evchain_consensus::wal::LogRecord;
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey, Signature};
use evchain_protocol::finality::{Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};
use tempfile::TempDir;

use super::super::log::{ConsensusLog, RecoveredLog};
use super::judge::{Doubt, Found, Judgement, VIEWS_RESERVED, judge};
use super::right::{Standing, VotingError, VotingRight};
use crate::store::{Durability, Store};
use crate::wallet::{RecordError, Recorded, RecordedVotes, VotingRecord};

const CHAIN: ChainId = ChainId(Hash::from_bytes([7; 32]));
const START: Timestamp = Timestamp::new(5_000);

fn recorded(starts: u64, epoch: u64, view: u64) -> RecordedVotes {
    RecordedVotes { starts, epoch: Epoch::new(epoch), view: View::new(view), unknown_before: None }
}

/// A database of epoch 3 that has come to view 100 and knows of this many starts.
fn found(recorded: Recorded, starts: Option<u64>) -> Found {
    Found {
        recorded,
        starts,
        epoch: Epoch::new(3),
        began: Timestamp::new(4_000),
        seen: View::new(100),
        now: START,
    }
}

fn doubt(found: Found) -> Option<Doubt> {
    judge(&found).doubt
}

#[test]
fn a_database_that_fits_the_record_may_vote_and_any_other_may_not() {
    let votes = |starts, epoch, view| Recorded::Votes(recorded(starts, epoch, view));
    let epoch = Epoch::new;
    let view = View::new;
    let judged = [
        // The same count, and up to the views that are reserved.
        (found(votes(9, 3, 120), Some(9)), None),
        (found(votes(9, 3, 164), Some(9)), None),
        // Between the two notes of a start.
        (found(votes(9, 3, 120), Some(10)), None),
        // The database was in a later epoch than any vote, as while the key was no authority's.
        (found(votes(9, 2, 800), Some(9)), None),
        (found(votes(9, 2, 800), Some(8)), None),
        (found(votes(9, 2, u64::MAX), None), None),
        // Wiped, or of another key.
        (found(votes(9, 3, 120), None), Some(Doubt::OtherDatabase(epoch(3)))),
        (found(votes(9, 7, 120), None), Some(Doubt::OtherDatabase(epoch(7)))),
        // Copied before a later start, in the same epoch too.
        (found(votes(9, 3, 120), Some(8)), Some(Doubt::OlderDatabase { known: 8, recorded: 9 })),
        // Copied while the node ran.
        (found(votes(9, 3, 165), Some(9)), Some(Doubt::EarlierView { seen: view(100), recorded: view(165) })),
        (found(votes(9, 4, 64), Some(9)), Some(Doubt::EarlierEpoch { known: epoch(3), recorded: epoch(4) })),
        // A record put back from a backup.
        (found(votes(7, 3, 120), Some(9)), Some(Doubt::OlderRecord { known: 9, recorded: 7 })),
        (found(Recorded::Never, Some(9)), Some(Doubt::OlderRecord { known: 9, recorded: 0 })),
        (found(Recorded::Never, None), Some(Doubt::NewRecord)),
        // A record that is lost, with the database or without.
        (found(Recorded::Missing, Some(9)), Some(Doubt::NoRecord)),
        (found(Recorded::Missing, None), Some(Doubt::NoRecord)),
        // What an earlier start found stays.
        (found(votes(9, 3, u64::MAX), Some(9)), Some(Doubt::FoundBefore)),
    ];
    for (found, expected) in judged {
        assert_eq!(doubt(found), expected, "{found:?}");
    }
}

#[test]
fn a_doubt_outlasts_restarts_and_ends_with_the_epoch() {
    let copies = [
        found(Recorded::Votes(recorded(9, 3, 120)), Some(8)),
        found(Recorded::Votes(recorded(9, 3, 120)), None),
        found(Recorded::Votes(recorded(9, 3, 900)), Some(9)),
        found(Recorded::Votes(recorded(7, 3, 120)), Some(9)),
        found(Recorded::Missing, Some(9)),
        found(Recorded::Never, None),
    ];
    for first in copies {
        let Judgement { votes, doubt: Some(_) } = judge(&first) else { panic!("{first:?}") };
        // Once more, after it has caught up: the count fits now.
        let again = Found {
            recorded: Recorded::Votes(votes),
            starts: Some(votes.starts),
            seen: View::new(5_000),
            ..first
        };
        assert_eq!(doubt(again), Some(Doubt::FoundBefore), "{first:?}");
        // In the next epoch, which has begun after the first start.
        let next = Found { epoch: Epoch::new(4), began: Timestamp::new(6_000), ..again };
        assert_eq!(doubt(next), None, "{first:?}");
    }
}

/// Not even the record says in which epoch the key has voted last: whatever the database catches up to, the
/// epoch in which it began to is not voted in.
#[test]
fn a_lost_record_counts_for_every_epoch_that_had_begun() {
    let wiped = Found { epoch: Epoch::ZERO, seen: View::ZERO, ..found(Recorded::Missing, None) };
    let Judgement { votes, .. } = judge(&wiped);
    let caught_up = |epoch, began| Found {
        recorded: Recorded::Votes(votes),
        starts: Some(votes.starts),
        epoch: Epoch::new(epoch),
        began: Timestamp::new(began),
        ..wiped
    };
    assert_eq!(doubt(caught_up(8, START.get())), Some(Doubt::BegunBefore));
    assert_eq!(doubt(caught_up(9, START.get() + 1)), None);
}

/// The record that is made with a key lets it vote in a chain's first epoch, and is no way in later: it is in
/// every backup of the key.
#[test]
fn a_new_key_votes_in_the_first_epoch() {
    let new = Found { epoch: Epoch::ZERO, seen: View::ZERO, ..found(Recorded::Never, None) };
    let Judgement { votes, doubt: None } = judge(&new) else { panic!("it may vote") };
    assert_eq!(votes.unknown_before, Some(START));
    assert_eq!(doubt(Found { starts: Some(1), ..new }), None, "a crash before the note beside the key");
    let again = Found { recorded: Recorded::Votes(votes), starts: Some(1), ..new };
    assert_eq!(doubt(again), None);
    let caught_up = Found { epoch: Epoch::new(3), ..again };
    assert_eq!(doubt(caught_up), Some(Doubt::BegunBefore));
}

/// A validator's files.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(files.key_file(), "the test holds the key").unwrap();
        files.record().create().unwrap();
        files
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn record(&self) -> VotingRecord {
        VotingRecord::beside(&self.key_file())
    }

    fn votes(&self) -> RecordedVotes {
        match self.record().read(CHAIN).unwrap() {
            Recorded::Votes(votes) => votes,
            other => panic!("{other:?}"),
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    fn log(&self) -> RecoveredLog {
        ConsensusLog::open(Store::open(&self.database()).unwrap()).unwrap()
    }

    /// A start in the first epoch, or in one that began later than anything else.
    fn start(&self, epoch: u64) -> (VotingRight, ConsensusLog) {
        let RecoveredLog { mut log, records } = self.log();
        let standing = standing(epoch);
        let right =
            VotingRight::at_start(&self.key_file(), key(), standing, &mut log, &records, false).unwrap();
        (right, log)
    }

    fn may_vote(&self, epoch: u64) -> bool {
        self.start(epoch).0.may_vote()
    }

    /// Puts a copy in place of a folder.
    fn put_back(copy: &TempDir, to: &Path) {
        if to.exists() {
            fs::remove_dir_all(to).unwrap();
        }
        fs::create_dir(to).unwrap();
        copy_files(copy.path(), to);
    }
}

fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_files(folder, copy.path());
    copy
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn key() -> PublicKey {
    KeyPair::from_secret(&[1; 32]).public_key()
}

fn standing(epoch: u64) -> Standing {
    Standing {
        chain: CHAIN,
        epoch: Epoch::new(epoch),
        began: if epoch == 0 { Timestamp::new(1_000) } else { Timestamp::MAX },
        last_height: Height::new(1_000),
        height: Height::new(10),
        final_view: View::ZERO,
        is_member: true,
    }
}

fn vote(epoch: u64, view: u64) -> LogRecord {
    let subject = Subject::nullify(Epoch::new(epoch), View::new(view));
    LogRecord::Vote(Vote {
        subject,
        signer: AuthorityIndex::new(0),
        signature: Signature::from_bytes([0; Signature::LEN]),
    })
}

/// Votes as the event loop does: in the log first, then noted beside the key, then said.
fn votes(right: &mut VotingRight, log: &mut ConsensusLog, epoch: u64, views: std::ops::RangeInclusive<u64>) {
    for view in views {
        let records = [vote(epoch, view)];
        log.append(&records, Durability::Synced).unwrap();
        right.reserve(&records).unwrap();
    }
}

/// Each state that a kill leaves between two writes of a start, again and again.
#[test]
fn a_crash_at_any_moment_of_a_start_locks_nobody_out() {
    let files = Files::new();
    for round in 0..3 {
        // Killed after the note in the database, thrice in a row, with a torn new record beside the old one.
        for _ in 0..3 {
            let record = fs::read(files.record().path()).unwrap();
            assert!(files.may_vote(0), "round {round}");
            fs::write(files.record().path(), &record).unwrap();
            fs::write(files.folder.path().join("key.voted.new"), "{\"ver").unwrap();
        }
        assert!(files.may_vote(0), "round {round}");
        // Killed after both, before the first vote.
        assert!(files.may_vote(0), "round {round}");
        // Killed after a vote was logged and before it was noted beside the key.
        let (right, mut log) = files.start(0);
        assert!(right.may_vote());
        let next = files.votes().view.get() + 1;
        log.append(&[vote(0, next)], Durability::Synced).unwrap();
    }
    assert!(files.may_vote(0));

    // Killed between the notes: the one in the database is there, as a record ahead of it shows an older copy.
    let recorded = files.votes().starts;
    fs::remove_file(files.key_file()).unwrap();
    let RecoveredLog { mut log, records } = files.log();
    let start = VotingRight::at_start(&files.key_file(), key(), standing(0), &mut log, &records, false);
    assert!(start.is_err(), "the record cannot be written without its key");
    assert_eq!(log.starts_of(key()).unwrap(), Some(recorded + 1));
    drop(log);
    fs::write(files.key_file(), "the test holds the key").unwrap();
    assert!(files.may_vote(0));
}

#[test]
fn what_is_noted_is_ahead_of_every_vote_and_rarely_written() {
    let files = Files::new();
    let (mut right, mut log) = files.start(0);
    let mut writes = 0;
    let mut before = files.votes();
    for view in 1..=1_000 {
        votes(&mut right, &mut log, 0, view..=view);
        let now = files.votes();
        assert!(now.view >= View::new(view));
        writes += u64::from(now != before);
        before = now;
    }
    assert_eq!(writes, 1_000 / (VIEWS_RESERVED.get() + 1));
    drop((right, log));
    assert!(files.may_vote(0), "killed, with all its votes");
}

#[test]
fn an_older_database_of_the_same_epoch_does_not_vote() {
    // From before the last start.
    let files = Files::new();
    drop(files.start(0));
    let copy = copy_of(&files.database());
    drop(files.start(0));
    Files::put_back(&copy, &files.database());
    assert!(!files.may_vote(0));
    assert!(!files.may_vote(0), "nor when it starts again");
    assert!(files.may_vote(1), "the next epoch is another matter");

    // From the time since the last start.
    let files = Files::new();
    let (mut right, mut log) = files.start(0);
    votes(&mut right, &mut log, 0, 1..=10);
    drop(log);
    let copy = copy_of(&files.database());
    let RecoveredLog { mut log, .. } = files.log();
    votes(&mut right, &mut log, 0, 11..=200);
    drop(log);
    Files::put_back(&copy, &files.database());
    assert!(!files.may_vote(0));
}

/// Killed between the two notes of a start that finds an older copy: the next start must not take the copy for
/// one that was killed in an honest start.
#[test]
fn a_crash_while_a_copy_is_found_out_makes_nothing_of_it() {
    let files = Files::new();
    drop(files.start(0));
    let copy = copy_of(&files.database());
    drop(files.start(0));
    drop(files.start(0));
    Files::put_back(&copy, &files.database());
    // Without its key the record cannot be written, and the start ends there.
    fs::remove_file(files.key_file()).unwrap();
    let RecoveredLog { mut log, records } = files.log();
    let start = VotingRight::at_start(&files.key_file(), key(), standing(0), &mut log, &records, false);
    assert!(start.is_err());
    drop(log);
    fs::write(files.key_file(), "the test holds the key").unwrap();
    assert!(!files.may_vote(0), "killed before the note beside the key");
    Files::put_back(&copy, &files.database());
    assert!(!files.may_vote(0), "killed after it");
}

#[test]
fn a_lost_record_or_database_is_noticed() {
    let files = Files::new();
    drop(files.start(0));
    fs::remove_file(files.record().path()).unwrap();
    assert!(!files.may_vote(0), "a database that has voted, and no record of it");
    assert!(!files.may_vote(0), "the record that was made then says no more");

    let files = Files::new();
    drop(files.start(0));
    fs::remove_dir_all(files.database()).unwrap();
    assert!(!files.may_vote(0));

    let files = Files::new();
    fs::remove_file(files.record().path()).unwrap();
    assert!(!files.may_vote(0), "neither: nobody knows");
    let (mut right, mut log) = files.start(0);
    // It catches up, and comes to an epoch that begins while it runs.
    let mut begins = |epoch, at| right.begin_epoch(Epoch::new(epoch), Timestamp::new(at), &mut log).unwrap();
    assert!(!begins(1, 2_000));
    assert!(begins(2, u64::MAX));
    drop(log);
    assert!(files.may_vote(2));
}

#[test]
fn an_operator_can_say_that_the_database_is_whole() {
    let files = Files::new();
    drop(files.start(0));
    fs::remove_file(files.record().path()).unwrap();
    let RecoveredLog { mut log, records } = files.log();
    let start = VotingRight::at_start(&files.key_file(), key(), standing(0), &mut log, &records, true);
    assert!(start.unwrap().may_vote());
    drop(log);
    assert!(files.may_vote(0), "and need not say so again");
}

#[test]
fn two_nodes_with_one_key_file_are_noticed_by_the_first() {
    let files = Files::new();
    let (mut right, mut log) = files.start(0);
    let second = tempfile::tempdir().unwrap();
    let RecoveredLog { log: mut other, records } =
        ConsensusLog::open(Store::open(&second.path().join("db")).unwrap()).unwrap();
    let late =
        VotingRight::at_start(&files.key_file(), key(), standing(0), &mut other, &records, false).unwrap();
    assert!(!late.may_vote());
    let records = [vote(0, 100)];
    assert!(matches!(right.reserve(&records), Err(RecordError::OtherStart(_))));
    let next = right.begin_epoch(Epoch::new(1), Timestamp::MAX, &mut log);
    assert!(matches!(next, Err(VotingError::Record(RecordError::OtherStart(_)))));
}

#[test]
fn an_observer_notes_nothing() {
    let files = Files::new();
    let RecoveredLog { mut log, .. } = files.log();
    let mut right = VotingRight::observer(key());
    assert!(!right.may_vote());
    assert!(!right.begin_epoch(Epoch::new(1), Timestamp::MAX, &mut log).unwrap());
    right.reserve(&[vote(1, 5)]).unwrap();
    assert_eq!(files.record().read(CHAIN).unwrap(), Recorded::Never);
    assert_eq!(log.starts_of(key()).unwrap(), None);
}

#[test]
fn a_record_that_cannot_be_understood_stops_the_start() {
    let files = Files::new();
    for text in ["", "aa11 3\n", "{\"version\":2,\"chains\":{}}", "{\"version\":1,\"chains\":{\"a\":3}}"] {
        fs::write(files.record().path(), text).unwrap();
        let error = files.record().read(CHAIN).expect_err(text).to_string();
        assert!(error.contains("move it away"), "{error}");
    }
}
