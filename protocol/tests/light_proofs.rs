//! Goal: with a header alone, one learns what the state holds, and which transactions and events a
//! block has, and is never told anything that isn't so.
//!
//! Method: a header over a small state and lists; each check with true input, then with one part
//! of another block, key, value or kind.

use evchain_protocol::block::Header;
use evchain_protocol::codec;
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::light::{
    MAX_STATE_ENTRY_PROOF_BYTES, MAX_VALUE_BYTES, Proven, StateEntryError, StateEntryProof, verify_event,
    verify_transaction,
};
use evchain_protocol::merkle::{InclusionError, MerkleTree};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};
use evchain_protocol::state::tree::{MAX_BUCKET_ENTRIES, Tree, TreeDepth};

const TRANSACTIONS: [&str; 3] = ["transaction 0", "transaction 1", "transaction 2"];
const EVENTS: [&str; 2] = ["event 0", "event 1"];

fn header(tree: &Tree) -> Header {
    Header {
        chain: ChainId(Hash::ZERO),
        epoch: Epoch::ZERO,
        height: Height::new(1),
        view: View::new(1),
        parent_hash: Hash::ZERO,
        parent_view: View::ZERO,
        proposer: PublicKey::from_bytes([1; 32]),
        time_ms: Timestamp::new(1),
        tx_root: MerkleTree::new(TRANSACTIONS).root(),
        event_root: MerkleTree::new(EVENTS).root(),
        state_root: tree.root(),
        just_root: Hash::ZERO,
        authority_root: Hash::ZERO,
        next_authority_root: Hash::ZERO,
    }
}

/// At depth 0, so that all keys share the bucket and a proof of one is a proof of every other.
fn state() -> Tree {
    Tree::from_entries(TreeDepth::new(0).unwrap(), [("alice", "12"), ("bob", "7")])
}

fn prove(tree: &Tree, key: &str, value: Option<&str>) -> StateEntryProof {
    StateEntryProof::new(&tree.unchanged(), key.as_bytes(), value.map(Into::into)).unwrap()
}

#[test]
fn an_entry_of_the_state_is_present_or_absent() {
    let tree = state();
    let header = header(&tree);
    for (key, value) in [("alice", Some("12")), ("bob", Some("7")), ("carol", None)] {
        let proof = prove(&tree, key, value);
        let bytes = codec::encode(&proof);
        assert_eq!(codec::decode(&bytes, MAX_STATE_ENTRY_PROOF_BYTES), Ok(proof.clone()));
        let proven = value.map_or(Proven::Absent, |value| Proven::Present(value.as_bytes()));
        assert_eq!(proof.verify(&header, key.as_bytes()), Ok(proven), "{key}");
    }
}

#[test]
fn a_wrong_value_is_refused() {
    let tree = state();
    let header = header(&tree);
    let verify = |key: &str, value| prove(&tree, key, value).verify(&header, key.as_bytes()).unwrap_err();
    assert_eq!(verify("alice", Some("13")), StateEntryError::OtherValue);
    assert_eq!(verify("alice", Some("7")), StateEntryError::OtherValue);
    assert_eq!(verify("alice", None), StateEntryError::ValueMissing);
    assert_eq!(verify("carol", Some("12")), StateEntryError::NotInState);
}

#[test]
fn a_proof_holds_for_its_key_and_header_only() {
    let tree = state();
    let proof = prove(&tree, "alice", Some("12"));
    assert_eq!(proof.verify(&header(&tree), b"bob"), Err(StateEntryError::OtherValue));
    assert_eq!(proof.verify(&header(&tree), b"carol"), Err(StateEntryError::NotInState));
    let later = Tree::from_entries(tree.depth(), [("alice", "12"), ("bob", "8")]);
    let error = proof.verify(&header(&later), b"alice").unwrap_err();
    assert!(matches!(error, StateEntryError::Proof(wrong)
        if wrong.computed == tree.root() && wrong.expected == later.root()));
}

#[test]
fn transactions_and_events_are_included_each_under_its_own_root() {
    let header = header(&state());
    let (transactions, events) = (MerkleTree::new(TRANSACTIONS), MerkleTree::new(EVENTS));
    for (index, transaction) in TRANSACTIONS.iter().enumerate() {
        let proof = transactions.prove(index).unwrap();
        assert_eq!(verify_transaction(&header, transaction.as_bytes(), &proof), Ok(()));
        let as_event = verify_event(&header, transaction.as_bytes(), &proof);
        assert!(matches!(as_event, Err(InclusionError::WrongRoot { .. })));
        verify_transaction(&header, b"another", &proof).unwrap_err();
    }
    for (index, event) in EVENTS.iter().enumerate() {
        let proof = events.prove(index).unwrap();
        assert_eq!(verify_event(&header, event.as_bytes(), &proof), Ok(()));
        verify_transaction(&header, event.as_bytes(), &proof).unwrap_err();
        verify_event(&header, b"another", &proof).unwrap_err();
    }
}

#[test]
fn the_largest_proof_fits_its_limit_and_a_larger_value_has_none() {
    let count = u32::try_from(MAX_BUCKET_ENTRIES).unwrap();
    let value = vec![7; MAX_VALUE_BYTES];
    let entries = (0..count).map(|n| (n.to_le_bytes(), &value));
    let tree = Tree::from_entries(TreeDepth::new(0).unwrap(), entries);
    let key = 0u32.to_le_bytes();
    let proof = StateEntryProof::new(&tree.unchanged(), &key, Some(value.clone())).unwrap();
    assert!(
        codec::encode(&proof).len() + usize::from(TreeDepth::MAX) * Hash::LEN <= MAX_STATE_ENTRY_PROOF_BYTES
    );
    assert_eq!(proof.verify(&header(&tree), &key), Ok(Proven::Present(&value)));
    assert!(StateEntryProof::new(&tree.unchanged(), &key, Some([value, vec![7]].concat())).is_err());
}
