//! In which epoch of which chain a key has voted last, kept beside the key and not in the database: a
//! validator whose database was wiped must not vote again as if it had never voted
//! (`consensus/docs/protocol.md`, durable before sent).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use evchain_protocol::crypto::ChainId;
use evchain_protocol::primitives::Epoch;

/// The record beside one key file: a line for each chain, its id and the epoch.
#[derive(Debug, Clone)]
pub struct VotingRecord {
    path: PathBuf,
}

impl VotingRecord {
    /// The record of the key in this file.
    pub fn beside(key_file: &Path) -> Self {
        let mut name = key_file.as_os_str().to_owned();
        name.push(".voted");
        Self { path: name.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last epoch of this chain in which the key has voted.
    ///
    /// # Errors
    /// Where the file is there and cannot be read or understood.
    pub fn last_epoch(&self, chain: ChainId) -> io::Result<Option<Epoch>> {
        let name = chain.to_string();
        let text = self.read()?;
        let Some(line) = text.lines().find(|line| line.split_whitespace().next() == Some(&name)) else {
            return Ok(None);
        };
        let epoch = line.split_whitespace().nth(1).and_then(|epoch| epoch.parse().ok());
        let epoch = epoch.ok_or_else(|| {
            let reason = format!("not a chain and an epoch: {line}");
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })?;
        Ok(Some(Epoch::new(epoch)))
    }

    /// Notes that the key votes in this epoch from now on. On disk when this returns.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn add(&self, chain: ChainId, epoch: Epoch) -> io::Result<()> {
        if self.last_epoch(chain)? >= Some(epoch) {
            return Ok(());
        }
        let name = chain.to_string();
        let (old, line) = (self.read()?, format!("{name} {}", epoch.get()));
        let others = old.lines().filter(|line| line.split_whitespace().next() != Some(&name));
        let lines: Vec<&str> = others.chain([line.as_str()]).collect();
        // A new file in the old one's place: a crash leaves the one or the other.
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        writeln!(file, "{}", lines.join("\n"))?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        // The name of a new file is durable once its folder is.
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    fn read(&self) -> io::Result<String> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            result => result,
        }
    }
}
