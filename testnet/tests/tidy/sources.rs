//! The workspace's Rust files.

use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 4] = ["protocol", "consensus", "node", "testnet"];

/// A Rust file of the workspace.
pub(crate) struct Source {
    /// From the workspace's root, with `/` between.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl Source {
    /// Whether the file is a test's, an example's or a benchmark's.
    pub(crate) fn is_test(&self) -> bool {
        let is_test_folder = |part: &str| ["tests", "benches", "examples", "sim"].contains(&part);
        self.path.split('/').any(is_test_folder) || self.path.ends_with("/tests.rs")
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

/// Every Rust file of the four crates, in the order of names.
pub(crate) fn all() -> Vec<Source> {
    let mut paths = Vec::new();
    for name in CRATES {
        collect(&root().join(name), "rs", &mut paths);
    }
    let sources: Vec<Source> = paths.iter().map(|path| read(path)).collect();
    // An empty list would pass every test.
    assert!(sources.len() > 100, "only {} files were found", sources.len());
    sources
}

/// The files below a folder with this extension, in the order of names.
pub(crate) fn collect(folder: &Path, extension: &str, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, extension, paths);
        } else if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    Source { path, text, syntax }
}
