//! Runs the corpus of a crate's fuzz targets.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Target;

/// Calls each entry with each file of its corpus.
pub fn replay(manifest: &str, targets: &[Target]) {
    let fuzz = Path::new(manifest).join("fuzz");
    let mut programs: Vec<String> = files(&fuzz.join("fuzz_targets")).iter().map(|path| stem(path)).collect();
    programs.sort();
    let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, names, "each fuzz target is a program, and replayed");
    for (name, entry) in targets {
        let inputs = files(&fuzz.join("corpus").join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            // Shown where it fails.
            println!("{name}: {}", input.display());
            entry(&fs::read(&input).expect("a readable input"));
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}
