//! Messages to the RPC, from their text to the node's answer.

use std::fs;
use std::sync::LazyLock;

use evchain_node::rpc::fuzzing::Desk;

/// Its folder is beside the program, and begins empty: a node has its files for as long as it runs, and nobody
/// stops this one.
static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let program = std::env::current_exe().expect("a program has a path");
    let folder = program.with_extension("calls");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("nobody else uses it");
    }
    fs::create_dir_all(&folder).expect("a folder beside the program");
    Desk::open(&folder)
});

/// A message as [`Desk::take`] wants it.
pub fn fuzz_calls(data: &[u8]) {
    let _ = DESK.take(data);
}

#[cfg(test)]
#[test]
fn a_method_is_reached_by_its_name_and_by_a_byte() {
    let chain = br#"{"jsonrpc":"2.0","id":7,"method":"evchain_chain"}"#;
    let answer = DESK.take(chain).expect("an answer");
    assert!(answer["result"].is_object() && answer["id"] == 7, "{answer}");
    let answers = (0..=u8::MAX).filter_map(|byte| DESK.take(&[byte, b'[', b']']));
    assert!(
        answers.filter(|answer| answer["result"] == DESK.take(chain).expect("an answer")["result"]).count()
            > 1
    );
}
