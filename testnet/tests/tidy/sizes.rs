use std::collections::BTreeMap;
use std::fs;

use crate::sources::{Source, all, root};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;
const RATCHET: &str = "testnet/tests/tidy/ratchet.txt";

#[test]
fn files_and_functions_are_short() {
    let found = offenders(&all());
    if std::env::var_os("EVCHAIN_TIDY_UPDATE").is_some() {
        let lines: Vec<String> = found.iter().map(|(name, size)| format!("{size} {name}\n")).collect();
        fs::write(root().join(RATCHET), lines.concat()).expect("the ratchet is written");
    }
    let listed = listed();
    let mut wrong = Vec::new();
    for (name, size) in &found {
        match listed.get(name) {
            None => wrong.push(format!("{name} has {size} lines: split it")),
            Some(limit) if size > limit => {
                wrong.push(format!("{name} has grown from {limit} to {size} lines: split it"));
            }
            Some(_) => {}
        }
    }
    for (name, limit) in &listed {
        let size = found.get(name).copied().unwrap_or_default();
        if size < *limit {
            wrong.push(format!(
                "{name} has shrunk to {size} lines: update {RATCHET} with EVCHAIN_TIDY_UPDATE=1"
            ));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn long_functions_are_found() {
    let body = "    let _ = 1;\n".repeat(MAX_FUNCTION_LINES);
    let source = |text: String| Source {
        path: "x.rs".to_owned(),
        syntax: syn::parse_file(&text).expect("it is Rust"),
        text,
    };
    let found = offenders(&[source(format!("impl X {{\n    pub async fn long() {{\n{body}    }}\n}}\n"))]);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("x.rs fn long".to_owned(), MAX_FUNCTION_LINES + 2)]);
    assert_eq!(offenders(&[source("fn short() {\n}\n".to_owned())]).len(), 0);
}

/// Files and functions above the limits, with their lines. Tests may have long files, and nothing
/// else.
fn offenders(sources: &[Source]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > MAX_FILE_LINES && !source.is_test() {
            found.insert(source.path.clone(), lines);
        }
        for (name, lines) in functions(&source.text) {
            if lines > MAX_FUNCTION_LINES {
                found.insert(format!("{} fn {name}", source.path), lines);
            }
        }
    }
    found
}

/// The functions of a file as `rustfmt` lays it out, with their lines: from `fn` to the brace at the
/// same depth.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = name_of_function(line) else { continue };
        let opens = lines[first..].iter().position(|line| line.ends_with(['{', ';', '}']));
        let Some(opens) = opens.filter(|opens| lines[first + opens].ends_with('{')) else { continue };
        let depth = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(depth));
        if let Some(last) = lines[first + opens..].iter().position(|line| *line == closing) {
            found.push((name.to_owned(), opens + last + 1));
        }
    }
    found
}

/// The name of the function whose declaration begins on this line.
fn name_of_function(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "pub(in", "super::super)"];
    if !before.split_whitespace().all(|word| modifiers.contains(&word)) {
        return None;
    }
    after.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

fn listed() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join(RATCHET)).expect("the ratchet is readable");
    let entry = |line: &str| {
        let (size, name) = line.split_once(' ').expect("a size and a name");
        (name.to_owned(), size.parse().expect("a size"))
    };
    text.lines().map(entry).collect()
}
