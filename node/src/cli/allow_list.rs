//! Keys that a node lets connect besides the chain's members, from a file that is read again on SIGHUP.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evchain_protocol::crypto::PublicKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::exit::UsageError;
use super::genesis;
use crate::network::NetworkHandle;

/// The operator's list, with a file or without. The file has one address a line; empty lines, and what follows a
/// `#`, are skipped.
#[derive(Debug)]
pub(super) struct AllowList {
    path: Option<PathBuf>,
    /// Keys of the command line and the configuration, which stay.
    always: BTreeSet<PublicKey>,
    hangup: Signal,
}

impl AllowList {
    /// The list, and the keys of the file and of `always`. From here on SIGHUP does not end the program, be there a
    /// file or not: an operator who sends it for another node's sake stops no validator.
    ///
    /// # Errors
    /// Where the file cannot be read, or a line of it is no address.
    pub(super) fn open(
        path: Option<PathBuf>,
        always: BTreeSet<PublicKey>,
    ) -> anyhow::Result<(Self, BTreeSet<PublicKey>)> {
        let keys = match &path {
            Some(path) => read(path, &always)?,
            None => always.clone(),
        };
        Ok((Self { path, always, hangup: signal(SignalKind::hangup())? }, keys))
    }

    /// Reads the file again at each SIGHUP. A file that cannot be used changes nothing.
    pub(super) async fn follow(mut self, network: NetworkHandle) {
        while self.hangup.recv().await.is_some() {
            let Some(path) = &self.path else {
                info!("node: nothing is read again on SIGHUP without --allow-file");
                continue;
            };
            match read(path, &self.always) {
                Ok(keys) => {
                    info!(file = %path.display(), keys = keys.len(), "node: read the list of keys that may connect");
                    if network.set_listed(keys).await.is_err() {
                        return;
                    }
                }
                Err(error) => warn!(%error, "node: the list of keys that may connect stays as it was"),
            }
        }
    }
}

fn read(path: &Path, always: &BTreeSet<PublicKey>) -> anyhow::Result<BTreeSet<PublicKey>> {
    let text = genesis::read_text(path)?;
    let keys = parse(&text).map_err(|wrong| UsageError(format!("{}, {wrong}", path.display())))?;
    Ok(&keys | always)
}

/// The keys in a list's text, or which line is wrong and how.
pub(super) fn parse(text: &str) -> Result<BTreeSet<PublicKey>, String> {
    let entries = (1_usize..).zip(text.lines()).filter_map(|(number, line)| {
        let entry = line.split('#').next().unwrap_or_default().trim();
        (!entry.is_empty()).then_some((number, entry))
    });
    entries
        .map(|(number, entry)| entry.parse().map_err(|error| format!("line {number}: {entry}: {error}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use evchain_protocol::crypto::KeyPair;

    use super::{AllowList, parse};

    #[test]
    fn a_list_has_an_address_a_line_and_names_the_line_that_is_none() {
        let [one, two] = [1, 2].map(|seed| KeyPair::from_secret(&[seed; 32]).public_key());
        let text = format!("# who may connect\n\n{one}\n  {two}  # the auditor\n");
        assert_eq!(parse(&text), Ok([one, two].into()));
        assert_eq!(parse(""), Ok([].into()));
        let wrong = parse(&format!("{one}\nsomebody\n")).unwrap_err();
        assert!(wrong.starts_with("line 2: somebody: "), "{wrong}");
    }

    #[tokio::test]
    async fn a_hangup_ends_no_node_be_there_a_file_or_not() {
        let key = KeyPair::from_secret(&[1; 32]).public_key();
        let (mut list, keys) = AllowList::open(None, [key].into()).unwrap();
        assert_eq!(keys, [key].into());
        // The shell's parent is this process.
        let sent = std::process::Command::new("sh").args(["-c", "kill -HUP $PPID"]).status().unwrap();
        assert!(sent.success());
        assert_eq!(list.hangup.recv().await, Some(()));
    }
}
