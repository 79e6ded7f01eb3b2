use std::collections::BTreeSet;
use std::fs;

use crate::sources::{all, collect, root};

/// Each crate's code cites the rules of these documents.
const DOCUMENTS: [(&str, &[&str]); 2] = [
    ("protocol", &["protocol/docs/ledger.md", "protocol/docs/session.md"]),
    ("consensus", &["consensus/docs/protocol.md"]),
];

#[test]
fn cited_rules_exist() {
    for (name, documents) in DOCUMENTS {
        let defined: BTreeSet<String> = documents.iter().flat_map(|document| defined(document)).collect();
        assert!(defined.len() > 20, "{name}: only {} rules were found", defined.len());
        let mut cited = 0;
        for source in all().iter().filter(|source| source.path.starts_with(&format!("{name}/src/"))) {
            for (line, rule) in citations(&source.text) {
                cited += 1;
                assert!(
                    defined.contains(&rule),
                    "{}:{line} cites {rule}, which no document has",
                    source.path
                );
            }
        }
        assert!(cited > 20, "{name}: only {cited} citations were found");
    }
}

#[test]
fn citations_are_found() {
    let text = "/// As it was (A1, B12 to B14; C3).\nlet x = f(A9);\n// D4: no matter. P21 III-D\n";
    let found: Vec<_> = citations(text).into_iter().map(|(line, rule)| format!("{line} {rule}")).collect();
    assert_eq!(found, ["1 A1", "1 B12", "1 B14", "1 C3", "3 D4"]);
}

#[test]
fn documents_name_files_that_exist() {
    let mut documents = Vec::new();
    for name in ["protocol", "consensus", "node", "testnet"] {
        collect(&root().join(name), "md", &mut documents);
    }
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document is readable");
        let folder = document.parent().expect("a folder");
        for target in links(&text) {
            assert!(folder.join(&target).exists(), "{} links to {target}", document.display());
        }
    }
}

#[test]
fn comments_name_documents_that_exist() {
    let mut named = 0;
    // These tests name documents that do not exist.
    for source in all().iter().filter(|source| !source.path.starts_with("testnet/tests/tidy/")) {
        let krate = source.path.split('/').next().expect("a crate");
        for (line, document) in documents(&source.text) {
            named += 1;
            let exists = [root().join(krate), root()].iter().any(|folder| folder.join(&document).is_file());
            assert!(
                exists,
                "{}:{line} names {document}, which is no file of crate or workspace",
                source.path
            );
        }
    }
    assert!(named > 20, "only {named} names of documents were found");
}

#[test]
fn documents_in_comments_are_found() {
    let text = "//! See `docs/a.md` (B.md, Words).\nlet x = \"c.md\"; // as d-1.md has it\n/// an .md file\n";
    assert_eq!(
        documents(text),
        [(1, "docs/a.md".to_owned()), (1, "B.md".to_owned()), (2, "d-1.md".to_owned())]
    );
}

/// The documents that comments name, with their lines.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("//") else { continue };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "./_-".contains(letter);
        let words = comment.split(|letter| !is_name(letter)).map(|word| word.trim_end_matches('.'));
        let names = words.filter(|word| word.strip_suffix(".md").is_some_and(|stem| !stem.is_empty()));
        found.extend(names.map(|name| (index + 1, name.to_owned())));
    }
    found
}

/// The rules that a document defines: `- **A1** ...`, also two in one line.
fn defined(document: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(document)).expect("a document is readable");
    let bold = text.split("**").skip(1).step_by(2);
    bold.filter(|word| is_rule(word)).map(str::to_owned).collect()
}

/// The rules that comments cite, in brackets or before a colon, with their lines.
fn citations(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("//") else { continue };
        let head = comment.trim_start_matches(['/', '!', ' ']).split_once(':').map(|(head, _)| head);
        let brackets =
            comment.split('(').skip(1).filter_map(|rest| rest.split_once(')')).map(|(inner, _)| inner);
        for place in brackets.chain(head) {
            let words: Vec<&str> =
                place.split([',', ';', ' ', '-']).filter(|word| !word.is_empty()).collect();
            let is_list = |word: &&str| is_rule(word) || ["to", "and"].contains(word);
            if words.iter().all(is_list) {
                let rules = words.into_iter().filter(|word| is_rule(word));
                found.extend(rules.map(|rule| (index + 1, rule.to_owned())));
            }
        }
    }
    found
}

/// A letter and a number of at most two digits. P18 and P21 are the papers.
fn is_rule(word: &str) -> bool {
    let mut letters = word.chars();
    let letter = letters.next().is_some_and(|letter| letter.is_ascii_uppercase());
    let number = letters.as_str();
    letter
        && (1..=2).contains(&number.len())
        && number.bytes().all(|digit| digit.is_ascii_digit())
        && !["P18", "P21"].contains(&word)
}

/// The files that a document links to.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files.filter(|target| !target.is_empty() && !target.contains("://")).map(str::to_owned).collect()
}
