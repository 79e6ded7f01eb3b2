//! Goal: the state's root depends on the entries alone, however blocks, forks and restarts led to
//! them, and blocks that are not final leave the committed tree alone.
//!
//! Method: random blocks of changes over few keys, at depths at which buckets share and at which
//! they don't; the roots against a reference that computes the tree anew from its definition, and
//! two pinned values.

use std::collections::BTreeMap;

use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::state::tree::{DepthTooLarge, NotAChild, Tree, TreeDelta, TreeDepth};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
type Block = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn depth(levels: u8) -> TreeDepth {
    TreeDepth::new(levels).unwrap()
}

fn reference_root(depth: TreeDepth, entries: &Entries) -> Hash {
    let hashed: BTreeMap<Hash, Hash> = entries
        .iter()
        .map(|(key, value)| (Hash::of(Purpose::StateKey, key), Hash::of(Purpose::StateValue, value)))
        .collect();
    reference_node(&hashed.into_iter().collect::<Vec<_>>(), 0, usize::from(depth.get()))
}

fn reference_node(entries: &[(Hash, Hash)], level: usize, depth: usize) -> Hash {
    if entries.is_empty() {
        return Hash::ZERO;
    }
    if level == depth {
        let pairs = entries.iter().flat_map(|(key, value)| [*key.as_bytes(), *value.as_bytes()]);
        return Hash::of(Purpose::StateBucket, &pairs.collect::<Vec<_>>().concat());
    }
    let goes_left = |(key, _): &(Hash, Hash)| key.as_bytes()[level / 8] & (0x80 >> (level % 8)) == 0;
    let (left, right) = entries.split_at(entries.partition_point(goes_left));
    let children = [left, right].map(|side| *reference_node(side, level + 1, depth).as_bytes());
    Hash::of(Purpose::StateNode, &children.concat())
}

fn execute(entries: &mut Entries, block: &Block) {
    for (key, value) in block {
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
}

fn any_depth() -> impl Strategy<Value = TreeDepth> {
    prop_oneof![0..=6u8, 15..=16u8].prop_map(depth)
}

/// Blocks over few keys and values, so that they overwrite, remove and repeat what others wrote.
fn any_block() -> impl Strategy<Value = Block> {
    let key = vec(0..4u8, 0..=3);
    let value = weighted(0.7, vec(0..3u8, 0..=1));
    vec((key, value), 0..30)
}

proptest! {
    #[test]
    fn a_chain_of_deltas_is_the_state_after_its_blocks(
        depth in any_depth(),
        blocks in vec(any_block(), 1..6),
    ) {
        let (mut tree, mut entries) = (Tree::empty(depth), Entries::new());
        let mut deltas: Vec<TreeDelta> = Vec::new();
        let mut roots = vec![reference_root(depth, &entries)];
        for block in &blocks {
            let view = tree.view(&deltas).unwrap();
            prop_assert_eq!(view.root(), *roots.last().unwrap());
            let delta = view.update(block.iter().cloned());
            execute(&mut entries, block);
            roots.push(reference_root(depth, &entries));
            prop_assert_eq!((delta.parent_root(), delta.root()), (view.root(), *roots.last().unwrap()));
            deltas.push(delta);
        }
        prop_assert_eq!(tree.root(), Hash::ZERO);
        prop_assert_eq!(Tree::from_entries(depth, &entries).root(), *roots.last().unwrap());

        // Committed one by one, with the later ones still on top.
        let mut above = deltas.clone();
        while !above.is_empty() {
            tree.apply(above.remove(0)).unwrap();
            prop_assert_eq!(tree.root(), roots[roots.len() - 1 - above.len()]);
            prop_assert_eq!(tree.view(&above).unwrap().root(), *roots.last().unwrap());
        }
        for (key, value) in entries {
            prop_assert!(tree.unchanged().update([(&key, Some(&value))]).root() == tree.root());
        }
    }

    #[test]
    fn two_children_of_a_block_know_nothing_of_each_other(
        depth in any_depth(),
        base in any_block(),
        parent in any_block(),
        children in [any_block(), any_block()],
        grandchild in any_block(),
    ) {
        let mut entries = Entries::new();
        execute(&mut entries, &base);
        let mut tree = Tree::from_entries(depth, &entries);
        let parent_delta = tree.unchanged().update(parent.iter().cloned());
        execute(&mut entries, &parent);
        let view = tree.view([&parent_delta]).unwrap();
        let deltas = children.clone().map(|child| view.update(child));
        let sides = children.map(|child| {
            let mut side = entries.clone();
            execute(&mut side, &child);
            side
        });
        for (delta, side) in deltas.iter().zip(&sides) {
            prop_assert_eq!(delta.root(), reference_root(depth, side));
        }

        let [chosen, other] = deltas;
        let [mut side, _] = sides;
        let top = tree.view([&parent_delta, &chosen]).unwrap().update(grandchild.iter().cloned());
        execute(&mut side, &grandchild);
        tree.apply(parent_delta).unwrap();
        tree.apply(chosen.clone()).unwrap();
        if other.parent_root() != chosen.root() {
            prop_assert!(tree.view([&other]).is_err());
            prop_assert!(tree.apply(other).is_err());
        }
        prop_assert_eq!(tree.root(), chosen.root());
        tree.apply(top).unwrap();
        prop_assert_eq!(tree.root(), reference_root(depth, &side));
    }

    #[test]
    fn neither_the_order_of_keys_nor_repetition_matters(
        depth in any_depth(),
        block in any_block(),
        seed in any::<u64>(),
    ) {
        let tree = Tree::empty(depth);
        let mut entries = Entries::new();
        execute(&mut entries, &block);
        let mut shuffled: Vec<_> = entries.iter().collect();
        shuffled.sort_by_key(|(key, _)| Hash::of_parts(Purpose::Receipt, &[&seed.to_le_bytes(), key]));
        let at_once = tree.unchanged().update(block).root();
        prop_assert_eq!(Tree::from_entries(depth, shuffled.iter().copied()).root(), at_once);
        let removed = shuffled.iter().map(|(key, _)| (*key, None::<&[u8]>));
        let emptied = Tree::from_entries(depth, entries.iter()).unchanged().update(removed);
        prop_assert_eq!(emptied.root(), Hash::ZERO);
    }
}

#[test]
fn roots_are_pinned() {
    let entries = [("alice", "12"), ("bob", "7"), ("carol", "0")];
    let root = |levels| Tree::from_entries(depth(levels), entries).root().to_string();
    assert_eq!(root(0), "30868d141d5006ac35f4ae79f340fdcdae6c79e7f5096484cc0bb3dc3269c294");
    assert_eq!(root(20), "205db1d16b5c4b5d8e0c07c4eb3c3e8cb1a8d59182dcad8f64ea1baa9300207b");
}

#[test]
fn the_default_depth_agrees_with_the_reference() {
    let entries: Entries =
        (0..5_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![u8::try_from(n % 251).unwrap()])).collect();
    let tree = Tree::from_entries(TreeDepth::DEFAULT, &entries);
    assert_eq!(tree.root(), reference_root(TreeDepth::DEFAULT, &entries));
    assert_eq!(tree.depth(), TreeDepth::DEFAULT);
}

#[test]
fn a_delta_of_another_depth_is_refused_on_an_equal_root() {
    // The empty state has the same root at every depth.
    let delta = Tree::empty(depth(3)).unchanged().update([("key", Some("value"))]);
    let mut tree = Tree::empty(depth(4));
    let refused = NotAChild { parent_root: Hash::ZERO, depth: 3, root: Hash::ZERO, tree_depth: 4 };
    assert_eq!(tree.apply(delta), Err(refused));
    assert_eq!(tree.root(), Hash::ZERO);
    assert_eq!(TreeDepth::new(TreeDepth::MAX + 1), Err(DepthTooLarge(25)));
}

#[test]
fn a_block_without_effect_keeps_the_root() {
    let mut tree = Tree::from_entries(depth(8), [("a", "1"), ("b", "2")]);
    let root = tree.root();
    let delta = tree.unchanged().update([("a", Some("1")), ("absent", None)]);
    assert_eq!((delta.parent_root(), delta.root()), (root, root));
    tree.apply(delta).unwrap();
    assert_eq!(tree.root(), root);
}
