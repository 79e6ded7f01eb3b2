//! Goal: from a genesis set alone, a client learns each epoch's authorities and which headers are
//! final, and nothing that a quorum did not sign. Method: three epochs with other authorities each,
//! really signed; then the same with one part forged, left out or taken from elsewhere, and a whole history
//! that the old authorities sign anew.

use evchain_protocol::authority::{AuthorityIndex, AuthoritySet};
use evchain_protocol::block::Header;
use evchain_protocol::codec::{List, decode, encode};
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey};
use evchain_protocol::finality::{Certificate, CertificateError, Electorate, Subject};
use evchain_protocol::light::{
    Checkpoint, CheckpointError, EpochStep, FinalityError, LightClient, StepError,
};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};

const CHAIN: ChainId = ChainId(Hash::from_bytes([7; 32]));
const OTHER_CHAIN: ChainId = ChainId(Hash::from_bytes([8; 32]));

fn key(number: u8) -> KeyPair {
    KeyPair::from_secret(&[number; 32])
}

/// The authorities of each epoch, by their secrets.
fn members(epoch: u64) -> Vec<KeyPair> {
    match epoch {
        0 | 1 => (1..=4).map(key).collect(),
        2 => (3..=7).map(key).collect(),
        _ => (10..=10).map(key).collect(),
    }
}

fn set(epoch: u64) -> AuthoritySet {
    AuthoritySet::new(members(epoch).iter().map(KeyPair::public_key).collect()).unwrap()
}

fn electorate(epoch: u64) -> Electorate {
    Electorate { chain: CHAIN, epoch: Epoch::new(epoch), authorities: set(epoch) }
}

fn header(epoch: u64, is_last: bool) -> Header {
    let next = epoch + u64::from(is_last);
    Header {
        chain: CHAIN,
        epoch: Epoch::new(epoch),
        height: Height::new(10 * epoch + if is_last { 10 } else { 5 }),
        view: View::new(12),
        parent_hash: Hash::ZERO,
        parent_view: View::new(11),
        proposer: PublicKey::from_bytes([1; 32]),
        time_ms: Timestamp::new(1),
        tx_root: Hash::ZERO,
        event_root: Hash::ZERO,
        state_root: Hash::ZERO,
        just_root: Hash::ZERO,
        authority_root: set(epoch).root(Epoch::new(epoch)),
        next_authority_root: set(next).root(Epoch::new(next)),
    }
}

/// The votes of a quorum of the epoch's authorities.
fn certificate(epoch: u64, subject: Subject, chain: ChainId) -> Certificate {
    let (secrets, electorate) = (members(epoch), electorate(epoch));
    let sign = |signer: &u8| {
        let public = electorate.key(AuthorityIndex::new(*signer)).unwrap();
        let secret = secrets.iter().find(|pair| pair.public_key() == public).unwrap();
        secret.sign(subject.purpose(), chain, &subject.signed_bytes())
    };
    let signers = 0..u8::try_from(electorate.quorum()).unwrap();
    Certificate {
        subject,
        signatures: List::new(signers.clone().map(|signer| sign(&signer)).collect()).unwrap(),
        signers: signers.map(AuthorityIndex::new).collect(),
    }
}

/// In a view after the header's: an epoch's last block can be proposed again.
fn finalization(header: &Header) -> Certificate {
    let subject = Subject::finalize(header.epoch, View::new(14), header.hash());
    certificate(header.epoch.get(), subject, CHAIN)
}

fn step(epoch: u64) -> EpochStep {
    let header = header(epoch, true);
    EpochStep { finalization: finalization(&header), header, next: set(epoch + 1) }
}

fn client(epoch: u64) -> LightClient {
    LightClient::new(electorate(epoch))
}

#[test]
fn steps_lead_from_genesis_to_a_final_header() {
    let mut client = client(0);
    for epoch in 0..3 {
        let within = header(epoch, false);
        client.verify_header(&within, &finalization(&within)).unwrap();
        let bytes = encode(&step(epoch));
        client.advance(decode(&bytes, bytes.len()).unwrap()).unwrap();
        assert_eq!(client.electorate(), &electorate(epoch + 1));
    }
    let newest = header(3, false);
    client.verify_header(&newest, &finalization(&newest)).unwrap();
}

#[test]
fn only_a_valid_finalization_of_the_header_makes_it_final() {
    let client = client(0);
    let good = header(0, false);
    let check = |header: &Header, certificate: &Certificate| client.verify_header(header, certificate);

    let elsewhere = Header { chain: OTHER_CHAIN, ..good.clone() };
    assert_eq!(
        check(&elsewhere, &finalization(&elsewhere)),
        Err(FinalityError::OtherChain { found: OTHER_CHAIN, expected: CHAIN })
    );
    let later = header(1, false);
    let (found, expected) = (Epoch::new(1), Epoch::ZERO);
    assert_eq!(check(&later, &finalization(&later)), Err(FinalityError::OtherEpoch { found, expected }));
    let other = FinalityError::NotItsFinalization(good.hash());
    assert_eq!(check(&good, &finalization(&header(0, true))), Err(other.clone()));
    let notarize = Subject::notarize(good.epoch, good.view, good.hash());
    assert_eq!(check(&good, &certificate(0, notarize, CHAIN)), Err(other));

    let finalize = Subject::finalize(good.epoch, good.view, good.hash());
    let forged = certificate(0, finalize, OTHER_CHAIN);
    let bad = CertificateError::BadSignature(AuthorityIndex::new(0));
    assert_eq!(check(&good, &forged), Err(FinalityError::Certificate(bad)));
    // The header says epoch 0 and the certificate another one.
    let moved = certificate(0, Subject::finalize(Epoch::new(1), good.view, good.hash()), CHAIN);
    assert_eq!(
        check(&good, &moved),
        Err(CertificateError::WrongEpoch { found: Epoch::new(1), expected: Epoch::ZERO }.into())
    );
    // A quorum of other people.
    let strangers = certificate(2, finalize, CHAIN);
    assert!(matches!(check(&good, &strangers), Err(FinalityError::Certificate(_))));
}

#[test]
fn forged_steps_lead_nowhere() {
    let start = client(1);
    let refused = |step: EpochStep| {
        let mut client = start.clone();
        let error = client.advance(step).unwrap_err();
        assert_eq!(client, start, "a refused step changes nothing");
        error
    };
    // A step over an epoch, one back, and one that was made already.
    for epoch in [0, 2] {
        let error = StepError::NotFinal(FinalityError::OtherEpoch {
            found: Epoch::new(epoch),
            expected: Epoch::new(1),
        });
        assert_eq!(refused(step(epoch)), error);
    }
    // Other authorities: the attacker's, the old ones, and the right ones less one.
    for next in [set(3), set(1), AuthoritySet::new((4..=7).map(|n| key(n).public_key()).collect()).unwrap()] {
        assert_eq!(refused(EpochStep { next, ..step(1) }), StepError::OtherAuthorities(Epoch::new(1)));
    }
    // A header that commits to the attacker's set, which no quorum signed.
    let mut forged = step(1);
    forged.header.next_authority_root = set(3).root(Epoch::new(2));
    forged.next = set(3);
    let block = forged.header.hash();
    assert_eq!(refused(forged), StepError::NotFinal(FinalityError::NotItsFinalization(block)));
    // Signed by the next epoch's authorities before it is theirs.
    let mut early = step(1);
    let subject = Subject::finalize(Epoch::new(1), View::new(14), early.header.hash());
    early.finalization = certificate(2, subject, CHAIN);
    assert!(matches!(refused(early), StepError::NotFinal(FinalityError::Certificate(_))));
}

/// The set is the same in epochs 0 and 1, and still a block within epoch 0 does not end it.
#[test]
fn a_block_within_an_epoch_does_not_end_it() {
    let within = header(0, false);
    let step = EpochStep { finalization: finalization(&within), header: within.clone(), next: set(1) };
    assert_eq!(client(0).advance(step), Err(StepError::NotLastBlock(Box::new(within))));
}

#[test]
fn the_last_epoch_has_no_next() {
    let last = Epoch::MAX;
    let electorate = Electorate { epoch: last, ..electorate(0) };
    let mut header = Header { epoch: last, ..header(0, true) };
    header.authority_root = Hash::ZERO;
    let subject = Subject::finalize(last, header.view, header.hash());
    let step = EpochStep { finalization: certificate(0, subject, CHAIN), header, next: set(1) };
    let mut client = LightClient::new(electorate);
    assert!(matches!(client.advance(step), Err(StepError::OutOfEpochs(_))));
}

/// What whoever holds every key of epoch 1 can sign long after: another end of it, with a set of its own.
fn other_history() -> EpochStep {
    let next = AuthoritySet::new(vec![key(66).public_key()]).unwrap();
    let next_authority_root = next.root(Epoch::new(2));
    let header = Header { state_root: Hash::from_bytes([6; 32]), next_authority_root, ..header(1, true) };
    EpochStep { finalization: finalization(&header), header, next }
}

/// A client that has walked from genesis to epoch 1 cannot tell which of two histories is the older.
#[test]
fn a_history_signed_anew_is_believed_from_genesis_and_refused_from_a_checkpoint() {
    let mut from_genesis = client(0);
    from_genesis.advance(step(0)).unwrap();
    let mut deceived = from_genesis.clone();
    assert_eq!(deceived.advance(other_history()), Ok(()));
    assert!(deceived.electorate().authorities.index_of(&key(66).public_key()).is_some());

    // The true end of epoch 1: its own authorities do not count any more.
    let end = header(1, true);
    let trusted = Checkpoint::of(&end);
    let start = |header: &Header, set| LightClient::from_checkpoint(trusted, CHAIN, header, set);
    let mut client = start(&end, set(2)).unwrap();
    assert_eq!(client.electorate(), &electorate(2));
    assert!(client.clone().advance(other_history()).is_err());
    client.advance(step(2)).unwrap();
    assert_eq!(client.electorate(), &electorate(3));

    let forged = other_history();
    let found = Checkpoint::of(&forged.header);
    assert_eq!(
        start(&forged.header, forged.next.clone()),
        Err(CheckpointError::OtherHeader { found, trusted })
    );
    assert_eq!(start(&end, forged.next), Err(CheckpointError::OtherAuthorities(Epoch::new(2))));
    let elsewhere = Header { chain: OTHER_CHAIN, ..end };
    assert!(matches!(start(&elsewhere, set(2)), Err(CheckpointError::OtherChain { .. })));
}

#[test]
fn a_checkpoint_within_an_epoch_is_kept_to() {
    let within = header(1, false);
    let trusted = Checkpoint::of(&within);
    let client = LightClient::from_checkpoint(trusted, CHAIN, &within, set(1)).unwrap();
    assert_eq!(client.electorate(), &electorate(1));
    client.verify_header(&within, &finalization(&within)).unwrap();
    client.clone().advance(step(1)).unwrap();
    let other = Header { state_root: Hash::from_bytes([6; 32]), ..within.clone() };
    assert_eq!(
        client.verify_header(&other, &finalization(&other)),
        Err(FinalityError::OtherThanTrusted { found: Checkpoint::of(&other), trusted })
    );
    let below = Header { height: Height::new(within.height.get() - 1), ..within };
    assert_eq!(
        client.verify_header(&below, &finalization(&below)),
        Err(FinalityError::BelowCheckpoint { found: below.height, trusted })
    );
}

#[test]
fn a_checkpoint_is_written_and_read() {
    let checkpoint = Checkpoint::of(&header(1, true));
    let text = checkpoint.to_string();
    assert_eq!(text, format!("20:{}", checkpoint.block));
    assert_eq!(text.parse(), Ok(checkpoint));
    for wrong in ["", "20", ":", "20:", "x:aa", &text[..20], &format!("{text}0"), &format!("-{text}")] {
        assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong}");
    }
}
