//! Goal: one signature of a vote, in one encoding, by a key that binds its owner (scenario 26).
//! Method: the encodings that lenient verifiers take, shown to an electorate, alone and in a certificate.

use evchain_protocol::authority::{AuthorityIndex, AuthoritySet};
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{BadSignature, ChainId, Hash, KeyPair, PublicKey, Signature};
use evchain_protocol::finality::{Certificate, CertificateError, Electorate, Subject};
use evchain_protocol::primitives::{Epoch, View};

/// The order of the group, little-endian (RFC 8032, 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Points of order 1, 2, 4 and 8: y of each, little-endian, without the sign of x.
const SMALL_ORDER: [&str; 5] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

fn subject() -> Subject {
    Subject::notarize(Epoch::ZERO, View::new(3), Hash::from_bytes([7; 32]))
}

fn electorate() -> (Electorate, Vec<KeyPair>) {
    let mut keys: Vec<KeyPair> = (1..=4).map(|byte| KeyPair::from_secret(&[byte; 32])).collect();
    keys.sort_by_key(KeyPair::public_key);
    let authorities = AuthoritySet::new(keys.iter().map(KeyPair::public_key).collect()).unwrap();
    (Electorate { chain: ChainId(Hash::from_bytes([8; 32])), epoch: Epoch::ZERO, authorities }, keys)
}

fn sign(electorate: &Electorate, key: &KeyPair) -> Signature {
    key.sign(subject().purpose(), electorate.chain, &subject().signed_bytes())
}

/// The small-order points, with both signs of x.
fn small_order_points() -> Vec<[u8; 32]> {
    let mut points = Vec::new();
    for text in SMALL_ORDER {
        let mut point = [0; 32];
        for (place, byte) in point.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).unwrap();
        }
        points.push(point);
        point[31] |= 0x80;
        points.push(point);
    }
    points
}

/// The other encoding of a signature: its scalar plus the order of the group.
fn malleated(signature: &Signature) -> Signature {
    let mut bytes = *signature.as_bytes();
    let mut carry = 0;
    for (byte, add) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "the sum fits into 256 bits");
    Signature::from_bytes(bytes)
}

/// A vote has one signature: S + L is none, neither alone nor in a certificate.
#[test]
fn malleable_signatures() {
    let (electorate, keys) = electorate();
    let mut signatures: Vec<Signature> = keys[..3].iter().map(|key| sign(&electorate, key)).collect();
    let index = AuthorityIndex::new;
    assert_eq!(electorate.verify(&subject(), index(1), &signatures[1]), Ok(()));
    let certificate = |signatures: &[Signature]| Certificate {
        subject: subject(),
        signers: (0..3).map(index).collect(),
        signatures: List::new(signatures.to_vec()).unwrap(),
    };
    assert_eq!(certificate(&signatures).verify(&electorate, |_| None), Ok(()));
    signatures[1] = malleated(&signatures[1]);
    assert_eq!(electorate.verify(&subject(), index(1), &signatures[1]), Err(BadSignature));
    let refused = Err(CertificateError::BadSignature(index(1)));
    assert_eq!(certificate(&signatures).verify(&electorate, |_| None), refused);
}

/// A key of small order is nobody's: some signature fits any message of it, and no set takes it.
#[test]
fn small_order_keys() {
    let (electorate, keys) = electorate();
    for point in small_order_points() {
        let key = PublicKey::from_bytes(point);
        // R of order 1 and S = 0 satisfy the equation of lenient verifiers for any message.
        let mut signature = [0; 64];
        signature[0] = 1;
        let signature = Signature::from_bytes(signature);
        assert_eq!(subject().verify(electorate.chain, &key, &signature), Err(BadSignature), "{point:?}");
        let set = AuthoritySet::new(vec![keys[0].public_key(), key]);
        assert!(set.is_err(), "{point:?} became an authority");
    }
}

/// R of small order: what cofactored verifiers may take, and strict ones may not.
#[test]
fn torsion_in_a_signature() {
    let (electorate, keys) = electorate();
    let good = sign(&electorate, &keys[0]);
    for point in small_order_points() {
        let mut bytes = *good.as_bytes();
        bytes[..32].copy_from_slice(&point);
        let signature = Signature::from_bytes(bytes);
        assert_eq!(electorate.verify(&subject(), AuthorityIndex::new(0), &signature), Err(BadSignature));
    }
}
