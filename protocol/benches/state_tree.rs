//! Goal: the figures for choosing the state's tree (docs/decisions/0001-state-tree.md): ours beside
//! crate `jmt`, both with all nodes in memory.
//!
//! Method: a state of random keys, then blocks of updates of random existing keys, each block
//! computed and then committed. `jmt` uses its own default, SHA-256, and forgets what a block
//! makes stale. `cargo bench -p evchain-protocol --bench state_tree`

#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_types)] // For `jmt` the fastest store counts, not the order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use evchain_protocol::state::tree::{Tree, TreeDepth};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, Version};
use sha2::Sha256;

const STATES: [u64; 2] = [100_000, 1_000_000];
const BATCHES: [u64; 3] = [100, 1_000, 2_000];

criterion_group!(benches, build, update, prove);
criterion_main!(benches);

/// An account's key is a tag and 32 bytes.
fn key(index: u64) -> Vec<u8> {
    let mut key = vec![1; 33];
    key[25..].copy_from_slice(&index.to_be_bytes());
    key
}

/// As long as an account: balance, nonce, standing.
fn value(index: u64, block: u64) -> Vec<u8> {
    [index, block, 0].map(u64::to_be_bytes).concat()
}

/// The indices of the keys that a block updates: a walk with a large odd stride, so that no block
/// repeats a key and their order says nothing.
fn block_keys(block: u64, batch: u64, state: u64) -> impl Iterator<Item = u64> {
    (0..batch).map(move |n| (block * batch + n).wrapping_mul(0x9E37_79B1) % state)
}

fn our_tree(state: u64) -> Tree {
    Tree::from_entries(TreeDepth::DEFAULT, (0..state).map(|index| (key(index), value(index, 0))))
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for state in STATES {
        group.throughput(Throughput::Elements(state));
        group.bench_function(BenchmarkId::new("evchain", state), |bench| bench.iter(|| our_tree(state)));
    }
}

fn update(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    for state in STATES {
        let mut tree = our_tree(state);
        let mut block = 0;
        for batch in BATCHES {
            group.throughput(Throughput::Elements(batch));
            group.bench_function(BenchmarkId::new(format!("evchain/{state}"), batch), |bench| {
                bench.iter(|| {
                    block += 1;
                    let changes =
                        block_keys(block, batch, state).map(|index| (key(index), Some(value(index, block))));
                    let delta = tree.unchanged().update(changes);
                    tree.apply(delta).unwrap();
                    black_box(tree.root())
                });
            });
        }
        drop(tree);

        let store = jmt_store(state);
        // `jmt` goes on from the version right before the one that it is given.
        let mut version = store.version;
        for batch in BATCHES {
            group.throughput(Throughput::Elements(batch));
            group.bench_function(BenchmarkId::new(format!("jmt/{state}"), batch), |bench| {
                bench.iter(|| {
                    let changes = block_keys(version, batch, state)
                        .map(|index| (jmt_key(index), Some(value(index, version))));
                    black_box(store.put(changes.collect(), version));
                    version += 1;
                });
            });
        }
    }
}

fn prove(criterion: &mut Criterion) {
    let tree = our_tree(1_000_000);
    let view = tree.unchanged();
    let mut index = 0;
    criterion.bench_function("prove and verify", |bench| {
        bench.iter(|| {
            index = (index + 7919) % 1_000_000;
            let key = key(index);
            view.prove(&key).unwrap().verify(view.root(), &key).unwrap()
        });
    });
}

fn jmt_key(index: u64) -> KeyHash {
    KeyHash::with::<Sha256>(key(index))
}

fn jmt_store(state: u64) -> JmtStore {
    const LOAD_BATCH: u64 = 10_000;
    let mut store = JmtStore::default();
    for first in (0..state).step_by(usize::try_from(LOAD_BATCH).unwrap()) {
        let entries =
            (first..state.min(first + LOAD_BATCH)).map(|index| (jmt_key(index), Some(value(index, 0))));
        store.put(entries.collect(), store.version);
        store.version += 1;
    }
    store
}

/// The nodes and values that `jmt` needs to go on from its newest version.
#[derive(Default)]
struct JmtStore {
    nodes: RefCell<HashMap<NodeKey, Node>>,
    values: RefCell<HashMap<KeyHash, OwnedValue>>,
    /// The next.
    version: Version,
}

impl JmtStore {
    fn put(&self, changes: Vec<(KeyHash, Option<OwnedValue>)>, version: Version) -> [u8; 32] {
        let tree = JellyfishMerkleTree::<_, Sha256>::new(self);
        let (root, update) = tree.put_value_set(changes, version).unwrap();
        self.write(update);
        root.0
    }

    fn write(&self, update: TreeUpdateBatch) {
        let mut nodes = self.nodes.borrow_mut();
        for (key, node) in update.node_batch.nodes() {
            nodes.insert(key.clone(), node.clone());
        }
        for stale in update.stale_node_index_batch {
            nodes.remove(&stale.node_key);
        }
        let mut values = self.values.borrow_mut();
        for ((_, key), value) in update.node_batch.values() {
            values.insert(*key, value.clone().unwrap());
        }
    }
}

impl TreeReader for JmtStore {
    fn get_node_option(&self, key: &NodeKey) -> Result<Option<Node>, anyhow::Error> {
        Ok(self.nodes.borrow().get(key).cloned())
    }

    fn get_value_option(&self, _: Version, key: KeyHash) -> Result<Option<OwnedValue>, anyhow::Error> {
        Ok(self.values.borrow().get(&key).cloned())
    }

    fn get_rightmost_leaf(&self) -> Result<Option<(NodeKey, LeafNode)>, anyhow::Error> {
        unreachable!("only read when a snapshot is restored")
    }
}
