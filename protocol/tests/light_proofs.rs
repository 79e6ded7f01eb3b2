//! Goal: with a header alone, one learns what the state holds, and which transactions and events a
//! block has, and is never told anything that isn't so.
//!
//! Method: a header over a small state and lists; each check with true input, then with one part
//! of another block, key, value or kind.

use evchain_protocol::block::Header;
use evchain_protocol::codec;
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::execute::event_leaf;
use evchain_protocol::light::{
    MAX_STATE_ENTRY_PROOF_BYTES, StateEntryError, StateEntryProof, verify_event, verify_transaction,
};
use evchain_protocol::merkle::{InclusionError, MerkleTree};
use evchain_protocol::primitives::{Amount, Epoch, Height, Timestamp, View};
use evchain_protocol::state::account::{Account, Standing};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::tree::{MAX_BUCKET_ENTRIES, Tree, TreeDepth};
use evchain_protocol::state::value::{MAX_VALUE_BYTES, StateValue};

const TRANSACTIONS: [Hash; 3] =
    [Hash::from_bytes([1; 32]), Hash::from_bytes([2; 32]), Hash::from_bytes([3; 32])];

const ALICE: StateKey = StateKey::Account(PublicKey::from_bytes([1; 32]));
const BOB: StateKey = StateKey::Account(PublicKey::from_bytes([2; 32]));
const CAROL: StateKey = StateKey::Account(PublicKey::from_bytes([3; 32]));

/// A block's events: two fees.
fn events() -> Vec<EventRecord> {
    [1, 2].map(fee_paid).to_vec()
}

fn fee_paid(amount: u64) -> EventRecord {
    let payer = PublicKey::from_bytes([1; 32]);
    EventRecord { transaction: None, event: Event::FeePaid { payer, amount: Amount::new(amount) } }
}

fn account(balance: u64) -> StateValue {
    StateValue::Account(Account::new(Amount::new(balance), Standing::Revoked))
}

fn transaction_tree() -> MerkleTree {
    MerkleTree::new(TRANSACTIONS.map(|id| *id.as_bytes()))
}

fn event_tree() -> MerkleTree {
    MerkleTree::new(events().iter().map(event_leaf))
}

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
        tx_root: transaction_tree().root(),
        event_root: event_tree().root(),
        state_root: tree.root(),
        just_root: Hash::ZERO,
        authority_root: Hash::ZERO,
        next_authority_root: Hash::ZERO,
    }
}

/// At depth 0, so that all keys share the bucket and a proof of one is a proof of every other.
fn state(entries: &[(StateKey, StateValue)]) -> Tree {
    let bytes = entries.iter().map(|(key, value)| (key.to_bytes(), codec::encode(value)));
    Tree::from_entries(TreeDepth::new(0).unwrap(), bytes)
}

fn alice_12_bob_7() -> Tree {
    state(&[(ALICE, account(12)), (BOB, account(7))])
}

fn prove(tree: &Tree, key: StateKey, value: Option<&StateValue>) -> StateEntryProof {
    StateEntryProof::new(&tree.unchanged(), &key, value).unwrap()
}

#[test]
fn an_entry_of_the_state_is_present_or_absent() {
    let tree = alice_12_bob_7();
    let header = header(&tree);
    for (key, value) in [(ALICE, Some(account(12))), (BOB, Some(account(7))), (CAROL, None)] {
        let proof = prove(&tree, key, value.as_ref());
        let bytes = codec::encode(&proof);
        assert_eq!(codec::decode(&bytes, MAX_STATE_ENTRY_PROOF_BYTES), Ok(proof.clone()));
        assert_eq!(proof.verify(&header, &key), Ok(value));
    }
}

#[test]
fn a_wrong_value_is_refused() {
    let tree = alice_12_bob_7();
    let header = header(&tree);
    let verify =
        |key, value: Option<StateValue>| prove(&tree, key, value.as_ref()).verify(&header, &key).unwrap_err();
    assert_eq!(verify(ALICE, Some(account(13))), StateEntryError::OtherValue);
    assert_eq!(verify(ALICE, Some(account(7))), StateEntryError::OtherValue);
    assert_eq!(verify(ALICE, None), StateEntryError::ValueMissing);
    assert_eq!(verify(CAROL, Some(account(12))), StateEntryError::NotInState);
}

#[test]
fn a_proof_holds_for_its_key_and_header_only() {
    let tree = alice_12_bob_7();
    let proof = prove(&tree, ALICE, Some(&account(12)));
    assert_eq!(proof.verify(&header(&tree), &BOB), Err(StateEntryError::OtherValue));
    assert_eq!(proof.verify(&header(&tree), &CAROL), Err(StateEntryError::NotInState));
    let later = state(&[(ALICE, account(12)), (BOB, account(8))]);
    let error = proof.verify(&header(&later), &ALICE).unwrap_err();
    assert!(matches!(error, StateEntryError::Proof(wrong)
        if wrong.computed == tree.root() && wrong.expected == later.root()));
}

#[test]
fn a_value_that_does_not_decode_is_an_error_of_its_own() {
    let key = ALICE.to_bytes();
    let mut value = codec::encode(&account(12));
    value[0] = 0xff;
    let tree = Tree::from_entries(TreeDepth::new(0).unwrap(), [(&key, &value)]);
    let mut bytes = codec::encode(&prove(&tree, ALICE, Some(&account(12))));
    // A present value's bytes follow its one-byte flag and its length.
    bytes[5] = 0xff;
    let proof: StateEntryProof = codec::decode(&bytes, MAX_STATE_ENTRY_PROOF_BYTES).unwrap();
    assert!(matches!(proof.verify(&header(&tree), &ALICE), Err(StateEntryError::UnknownValue(_))));
}

#[test]
fn transactions_and_events_are_included_each_under_its_own_root() {
    let header = header(&alice_12_bob_7());
    for (index, id) in TRANSACTIONS.iter().enumerate() {
        let proof = transaction_tree().prove(index).unwrap();
        assert_eq!(verify_transaction(&header, id, &proof), Ok(()));
        let other = verify_transaction(&header, &Hash::ZERO, &proof);
        assert!(matches!(other, Err(InclusionError::WrongRoot { .. })));
    }
    for (index, event) in events().iter().enumerate() {
        let proof = event_tree().prove(index).unwrap();
        assert_eq!(verify_event(&header, event, &proof), Ok(()));
        let other = verify_event(&header, &fee_paid(9), &proof);
        assert!(matches!(other, Err(InclusionError::WrongRoot { .. })));
    }
}

#[test]
fn the_largest_proof_fits_its_limit() {
    let others = (2..=u32::try_from(MAX_BUCKET_ENTRIES).unwrap()).map(|n| {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        (StateKey::Account(PublicKey::from_bytes(bytes)), account(n.into()))
    });
    let tree = state(&others.chain([(ALICE, account(12))]).collect::<Vec<_>>());
    let proof = prove(&tree, ALICE, Some(&account(12)));
    assert_eq!(proof.verify(&header(&tree), &ALICE), Ok(Some(account(12))));
    // This one has the largest bucket, but no siblings and a short value.
    let rest = usize::from(TreeDepth::MAX) * Hash::LEN + MAX_VALUE_BYTES;
    assert!(codec::encode(&proof).len() + rest <= MAX_STATE_ENTRY_PROOF_BYTES);
}
