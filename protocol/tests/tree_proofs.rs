//! Goal: a proof says of a key what the state really holds, and one that was made up or tampered
//! with says nothing.
//!
//! Method: proofs of present and absent keys in random states, through deltas too; every byte of
//! encoded proofs spoiled; forgeries put together by hand from true parts.

use std::collections::BTreeMap;

use evchain_protocol::codec::{self, DecodeError};
use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::state::tree::{Entry, MAX_BUCKET_ENTRIES, StateProof, Tree, TreeDepth};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const MAX_PROOF_BYTES: usize = 512 * 1024;

fn depth(levels: u8) -> TreeDepth {
    TreeDepth::new(levels).unwrap()
}

/// A proof of these parts, whatever they are.
fn proof_of(entries: &[Entry], siblings: &[Hash]) -> Result<StateProof, DecodeError> {
    let mut bytes = codec::encode(&u32::try_from(entries.len()).unwrap());
    bytes.extend(entries.iter().flat_map(codec::encode));
    bytes.extend(codec::encode(&u32::try_from(siblings.len()).unwrap()));
    bytes.extend(siblings.iter().flat_map(Hash::as_bytes));
    codec::decode(&bytes, MAX_PROOF_BYTES)
}

fn entry(key: &str, value: &str) -> Entry {
    Entry {
        key: Hash::of(Purpose::StateKey, key.as_bytes()),
        value: Hash::of(Purpose::StateValue, value.as_bytes()),
    }
}

proptest! {
    #[test]
    fn proofs_tell_presence_and_absence(
        levels in prop_oneof![0..=8u8, 16..=20u8],
        committed in btree_map(vec(0..4u8, 0..=3), any::<u8>(), 0..40),
        changes in btree_map(vec(0..4u8, 0..=3), any::<Option<u8>>(), 0..20),
        keys in vec(vec(0..4u8, 0..=3), 30),
    ) {
        let tree = Tree::from_entries(depth(levels), committed.iter().map(|(key, value)| (key, [*value])));
        let delta = tree.unchanged().update(changes.iter().map(|(key, value)| (key, value.map(|v| [v]))));
        let mut after: BTreeMap<_, _> = committed.clone();
        after.extend(changes.iter().filter_map(|(key, value)| Some((key.clone(), (*value)?))));
        after.retain(|key, _| changes.get(key) != Some(&None));

        for (view, content) in [(tree.unchanged(), &committed), (tree.view([&delta]).unwrap(), &after)] {
            for key in &keys {
                let proof = view.prove(key).unwrap();
                let held = content.get(key).map(|value| Hash::of(Purpose::StateValue, &[*value]));
                prop_assert_eq!(proof.verify(view.root(), key), Ok(held));
                let bytes = codec::encode(&proof);
                prop_assert_eq!(codec::decode(&bytes, MAX_PROOF_BYTES), Ok(proof));
            }
        }
    }

    #[test]
    fn a_proof_of_one_state_is_none_of_another(
        levels in 0..=8u8,
        content in btree_map(any::<u8>(), any::<u8>(), 1..40),
        key in any::<u8>(),
        value in any::<u8>(),
    ) {
        let tree = Tree::from_entries(depth(levels), content.iter().map(|(key, value)| ([*key], [*value])));
        let view = tree.unchanged();
        let delta = view.update([([key], Some([value]))]);
        prop_assume!(delta.root() != tree.root());
        let later = tree.view([&delta]).unwrap();
        for other in content.keys() {
            view.prove(&[*other]).unwrap().verify(later.root(), &[*other]).unwrap_err();
            later.prove(&[*other]).unwrap().verify(view.root(), &[*other]).unwrap_err();
        }
    }
}

#[test]
fn a_spoiled_proof_says_nothing() {
    // At depth 3 buckets hold several entries, at depth 12 most are empty.
    for levels in [0, 3, 12] {
        let tree = Tree::from_entries(depth(levels), (0..30u8).map(|n| ([n], [n])));
        for key in [[0], [17], [200]] {
            let bytes = codec::encode(&tree.unchanged().prove(&key).unwrap());
            for place in 0..bytes.len() {
                let mut spoiled = bytes.clone();
                spoiled[place] ^= 0x01;
                let Ok(proof) = codec::decode::<StateProof>(&spoiled, MAX_PROOF_BYTES) else { continue };
                proof.verify(tree.root(), &key).expect_err("a spoiled proof was accepted");
            }
        }
    }
}

#[test]
fn forgeries_from_true_parts_fail() {
    // One bucket, so that all of its parts are known here.
    let tree = Tree::from_entries(depth(0), [("a", "1"), ("b", "2"), ("c", "3")]);
    let mut entries = vec![entry("a", "1"), entry("b", "2"), entry("c", "3")];
    entries.sort_by_key(|entry| entry.key);
    let root = tree.root();
    let forged =
        |entries: &[Entry], siblings: &[Hash]| proof_of(entries, siblings).unwrap().verify(root, b"b");
    assert_eq!(forged(&entries, &[]), Ok(Some(entry("b", "2").value)), "the true proof");

    let without: Vec<Entry> = entries.iter().copied().filter(|e| e.key != entry("b", "").key).collect();
    let reversed: Vec<Entry> = entries.iter().copied().rev().collect();
    let doubled = [entries.clone(), vec![entry("b", "9")]].concat();
    forged(&without, &[]).expect_err("an entry left out");
    forged(&reversed, &[]).expect_err("another order");
    forged(&doubled, &[]).expect_err("an entry more");
    forged(&[], &[]).expect_err("an empty bucket");
    forged(&[], &[root]).expect_err("an empty bucket under the true root");
    forged(&entries, &[Hash::ZERO]).expect_err("a level more");
}

#[test]
fn a_proof_with_another_number_of_levels_proves_nothing_that_is_false() {
    let tree = Tree::from_entries(depth(4), (0..3u8).map(|n| ([n], [n])));
    let root = tree.root();
    for key in 0..=255u8 {
        let proof = codec::encode(&tree.unchanged().prove(&[key]).unwrap());
        let hashes: Vec<Hash> = proof[proof.len() - 4 * Hash::LEN..]
            .chunks(Hash::LEN)
            .map(|hash| Hash::from_bytes(hash.try_into().unwrap()))
            .collect();
        for skipped in 0..=4 {
            // An empty bucket where the tree has a node, or a level below an empty bucket.
            let shorter = proof_of(&[], &hashes[skipped..]).unwrap();
            let longer = proof_of(&[], &[vec![Hash::ZERO; skipped], hashes.clone()].concat()).unwrap();
            for claim in [shorter, longer] {
                if let Ok(held) = claim.verify(root, &[key]) {
                    assert_eq!((held, key >= 3), (None, true), "key {key}");
                }
            }
        }
    }
}

#[test]
fn proofs_are_bounded() {
    let at_most = vec![entry("a", "1"); MAX_BUCKET_ENTRIES];
    let siblings = [Hash::ZERO; TreeDepth::MAX as usize];
    let largest = proof_of(&at_most, &siblings).unwrap();
    assert!(codec::encode(&largest).len() < 257 * 1024);
    proof_of(&[at_most.clone(), vec![entry("b", "2")]].concat(), &siblings).unwrap_err();
    proof_of(&at_most, &[&siblings[..], &[Hash::ZERO]].concat()).unwrap_err();
    // Verifying one that leads nowhere still ends.
    largest.verify(Hash::ZERO, b"a").unwrap_err();

    let count = u32::try_from(MAX_BUCKET_ENTRIES).unwrap();
    let fits = Tree::from_entries(depth(0), (0..count).map(|n| (n.to_le_bytes(), [])));
    assert!(fits.unchanged().prove(b"absent").is_ok());
    let too_many = Tree::from_entries(depth(0), (0..=count).map(|n| (n.to_le_bytes(), [])));
    assert!(too_many.unchanged().prove(b"absent").is_err());
}
