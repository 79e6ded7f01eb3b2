use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where a testnet keeps its files: a folder that the user named and keeps, or one for the time
/// being.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    /// The folder that the user named, or a new one that nobody else has.
    pub(super) fn new(named: Option<&Path>) -> anyhow::Result<Self> {
        let is_temporary = named.is_none();
        let path = match named {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("cannot make the folder {}", path.display()))?;
                path.to_owned()
            }
            None => tempfile::Builder::new()
                .prefix("evchain-testnet-")
                .tempdir()
                .context("cannot make a folder for the time being; name one with --dir")?
                .keep(),
        };
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        Ok(Self { path, is_temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a temporary folder away where all went well. Otherwise it stays, and people are told.
    pub(super) fn finish(self, went_well: bool) {
        if !self.is_temporary {
            return;
        }
        if !went_well {
            eprintln!("logs and databases are in {}", self.path.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}
