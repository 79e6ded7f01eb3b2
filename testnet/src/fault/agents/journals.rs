//! What the journals of an agent hold, seen from outside.

use std::fs;
use std::path::Path;
use std::time::Duration;

use evchain_node::agents::AgentError;
use evchain_node::agents::sessions::{self, EntryState, SessionEntry, Side};
use tokio_util::sync::CancellationToken;

/// How often a folder is looked at: less than it takes to write a record to a disk.
const POLL: Duration = Duration::from_micros(200);

const MAGIC_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;
const CHECK_BYTES: usize = 8;

/// Waits until the journals under an agent's state folder have so many records. Blocks its thread.
/// Whether it came to that before it was told to give up.
pub(super) fn wait_for_records(state: &Path, records: u32, give_up: &CancellationToken) -> bool {
    let folder = state.join("sessions");
    let mut seen = 0;
    loop {
        let bytes = bytes_in(&folder);
        // A journal only grows, so one that is as long as before has nothing new.
        if bytes > seen && records_in(&folder) >= records {
            return true;
        }
        seen = bytes;
        if records == 0 || give_up.is_cancelled() {
            return records == 0;
        }
        std::thread::sleep(POLL);
    }
}

/// Whether an agent has anything left to do.
pub(super) fn are_over(state: &Path) -> Result<bool, AgentError> {
    Ok(sessions::list(state)?.iter().all(|entry| entry.state == EntryState::Over))
}

/// What stands last in an agent's journals, for people.
pub(super) fn last_record(entries: &[SessionEntry]) -> String {
    let Some(entry) = entries.last() else { return "no journal yet".to_owned() };
    let SessionEntry { stage, side, producer, released, delivered, receipt, .. } = entry;
    match stage.as_str() {
        "the request is final" if producer.is_some() => "the bid is chosen".to_owned(),
        "opening" => "the session is to be opened".to_owned(),
        "charging" if released > delivered => "an installment is released".to_owned(),
        "charging" if *delivered > 0 => "an installment is delivered".to_owned(),
        "charging" => "the session is accepted".to_owned(),
        "completed" if *receipt => "the receipt is signed".to_owned(),
        "completed" => "the session has ended".to_owned(),
        stage if *side == Side::Sells && stage.ends_with("settled") => "the chain has settled".to_owned(),
        stage => stage.to_owned(),
    }
}

fn paths(folder: &Path) -> Vec<std::path::PathBuf> {
    // Before the first session there is no folder.
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn bytes_in(folder: &Path) -> u64 {
    // One that is renamed just now is there at the next look.
    paths(folder).iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum()
}

fn records_in(folder: &Path) -> u32 {
    paths(folder).iter().filter_map(|path| Some(complete_records(&fs::read(path).ok()?))).sum()
}

/// The complete records of a journal: each is its length, a check and its content.
pub(super) fn complete_records(bytes: &[u8]) -> u32 {
    let mut rest = bytes.get(MAGIC_BYTES..).unwrap_or_default();
    let mut records = 0;
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(next) = after.get(CHECK_BYTES + length..) else { break };
        rest = next;
        records += 1;
    }
    records
}
