use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::FaultError;
use super::report::FaultKind;
use super::run::{FaultOptions, Outcome};
use super::tool::tool;
use super::trial::{ALL, BOUND, Trial, new_chain};
use crate::cluster::Incident;
use crate::progress::Progress;

/// Whose disk it is.
const VICTIM: usize = 4;
/// The size of its disk. The database needs some room to begin with.
const DISK_MIB: u64 = 48;
/// How often what the database has freed is taken again while the disk is to be full.
const REFILL: Duration = Duration::from_millis(500);
/// How long the disk stays full or read-only after the validator has said so.
const STAYS: Duration = Duration::from_secs(5);

/// The disk of one validator becomes full while it runs.
pub(super) async fn full(options: &FaultOptions, progress: &Progress) -> Result<Outcome, FaultError> {
    let (mut trial, disk) = match on_disk(FaultKind::DiskFull, options, progress).await? {
        Ok(started) => started,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let skip = trial.log(VICTIM, 0).len();
    let ballast = disk.path().join("ballast");
    let message = "The disk is full: make room and start the node again";
    let end = tokio::time::Instant::now() + BOUND;
    let mut ended = 0;
    trial.note(format!("validator {VICTIM}'s disk becomes full"));
    while tokio::time::Instant::now() < end && !(ended > 0 && trial.log(VICTIM, skip).contains(message)) {
        fill(&ballast)?;
        tokio::time::sleep(REFILL).await;
        ended += ends(&mut trial);
    }
    let log = trial.log(VICTIM, skip);
    let said = log.lines().find(|line| line.contains(message)).unwrap_or("nothing").to_owned();
    trial.note(format!("it says: {said}"));
    trial.check(ended > 0, "the validator goes on with a full disk");
    trial.check(log.contains(message), &format!("the validator does not say that its disk is full: {log}"));
    let until = tokio::time::Instant::now() + STAYS;
    while tokio::time::Instant::now() < until {
        fill(&ballast)?;
        trial.goes_on(&[1, 2, 3], "with a full disk").await;
    }
    fs::remove_file(&ballast).map_err(FaultError::io("remove", &ballast))?;
    trial.note("there is room again");
    trial.goes_on(&ALL, "after there was room").await;
    let starts = ends(&mut trial) + ended;
    trial.note(format!("it ended {starts} times meanwhile"));
    Ok(Outcome::Done(Box::new(trial.finish().await?)))
}

/// The disk of one validator is read-only when it starts.
pub(super) async fn read_only(options: &FaultOptions, progress: &Progress) -> Result<Outcome, FaultError> {
    let (mut trial, disk) = match on_disk(FaultKind::ReadOnly, options, progress).await? {
        Ok(started) => started,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    trial.cluster.validators()[VICTIM - 1].rest().await;
    disk.remount("ro")?;
    let skip = trial.log(VICTIM, 0).len();
    trial.note(format!("validator {VICTIM}'s folder is read-only"));
    trial.cluster.validators()[VICTIM - 1].wake().await;
    let message = "The folder can't be written: check its owner and mount";
    let has_said = trial.logged(VICTIM, skip, message, BOUND).await;
    let log = trial.log(VICTIM, skip);
    let said = log.lines().find(|line| line.contains(message)).unwrap_or("nothing").to_owned();
    trial.note(format!("it says: {said}"));
    trial.check(has_said, &format!("the validator does not say that its folder is read-only: {log}"));
    trial.goes_on(&[1, 2, 3], "with a read-only folder").await;
    disk.remount("rw")?;
    trial.note("the folder can be written again");
    trial.goes_on(&ALL, "after it could be written").await;
    let ended = ends(&mut trial);
    trial.check(ended > 0, "the validator went on with a read-only folder");
    Ok(Outcome::Done(Box::new(trial.finish().await?)))
}

/// Validators of which one has a disk of its own, or why there is none.
async fn on_disk(
    kind: FaultKind,
    options: &FaultOptions,
    progress: &Progress,
) -> Result<Result<(Trial, Disk), String>, FaultError> {
    let files = new_chain(options)?;
    let disk = match Disk::mount(files.validator_data_dir(VICTIM)) {
        Ok(disk) => disk,
        Err(error) => return Ok(Err(format!("no small disk can be mounted here: {error}. Run it as root"))),
    };
    let mut trial = Trial::start_at(kind, files, Vec::new(), options, progress).await?;
    trial.goes_on(&ALL, "before").await;
    Ok(Ok((trial, disk)))
}

/// How often the victim has ended since the last call. Others must not.
fn ends(trial: &mut Trial) -> usize {
    let mut ended = 0;
    for incident in trial.incidents() {
        match incident {
            // 101 is a panic's.
            Incident::Ended { number: VICTIM, how, .. } if how != "exit status: 101" => ended += 1,
            Incident::Restarted { number: VICTIM, .. } => {}
            other => trial.fail(other.to_string()),
        }
    }
    ended
}

/// Writes until there is no room.
fn fill(ballast: &Path) -> Result<(), FaultError> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(ballast)
        .map_err(FaultError::io("open", ballast))?;
    for size in [1 << 16, 1 << 12, 1 << 6, 1] {
        let zeros = vec![0; size];
        loop {
            match file.write_all(&zeros) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(FaultError::io("fill", ballast)(error)),
            }
        }
    }
    Ok(())
}

/// A small file system in memory, which is gone when this is dropped.
#[derive(Debug)]
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Result<Self, FaultError> {
        fs::create_dir_all(&path).map_err(FaultError::io("make", &path))?;
        let size = format!("size={DISK_MIB}m");
        let arguments = ["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), size.as_ref(), "evchain".as_ref()];
        tool("mount", &[&arguments[..], &[path.as_os_str()]].concat())?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn remount(&self, mode: &str) -> Result<(), FaultError> {
        let options = format!("remount,{mode}");
        tool("mount", &["-o".as_ref(), options.as_ref(), self.0.as_os_str()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since after a failure a process may still have it open.
        if let Err(error) = tool("umount", &["-l".as_ref(), self.0.as_os_str()]) {
            tracing::warn!(%error, "testnet: a disk stays mounted");
        }
    }
}
