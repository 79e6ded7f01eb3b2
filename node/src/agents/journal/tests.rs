//! Goal: a journal gives back what was written, whatever a crash cut off, and says when it is damaged.
//! Method: files that are cut at every byte, or have a bit changed in every part of a record.

use super::{HEADER_BYTES, Journal, MAGIC, is_known, parents_of_missing, unfinished};
use crate::agents::AgentError;

async fn written(folder: &std::path::Path, records: &[u64]) -> std::path::PathBuf {
    let mut journal = Journal::<u64>::create(folder, "1-1").unwrap();
    let (first, rest) = records.split_first().unwrap();
    journal.append(first).await.unwrap();
    journal.append_all(rest).await.unwrap();
    journal.path().to_owned()
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[1, 2, 3]).await;
    let whole = std::fs::read(&path).unwrap();
    let record = (whole.len() - 8) / 3;
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let (mut journal, records) = Journal::<u64>::open(&path).unwrap();
        let complete = len.saturating_sub(8) / record;
        assert_eq!(records, [1, 2, 3][..complete], "cut at {len}");
        // It goes on behind what was kept.
        journal.append(&9).await.unwrap();
        drop(journal);
        let (_, records) = Journal::<u64>::open(&path).unwrap();
        assert_eq!(records.last(), Some(&9), "cut at {len}");
        assert_eq!(records.len(), complete + 1);
    }
}

#[tokio::test]
async fn damage_before_the_tail_is_no_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[1, 2, 3]).await;
    let whole = std::fs::read(&path).unwrap();
    let frame = (whole.len() - MAGIC.len()) / 3;
    // Lengths that are too short, too long for the file, too long for any record; check; content.
    for (record, bit) in (0..2).flat_map(|record| (0..frame * 8).map(move |bit| (record, bit))) {
        let mut bytes = whole.clone();
        bytes[MAGIC.len() + record * frame + bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes).unwrap();
        let opened = Journal::<u64>::open(&path);
        assert!(matches!(opened, Err(AgentError::Damaged { .. })), "bit {bit} of record {record}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing is cut off");
    }
}

#[tokio::test]
async fn a_wrong_length_of_the_last_record_is_no_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[1, 2, 3]).await;
    let whole = std::fs::read(&path).unwrap();
    let last = whole.len() - (whole.len() - MAGIC.len()) / 3;
    for bit in 0..32 {
        let mut bytes = whole.clone();
        bytes[last + bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Journal::<u64>::open(&path), Err(AgentError::Damaged { .. })), "bit {bit}");
    }
    // No record is so long, whatever it holds.
    let mut bytes = whole;
    bytes[last + 3] = 1;
    bytes[last + HEADER_BYTES] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(Journal::<u64>::open(&path), Err(AgentError::Damaged { .. })));
}

#[tokio::test]
async fn room_that_was_not_filled_is_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[1, 2, 3]).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - (bytes.len() - MAGIC.len()) / 3;
    bytes[last + HEADER_BYTES..].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Journal::<u64>::open(&path).unwrap().1, [1, 2]);
    bytes[last..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(Journal::<u64>::open(&path).unwrap().1, [1, 2]);
}

#[test]
fn the_parents_of_all_new_folders_are_synced() {
    let root = tempfile::tempdir().unwrap();
    let (state, sessions) = (root.path().join("state"), root.path().join("state/sessions"));
    assert_eq!(parents_of_missing(&sessions), [state.clone(), root.path().to_owned()]);
    Journal::<u64>::create(&sessions, "1-1").unwrap();
    assert!(parents_of_missing(&sessions).is_empty());
    assert_eq!(parents_of_missing(std::path::Path::new("no-such-folder")), [std::path::Path::new(".")]);
}

#[tokio::test]
async fn one_owner_and_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::<u64>::create(folder.path(), "1-1").unwrap();
    assert!(matches!(Journal::<u64>::open(journal.path()), Err(AgentError::InUse(_))));
    assert!(matches!(Journal::<u64>::create(folder.path(), "1-1"), Err(AgentError::Journal { .. })));
    assert_eq!(unfinished(folder.path()).unwrap().len(), 1);
    journal.close().unwrap();
    assert!(unfinished(folder.path()).unwrap().is_empty());
    assert!(is_known(folder.path(), "1-1") && !is_known(folder.path(), "1-2"));
}

#[tokio::test]
async fn a_journal_written_anew_holds_that_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[1, 2, 3]).await;
    // A crash left another attempt behind, which is not the journal.
    std::fs::write(path.with_extension("next"), b"half").unwrap();
    let (journal, records) = Journal::<u64>::open(&path).unwrap();
    assert_eq!(records, [1, 2, 3]);
    let mut journal = journal.replace(&[7]).unwrap();
    assert!(matches!(Journal::<u64>::open(&path), Err(AgentError::InUse(_))), "it has its owner still");
    journal.append(&8).await.unwrap();
    drop(journal);
    assert_eq!(Journal::<u64>::open(&path).unwrap().1, [7, 8]);
    assert_eq!(unfinished(folder.path()).unwrap(), [path]);
}
