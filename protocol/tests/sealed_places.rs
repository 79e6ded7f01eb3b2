//! Goal: a sealed place is read by the consumer it is for, in the bid it is for, and by nobody else.
//! Method: one place, opened with every part of its context exchanged and every byte changed.

use evchain_protocol::codec;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey};
use evchain_protocol::primitives::{Position, TxRef};
use evchain_protocol::sealed::{MAX_SEALED_CONTACT_BYTES, OpenError, SealError, SealedFor, SealedPlace};
use evchain_protocol::state::auction::Place;
use evchain_protocol::text::Text;
use zeroize::Zeroizing;

fn key(seed: u8) -> KeyPair {
    KeyPair::from_secret(&[seed; 32])
}

fn place(contact: &str) -> Place {
    let position = Position { latitude_e7: -478_095_000, longitude_e7: 130_550_000 };
    Place { position, contact: Text::new(contact).unwrap() }
}

fn bid() -> SealedFor {
    let request = TxRef::from_be_bytes([0, 0, 0, 0, 0, 16, 0, 0]);
    SealedFor { chain: ChainId(Hash::from_bytes([7; 32])), request, producer: key(2).public_key() }
}

fn seal(contact: &str, secret: u8) -> SealedPlace {
    SealedPlace::seal(&place(contact), &key(1).public_key(), &bid(), &Zeroizing::new([secret; 32])).unwrap()
}

#[test]
fn the_consumer_reads_what_was_sealed() {
    let longest = "x".repeat(MAX_SEALED_CONTACT_BYTES);
    for contact in ["/ip4/203.0.113.7/tcp/9700", "", "/dns4/größe.example/tcp/1", &longest] {
        let sealed = seal(contact, 9);
        assert_eq!(sealed.open(&key(1), &bid()), Ok(place(contact)));
        let bytes = codec::encode(&sealed);
        assert_eq!(bytes.len(), SealedPlace::LEN, "whatever the contact's length");
        assert_eq!(codec::decode(&bytes, bytes.len()), Ok(sealed));
        assert_eq!(sealed.to_string().parse(), Ok(sealed));
    }
    assert_ne!(seal("a", 9), seal("a", 10), "each bid has a key of its own");
}

#[test]
fn nobody_else_does_and_not_in_another_bid() {
    let sealed = seal("/ip4/203.0.113.7/tcp/9700", 9);
    assert_eq!(sealed.open(&key(3), &bid()), Err(OpenError::NotForThis));
    assert_eq!(sealed.open(&key(2), &bid()), Err(OpenError::NotForThis));
    let other_chain = SealedFor { chain: ChainId(Hash::ZERO), ..bid() };
    let other_request = SealedFor { request: TxRef::MAX, ..bid() };
    let other_producer = SealedFor { producer: key(3).public_key(), ..bid() };
    for other in [other_chain, other_request, other_producer] {
        assert_eq!(sealed.open(&key(1), &other), Err(OpenError::NotForThis), "{other:?}");
    }
}

#[test]
fn a_changed_byte_opens_to_nothing() {
    let bytes = codec::encode(&seal("/ip4/203.0.113.7/tcp/9700", 9));
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        // Not the highest bit, which X25519 ignores in the byte where the key ends.
        changed[index] ^= 1;
        let changed: SealedPlace = codec::decode(&changed, bytes.len()).unwrap();
        assert_eq!(changed.open(&key(1), &bid()), Err(OpenError::NotForThis), "byte {index}");
    }
    let zeros: SealedPlace = codec::decode(&[0; SealedPlace::LEN], SealedPlace::LEN).unwrap();
    assert_eq!(zeros.open(&key(1), &bid()), Err(OpenError::NotForThis), "a key of small order");
}

#[test]
fn what_cannot_be_sealed_is_said() {
    let secret = Zeroizing::new([9; 32]);
    let weak = PublicKey::from_bytes([0; 32]);
    let refused = SealedPlace::seal(&place(""), &weak, &bid(), &secret);
    assert_eq!(refused, Err(SealError::UnusableKey(weak)));
    let long = place(&"x".repeat(MAX_SEALED_CONTACT_BYTES + 1));
    let refused = SealedPlace::seal(&long, &key(1).public_key(), &bid(), &secret);
    assert_eq!(refused, Err(SealError::ContactTooLong { len: MAX_SEALED_CONTACT_BYTES + 1 }));
}
