use crate::sources::all;

/// What a finished file has not.
const LEFTOVERS: [&str; 7] = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "TODO", "HACK"];

#[test]
fn nothing_is_left_over() {
    let mut found = Vec::new();
    for source in all() {
        // These files name what they look for.
        if source.path.starts_with("testnet/tests/tidy/") {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            if LEFTOVERS.iter().any(|leftover| line.contains(leftover)) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "left over: {found:#?}");
}
