use std::ffi::OsStr;
use std::process::{Command, Stdio};

use super::error::FaultError;

/// Runs one of the system's programs to its end. All of them end at once.
pub(super) fn tool<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<(), FaultError> {
    let shown = || {
        let arguments = arguments.iter().map(|argument| argument.as_ref().to_string_lossy().into_owned());
        [program.to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
    };
    let failed = |reason: String| FaultError::Tool { command: shown(), reason };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
}
