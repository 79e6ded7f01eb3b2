//! Goal: a list's root fixes its items, their order and their number, and an inclusion proof shows
//! an item at its index and nothing else.
//!
//! Method: roots against a reference that splits as RFC 6962 does, from the top, and one pinned
//! value; proofs of all items of all short lists; each byte of a proof and of an item spoiled.

use evchain_protocol::codec;
use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::merkle::{InclusionError, InclusionProof, MerkleTree};

const MAX_PROOF_BYTES: usize = 4 + 4 + 4 + 32 * Hash::LEN;

fn items(len: usize) -> Vec<Vec<u8>> {
    (0..len).map(|n| format!("item {n}").into_bytes()).collect()
}

fn reference_top(items: &[Vec<u8>]) -> Hash {
    match items {
        [] => Hash::ZERO,
        [item] => Hash::of(Purpose::MerkleLeaf, item),
        _ => {
            let (left, right) = items.split_at(items.len().next_power_of_two() / 2);
            let children = [reference_top(left), reference_top(right)].map(|hash| *hash.as_bytes());
            Hash::of(Purpose::MerkleNode, &children.concat())
        }
    }
}

fn reference_root(items: &[Vec<u8>]) -> Hash {
    let len = (items.len() as u64).to_le_bytes();
    Hash::of(Purpose::MerkleRoot, &[&len[..], reference_top(items).as_bytes()].concat())
}

#[test]
fn roots_are_those_of_the_reference() {
    for len in 0..=70 {
        assert_eq!(MerkleTree::new(items(len)).root(), reference_root(&items(len)), "{len} items");
    }
}

#[test]
fn roots_are_pinned() {
    let hex = |len| MerkleTree::new(items(len)).root().to_string();
    assert_eq!(hex(0), "de795434d16873f1c760ea6b27da52d1aa835822c418dd2021bd6b2f097daf13");
    assert_eq!(hex(5), "a76e275c25d04133deb1f808d9761e16f4f3b41ee1065b0e636aa896f46cffa8");
}

#[test]
fn every_item_is_proven_at_its_index_and_at_no_other() {
    for len in 0..=40 {
        let items = items(len);
        let tree = MerkleTree::new(&items);
        assert_eq!((tree.len(), tree.is_empty()), (len, len == 0));
        assert_eq!(tree.prove(len), None);
        for index in 0..len {
            let proof = tree.prove(index).unwrap();
            assert_eq!(proof.index() as usize, index);
            let bytes = codec::encode(&proof);
            assert_eq!(codec::decode(&bytes, MAX_PROOF_BYTES), Ok(proof.clone()));
            for (other, item) in items.iter().enumerate() {
                assert_eq!(proof.verify(tree.root(), item).is_ok(), other == index);
            }
        }
    }
}

#[test]
fn a_spoiled_proof_shows_nothing() {
    for len in [1, 2, 7, 8, 13] {
        let items = items(len);
        let tree = MerkleTree::new(&items);
        for (index, item) in items.iter().enumerate() {
            let bytes = codec::encode(&tree.prove(index).unwrap());
            for place in 0..bytes.len() {
                for flip in [1, 0x80] {
                    let mut spoiled = bytes.clone();
                    spoiled[place] ^= flip;
                    let Ok(proof) = codec::decode::<InclusionProof>(&spoiled, MAX_PROOF_BYTES) else {
                        continue;
                    };
                    assert!(
                        proof.verify(tree.root(), item).is_err(),
                        "byte {place} of item {index} of {len}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_proof_has_as_many_siblings_as_its_index_needs() {
    // Item 4 of 5 moves up twice without a sibling, so one is on its way.
    let proof = |index: u32, len: u32, siblings: &[Hash]| {
        let mut bytes = [index, len, u32::try_from(siblings.len()).unwrap()].map(u32::to_le_bytes).concat();
        bytes.extend(siblings.iter().flat_map(Hash::as_bytes));
        codec::decode::<InclusionProof>(&bytes, MAX_PROOF_BYTES)
    };
    let items = items(5);
    let root = MerkleTree::new(&items).root();
    let sibling = reference_top(&items[..4]);
    let verify = |siblings: &[Hash]| proof(4, 5, siblings).unwrap().verify(root, &items[4]);
    assert_eq!(verify(&[sibling]), Ok(()));
    for siblings in [vec![], vec![sibling, sibling], vec![sibling, Hash::ZERO]] {
        let given = siblings.len();
        assert_eq!(verify(&siblings), Err(InclusionError::WrongLength { index: 4, len: 5, given }));
    }
    let behind = proof(5, 5, &[sibling]).unwrap().verify(root, &items[4]);
    assert_eq!(behind, Err(InclusionError::OutOfRange { index: 5, len: 5 }));
    assert!(proof(0, 0, &[]).unwrap().verify(MerkleTree::new(&items[..0]).root(), b"").is_err());
    proof(0, u32::MAX, &[sibling; 33]).unwrap_err();
}

#[test]
fn no_other_list_has_the_same_root() {
    let (a, b, c) = (b"a".to_vec(), b"b".to_vec(), b"c".to_vec());
    let leaf = |item: &[u8]| Hash::of(Purpose::MerkleLeaf, item);
    let children = [leaf(&a), leaf(&b)].map(|hash| *hash.as_bytes()).concat();
    let node = Hash::of(Purpose::MerkleNode, &children).as_bytes().to_vec();
    let root = |items: &[&Vec<u8>]| MerkleTree::new(items).root();

    assert_ne!(root(&[&a, &b]), root(&[&b, &a]), "order");
    assert_ne!(root(&[&a, &b, &c]), root(&[&a, &b, &c, &c]), "the last item twice");
    assert_ne!(root(&[&a, &b]), root(&[&node]), "a node's hash as an item");
    assert_ne!(root(&[&a, &b]), root(&[&children]), "a node's preimage as an item");
    assert_ne!(root(&[&a, &b, &c]), root(&[&node, &c]), "a node's hash beside an item");
    assert_ne!(root(&[]), root(&[&Vec::new()]), "nothing, and an item without bytes");
}
