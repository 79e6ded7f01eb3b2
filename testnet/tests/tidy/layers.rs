use std::process::Command;

use crate::sources::{all, root};

/// What the pure crates must not have.
const IMPURE: [&str; 5] = ["tokio", "libp2p", "rocksdb", "jsonrpsee", "futures"];

#[test]
fn pure_crates_have_no_runtime_network_or_database() {
    for name in ["evchain-protocol", "evchain-consensus"] {
        let tree = dependencies(name);
        for impure in IMPURE {
            let depends = tree.lines().any(|line| line == impure || line.starts_with(&format!("{impure}-")));
            assert!(!depends, "{name} depends on {impure}");
        }
    }
    // The method finds what is there.
    assert!(dependencies("evchain-node").lines().any(|line| line == "tokio"));
}

#[test]
fn arrow_between_crates_has_one_direction() {
    let order = ["evchain-protocol", "evchain-consensus", "evchain-node", "evchain-testnet"];
    for (index, name) in order.iter().enumerate() {
        let tree = dependencies(name);
        for later in &order[index + 1..] {
            assert!(!tree.lines().any(|line| line == *later), "{name} depends on {later}");
        }
    }
}

/// `rpc` and `network` never touch `store`; agents use only the RPC client, the wallet, the
/// session endpoint and the protocol.
#[test]
fn rooms_of_the_node_keep_their_distance() {
    let forbidden = [
        ("node/src/rpc/", &["crate::store", "crate::consensus::"][..]),
        ("node/src/network/", &["crate::store", "crate::chain", "crate::mempool", "crate::rpc"][..]),
        ("node/src/agents/", &["crate::store", "crate::chain", "crate::mempool", "crate::node"][..]),
        ("node/src/wallet/", &["crate::store", "crate::chain", "crate::mempool", "crate::node::"][..]),
        ("testnet/src/", &["evchain_node::store", "evchain_node::chain", "evchain_node::mempool"][..]),
    ];
    let sources = all();
    for (room, others) in forbidden {
        let inside: Vec<_> = sources.iter().filter(|source| source.path.starts_with(room)).collect();
        assert!(!inside.is_empty(), "{room} has no files");
        for source in inside.into_iter().filter(|source| !source.is_test()) {
            for other in others {
                assert!(!source.text.contains(other), "{} uses {other}", source.path);
            }
        }
    }
}

/// The names of a crate's normal dependencies, direct or not.
fn dependencies(name: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{lib}", "-p", name])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    text.lines().map(|line| line.trim().replace('_', "-") + "\n").collect()
}
