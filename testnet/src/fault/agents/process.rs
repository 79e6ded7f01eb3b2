use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::fault::error::FaultError;
use crate::fault::tool::tool;

const SIGKILL: i32 = 9;
/// How long an agent may take until it says something that is waited for.
const START: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);

/// A command of the node's program that runs, or has run.
///
/// It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    /// Starts the command. Its output goes behind that of those before it.
    pub(super) fn start(program: &Path, arguments: &[OsString], log: &Path) -> Result<Self, FaultError> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.map_err(FaultError::io("open", log))?;
        let copy = file.try_clone().map_err(FaultError::io("open", log))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(file)
            // Ctrl-C at the terminal is for the testnet, which ends its agents itself.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(FaultError::io("start", program))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until its log has these words.
    pub(super) async fn says(&mut self, words: &str) -> Result<bool, FaultError> {
        let end = Instant::now() + START;
        while !self.log().contains(words) {
            if Instant::now() >= end || self.has_ended()? {
                return Ok(false);
            }
            sleep(POLL).await;
        }
        Ok(true)
    }

    /// What it and those before it have said.
    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills it by its process id if it still runs (SIGKILL). Does not wait until it is gone.
    pub(super) fn strike(&mut self) {
        // It fails for one that has ended, and how it ended shows in its status.
        let _ = self.child.start_kill();
    }

    /// Tells it to stop (SIGTERM).
    pub(super) fn tell_to_stop(&self) -> Result<(), FaultError> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        tool("kill", &["-TERM", &pid.to_string()])
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> Result<bool, FaultError> {
        Ok(self.child.try_wait().map_err(FaultError::io("wait for", &self.log))?.is_some())
    }

    /// Waits until it has ended; none if it still runs after this time.
    pub(super) async fn ended_within(
        &mut self,
        patience: Duration,
    ) -> Result<Option<ExitStatus>, FaultError> {
        match timeout(patience, self.child.wait()).await {
            Ok(status) => status.map(Some).map_err(FaultError::io("wait for", &self.log)),
            Err(_) => Ok(None),
        }
    }
}

/// Whether a process was killed, and did not end by itself.
pub(super) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(SIGKILL)
}
