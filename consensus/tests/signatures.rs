//! Goal: one signature of a vote, in one encoding, by a key that binds its owner (scenario 26).
//! Method: the encodings that lenient verifiers take, shown to an electorate, alone and in a certificate, and
//! where the plain rule takes them also to a verifier of that rule.

use ed25519_dalek::{Verifier, VerifyingKey};
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

/// Signatures of [`subject`] by the key of the secret 0x01 repeated, with r = 123456789 and T the multiples of a
/// point of order 8, from the neutral one on.
const TORSION: [&str; 8] = [
    "17ffad8068dc0de9935d36636f3ad1b5de6de3413b12388e453b05f2a4c1d3db7958bf81ab4d28dcb2b338a12bd55be8d0f5bb63b941c1989e6cd488f706f004",
    "d63c01223147541df4e170763e9e2788a8bf5971f52a93c5829dbe6f5ff6bba990a033537b339180d38753207959e9cb011bbbfbe47f47974287f5e063095f05",
    "e3b97bafaaff89d5daa423e9d78e9506371d40f044b78353daed01f30e3e687e5311f0837210ad3c20e69b26343e32d694bb7d6b675863d7aadd0d79d0215a09",
    "1dd960b291c53514fece1341fc0dcd8a648b3934c2c533666f737a654ff1e1bfad667fb7b74437ad83e3d3362e52d0829c244933dc1bd044be84fc7916942308",
    "d600527f9723f2166ca2c99c90c52e4a21921cbec4edc771bac4fa0d5b3e2c24f6e217640fb0389665e3935e2a7f8bea5545c963b7a482f980606780b8ebe90f",
    "17c3feddceb8abe20b1e8f89c161d8775740a68e0ad56c3a7d624190a00944569f89ec6d3995d426294c843670305ffac1d101a0572ab66e192d011460650809",
    "0a4684505500762a255bdc1628716af9c8e2bf0fbb487cac2512fe0cf1c19781293a5d85d9f058804c237fb3329b26c22f43eb9125505bce312a86060abd090c",
    "d0269f4d6e3acaeb0131ecbe03f232759b74c6cb3d3acc99908c859ab00e1e40813f226da17c08e9a700ff1719eafa7fff087868c2546994124a41e7d3e30d00",
];

/// The signature of [`subject`] by the same key with r = 0, so that R is the neutral point and S shows the
/// secret to whoever knows the hash.
const NEUTRAL_R: &str = "01000000000000000000000000000000000000000000000000000000000000000ed16cb3a920e95ee4bdddd7ff78f020785b75604f55b1c521fcc7455cda7e04";

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
        let mut point = bytes(text);
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

/// A key of small order is nobody's: some signature of any message fits it, by the plain equation, and
/// everybody can make it. No set takes such a key.
#[test]
fn small_order_keys() {
    let (electorate, keys) = electorate();
    let mut lenient = 0;
    for point in small_order_points() {
        let key = PublicKey::from_bytes(point);
        let set = AuthoritySet::new(vec![keys[0].public_key(), key]);
        assert!(set.is_err(), "{point:?} became an authority");
        // S = 0, and R = -k A, which is one of the points of small order.
        for r in small_order_points() {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            let signature = Signature::from_bytes(signature);
            assert_eq!(subject().verify(electorate.chain, &key, &signature), Err(BadSignature), "{point:?}");
            lenient += usize::from(is_plainly_valid(&electorate, &key, &signature));
        }
    }
    assert!(lenient >= 8, "a plain verifier takes one for each of the eight points, not {lenient}");
}

/// R of small order, by the key's owner: plain verifiers take it, strict ones do not, and nodes that differ
/// in this could be split.
#[test]
fn small_order_points_in_a_signature() {
    let (electorate, _) = electorate();
    let key = KeyPair::from_secret(&[1; 32]).public_key();
    let signer = electorate.index_of(&key).unwrap();
    let signature = Signature::from_bytes(bytes(NEUTRAL_R));
    assert!(is_plainly_valid(&electorate, &key, &signature));
    assert_eq!(electorate.verify(&subject(), signer, &signature), Err(BadSignature));
}

/// R = r B + T with a point T of small order, and the S that fits it: what a batch or a cofactored
/// verifier takes whatever T is, one by one and strictly only if T is the neutral point.
#[test]
fn torsion_in_a_signature() {
    let (electorate, _) = electorate();
    let key = KeyPair::from_secret(&[1; 32]).public_key();
    let signer = electorate.index_of(&key).unwrap();
    let verdicts =
        TORSION.map(|text| electorate.verify(&subject(), signer, &Signature::from_bytes(bytes(text))));
    let [neutral, others @ ..] = verdicts;
    assert_eq!(neutral, Ok(()));
    assert_eq!(others, [Err(BadSignature); 7]);
}

/// Whether the equation S B = R + k A holds, of whatever order R and A are: RFC 8032 without what the
/// strict rule adds.
fn is_plainly_valid(electorate: &Electorate, key: &PublicKey, signature: &Signature) -> bool {
    let (chain, signed) = (electorate.chain.0, subject().signed_bytes());
    let digest = Hash::of_parts(subject().purpose(), &[chain.as_bytes(), &signed]);
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    VerifyingKey::from_bytes(key.as_bytes())
        .is_ok_and(|key| key.verify(digest.as_bytes(), &signature).is_ok())
}

/// The bytes that a text names in hexadecimal.
fn bytes<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|place| u8::from_str_radix(&text[2 * place..2 * place + 2], 16).unwrap())
}
