//! What an agent must not forget: records in a file, each synced before the agent goes on.
//!
//! A file begins with [`MAGIC`]. A record is its length and the first bytes of its BLAKE3 hash, then
//! its encoding. A last record that was cut by a crash never mattered to anybody and is cut off.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::codec::{self, Decode, Encode};
use evchain_protocol::session::RecoverError;

use super::error::AgentError;
use super::sessions::EntryState;

const MAGIC: &[u8; 8] = b"evjrnl1\n";
const LENGTH_BYTES: usize = 4;
const CHECK_BYTES: usize = 8;
const HEADER_BYTES: usize = LENGTH_BYTES + CHECK_BYTES;
/// The longest record: a session's beginning with a secret for each of 1024 installments.
const MAX_RECORD_BYTES: usize = 128 * 1024;
/// The longest journal: every record of 1024 installments, several times over.
const MAX_JOURNAL_BYTES: u64 = 16 * 1024 * 1024;

/// How often a lock is tried that somebody holds: who only looks whether it is held has it for a moment.
const LOCK_ATTEMPTS: u32 = 3;
/// The pause between.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The ending of a journal under way.
const OPEN: &str = "journal";
/// The ending of a journal that nothing is left to do for.
const CLOSED: &str = "closed";

/// An open journal. Nobody else can open it.
#[derive(Debug)]
pub(super) struct Journal<R> {
    file: Arc<File>,
    path: PathBuf,
    records: PhantomData<fn(R)>,
}

impl<R: Encode + Decode<()>> Journal<R> {
    /// A new journal of this name. Only the owner can read it: it holds secrets that are worth money.
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self, AgentError> {
        let path = folder.join(format!("{name}.{OPEN}"));
        let create = || {
            let parents = parents_of_missing(folder);
            std::fs::create_dir_all(folder)?;
            // So that the folders have their names after a crash too, and then the file.
            for parent in parents {
                File::open(parent)?.sync_all()?;
            }
            let mut file =
                OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(MAGIC)?;
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
            Ok(file)
        };
        let file = create().map_err(AgentError::journal("create the journal", &path))?;
        Self::locked(file, path)
    }

    /// Opens a journal and reads it; cuts off a record that a crash left unfinished.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<R>), AgentError> {
        let failed = |action| AgentError::journal(action, path);
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(failed("open the journal"))?;
        let mut journal = Self::locked(file, path.to_owned())?;
        let bytes = journal.read_all().map_err(failed("read the journal"))?;
        let rest = match bytes.strip_prefix(MAGIC) {
            Some(rest) => rest,
            // A crash in `create`, before anything was written.
            None if bytes.len() < MAGIC.len() => {
                journal.cut(0, MAGIC).map_err(failed("mend the journal"))?;
                return Ok((journal, Vec::new()));
            }
            None => {
                let source = RecoverError::OutOfPlace(0);
                return Err(AgentError::Damaged { path: path.to_owned(), source });
            }
        };
        let (records, rest) = records_of(rest, path)?;
        journal.cut(bytes.len() - rest.len(), &[]).map_err(failed("mend the journal"))?;
        Ok((journal, records))
    }

    /// Writes a record; it is on disk when this returns.
    pub(super) async fn append(&mut self, record: &R) -> Result<(), AgentError> {
        self.append_all(std::slice::from_ref(record)).await
    }

    /// Writes records in their order; they are on disk when this returns. After a crash in between, the
    /// first ones may be there alone.
    pub(super) async fn append_all(&mut self, records: &[R]) -> Result<(), AgentError> {
        if records.is_empty() {
            return Ok(());
        }
        let frames: Vec<u8> = records.iter().flat_map(|record| frame(&codec::encode(record))).collect();
        let file = Arc::clone(&self.file);
        let write = move || {
            (&*file).write_all(&frames)?;
            file.sync_data()
        };
        let written =
            tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(AgentError::journal("write the journal", &self.path))
    }

    /// Writes these records in place of all, and is on disk when it returns. After a crash the file holds
    /// the old ones or these.
    pub(super) fn replace(self, records: &[R]) -> Result<Self, AgentError> {
        let next = self.path.with_extension("next");
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
            file.try_lock()?;
            let frames: Vec<u8> = records.iter().flat_map(|record| frame(&codec::encode(record))).collect();
            file.write_all(MAGIC)?;
            file.write_all(&frames)?;
            file.sync_all()?;
            std::fs::rename(&next, &self.path)?;
            if let Some(folder) = self.path.parent() {
                File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        let file = write().map_err(AgentError::journal("write the journal anew", &self.path))?;
        Ok(Self { file: Arc::new(file), path: self.path, records: PhantomData })
    }

    /// Marks the journal as one that nothing is left to do for.
    pub(super) fn close(self) -> Result<(), AgentError> {
        let closed = self.path.with_extension(CLOSED);
        std::fs::rename(&self.path, closed).map_err(AgentError::journal("close the journal", &self.path))
    }

    /// Removes a journal without a record, as if it had never been.
    pub(super) fn discard(self) -> Result<(), AgentError> {
        std::fs::remove_file(&self.path).map_err(AgentError::journal("remove the empty journal", &self.path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn locked(file: File, path: PathBuf) -> Result<Self, AgentError> {
        for attempt in 1..=LOCK_ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file: Arc::new(file), path, records: PhantomData }),
                Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(source)) => {
                    return Err(AgentError::journal("lock the journal", &path)(source));
                }
            }
        }
        Err(AgentError::InUse(path))
    }

    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&*self.file).take(MAX_JOURNAL_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_JOURNAL_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than a journal can be"));
        }
        Ok(bytes)
    }

    /// Keeps the first `len` bytes, appends `more`, and stands at the end.
    fn cut(&mut self, len: usize, more: &[u8]) -> io::Result<()> {
        let mut file = &*self.file;
        file.set_len(len as u64)?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(more)?;
        file.sync_all()
    }
}

/// The journals in a folder that something is left to do for, in the order of their names.
pub(super) fn unfinished(folder: &Path) -> Result<Vec<PathBuf>, AgentError> {
    let mut paths = all(folder)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == OPEN));
    Ok(paths)
}

/// What a journal's file is named, without its ending.
pub(super) fn name_of(path: &Path) -> String {
    path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The journals in a folder, in the order of their names. None where there is no folder.
pub(super) fn all(folder: &Path) -> Result<Vec<PathBuf>, AgentError> {
    let list = || {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == OPEN || ending == CLOSED) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    };
    match list() {
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(AgentError::journal("list the journals in", folder)),
    }
}

/// What a journal holds, read without opening it.
pub(super) struct Peeked<R> {
    pub(super) records: Vec<R>,
    pub(super) state: EntryState,
}

/// Reads a journal that an agent may be writing.
pub(super) fn peek<R: Encode + Decode<()>>(path: &Path) -> Result<Peeked<R>, AgentError> {
    let file = File::open(path).map_err(AgentError::journal("open the journal", path))?;
    let state = match (path.extension().is_some_and(|ending| ending == CLOSED), file.try_lock_shared()) {
        (true, _) => EntryState::Over,
        (false, Ok(())) => EntryState::Interrupted,
        (false, Err(_)) => EntryState::Running,
    };
    // An agent that comes now must not find it held.
    file.unlock().map_err(AgentError::journal("unlock", path))?;
    let mut bytes = Vec::new();
    (&file).take(MAX_JOURNAL_BYTES).read_to_end(&mut bytes).map_err(AgentError::journal("read", path))?;
    let rest = bytes.strip_prefix(MAGIC).unwrap_or_default();
    let (records, _) = records_of(rest, path)?;
    Ok(Peeked { records, state })
}

/// The complete records in these bytes, and what is behind them.
fn records_of<'a, R: Decode<()> + Encode>(
    mut rest: &'a [u8],
    path: &Path,
) -> Result<(Vec<R>, &'a [u8]), AgentError> {
    let damaged =
        |place| AgentError::Damaged { path: path.to_owned(), source: RecoverError::OutOfPlace(place) };
    let mut records = Vec::new();
    while let Some((record, after)) = next_record(rest).map_err(|Broken| damaged(records.len()))? {
        records.push(codec::decode(record, MAX_RECORD_BYTES).map_err(|_| damaged(records.len()))?);
        rest = after;
    }
    Ok((records, rest))
}

/// Where a journal of this name is when nothing is left to do for it.
pub(super) fn closed(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{CLOSED}"))
}

/// Whether there is, or was, a journal of this name.
pub(super) fn is_known(folder: &Path, name: &str) -> bool {
    [OPEN, CLOSED].iter().any(|ending| folder.join(format!("{name}.{ending}")).exists())
}

/// A record's bytes, and what follows it.
type RecordAndRest<'a> = (&'a [u8], &'a [u8]);

/// A frame that a crash cannot explain.
struct Broken;

/// The next record's bytes and what follows it; none at the end, or before a frame that was cut.
///
/// A crash cuts the last frame short, or leaves zeros where it should be. Nothing whole stands behind it, and
/// what its length says stands there as it was written: all else is damage, and cutting it off would
/// forget what was promised.
fn next_record(bytes: &[u8]) -> Result<Option<RecordAndRest<'_>>, Broken> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let (length, check) = header.split_at(LENGTH_BYTES);
    let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
    if length == 0 || length > MAX_RECORD_BYTES {
        return Err(Broken);
    }
    match rest.split_at_checked(length) {
        Some((record, after)) if check_of(record) == check => Ok(Some((record, after))),
        Some((_, after)) if after.iter().any(|byte| *byte != 0) => Err(Broken),
        // All of a record under another length.
        _ if check_of(rest) == check => Err(Broken),
        _ if holds_a_frame(rest) => Err(Broken),
        _ => Ok(None),
    }
}

/// Whether a whole frame begins somewhere in these bytes, which are no more than a record's.
fn holds_a_frame(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|start| {
        let Some((header, rest)) = bytes[start..].split_at_checked(HEADER_BYTES) else { return false };
        let (length, check) = header.split_at(LENGTH_BYTES);
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
        length > 0 && rest.get(..length).is_some_and(|record| check_of(record) == check)
    })
}

/// The folders that get a new entry when this one is made.
fn parents_of_missing(folder: &Path) -> Vec<PathBuf> {
    let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let parents = missing.filter_map(Path::parent).map(|parent| match parent {
        // The parent of a relative path's first part.
        parent if parent.as_os_str().is_empty() => PathBuf::from("."),
        parent => parent.to_owned(),
    });
    parents.collect()
}

fn frame(record: &[u8]) -> Vec<u8> {
    debug_assert!(record.len() <= MAX_RECORD_BYTES, "records have bounded parts");
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), check_of(record).as_slice(), record].concat()
}

fn check_of(record: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(record).as_bytes()[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests;
