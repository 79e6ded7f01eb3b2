//! Every decoder: what decodes is the one encoding of what it gave, and can be looked at.

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::block::Header;
use evchain_protocol::codec::{self, Decode, Encode, MAX_DECODE_BYTES};
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::event::EventRecord;
use evchain_protocol::finality::{Certificate, Electorate, Evidence, Justification, ParentProof, Vote};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::governance::Change;
use evchain_protocol::light::{EpochStep, LightClient, StateEntryProof, verify_transaction};
use evchain_protocol::merkle::InclusionProof;
use evchain_protocol::primitives::{Epoch, Height};
use evchain_protocol::session::{
    ConsumerRecord, MAX_MESSAGE_BYTES, Message, ProducerRecord, WatchMessage, WatchRecord,
};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::tree::StateProof;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::{Action, SignedTransaction};

use crate::chain;

/// The first byte says what the rest is taken for.
pub fn fuzz_decode(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 24 {
        0 => transaction(bytes),
        1 => drop(round_trip::<Action>(bytes)),
        2 => drop(round_trip::<Header>(bytes).map(|header| header.hash())),
        3 => certificate(bytes),
        4 => evidence(bytes),
        5 => drop(round_trip::<Justification>(bytes)),
        6 => drop(round_trip::<ParentProof>(bytes)),
        7 => drop(round_trip::<Vote>(bytes)),
        8 => drop(round_trip::<Genesis>(bytes).map(|genesis| genesis.build().is_ok())),
        9 => drop(round_trip::<EventRecord>(bytes)),
        10 => drop(round_trip::<StateValue>(bytes)),
        11 => state_key(bytes),
        12 => message(bytes),
        13 => watch_message(bytes),
        14 => drop(round_trip::<ProducerRecord>(bytes)),
        15 => drop(round_trip::<ConsumerRecord>(bytes)),
        16 => drop(round_trip::<WatchRecord>(bytes)),
        17 => step(bytes),
        18 => entry(bytes),
        19 => inclusion(bytes),
        20 => drop(round_trip::<Opening>(bytes).map(|opening| opening.commitment(chain_id()))),
        21 => drop(round_trip::<Change>(bytes)),
        22 => drop(round_trip::<AuthoritySet>(bytes).map(|set| set.root(Epoch::ZERO))),
        _ => drop(round_trip::<StateProof>(bytes)),
    }
}

/// The value, if there is one in these bytes.
fn round_trip<T: Encode + Decode<()>>(bytes: &[u8]) -> Option<T> {
    let value = codec::decode::<T>(bytes, MAX_DECODE_BYTES).ok()?;
    assert_eq!(codec::encode(&value), bytes, "a value has one encoding");
    Some(value)
}

fn chain_id() -> ChainId {
    ChainId(Hash::ZERO)
}

fn electorate() -> Electorate {
    let authorities = AuthoritySet::new(vec![chain::authority().public_key()]).unwrap();
    Electorate { chain: chain_id(), epoch: Epoch::ZERO, authorities }
}

fn header() -> Header {
    chain::genesis(chain::params()).build().unwrap().header
}

fn transaction(bytes: &[u8]) {
    let Ok(signed) = SignedTransaction::from_bytes(bytes) else { return };
    assert_eq!(signed.to_bytes(), bytes, "a transaction has one encoding");
    // The same with a signature that is right, so that the action is looked at too.
    let key = KeyPair::from_secret(&[7; 32]);
    let again =
        evchain_protocol::transaction::Transaction { sender: key.public_key(), ..signed.transaction.clone() };
    let _ = signed.verify(chain_id());
    let _ = again.sign(&key, chain_id()).verify(chain_id());
}

fn certificate(bytes: &[u8]) {
    if let Some(certificate) = round_trip::<Certificate>(bytes) {
        assert!(certificate.verify(&electorate(), |_| None).is_err(), "nobody has signed");
    }
}

fn evidence(bytes: &[u8]) {
    if let Some(evidence) = round_trip::<Evidence>(bytes) {
        assert!(evidence.verify(&electorate(), Height::new(1)).is_err(), "nobody has signed");
    }
}

fn state_key(bytes: &[u8]) {
    if let Ok(key) = StateKey::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), bytes, "a key has one encoding");
    }
}

fn message(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        assert!(bytes.len() <= MAX_MESSAGE_BYTES && message.encode() == bytes, "a message has one encoding");
    }
}

fn watch_message(bytes: &[u8]) {
    if let Ok(message) = WatchMessage::decode(bytes) {
        assert_eq!(message.encode(), bytes, "a message has one encoding");
    }
}

fn step(bytes: &[u8]) {
    if let Some(step) = round_trip::<EpochStep>(bytes) {
        let mut client = LightClient::new(electorate());
        assert!(client.advance(step).is_err(), "nobody has signed");
    }
}

fn entry(bytes: &[u8]) {
    if let Some(proof) = round_trip::<StateEntryProof>(bytes) {
        for key in [StateKey::Params, StateKey::Account(chain::alice().public_key())] {
            let proven = proof.verify(&header(), &key);
            assert!(!matches!(proven, Ok(None)), "both are in the state");
        }
    }
}

fn inclusion(bytes: &[u8]) {
    if let Some(proof) = round_trip::<InclusionProof>(bytes) {
        assert!(verify_transaction(&header(), &Hash::ZERO, &proof).is_err(), "the block is empty");
    }
}
