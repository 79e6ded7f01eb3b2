//! Goal: every value on the wire and in the store has one encoding, which does not change unsaid.
//!
//! Method: pinned bytes of one value of each kind (`encodings.txt`; where a change of the format is
//! meant, the failing test prints what to write there); random values go to bytes and to JSON and
//! back; changed and random bytes either fail to decode or are the one encoding of what they gave.

use std::sync::Arc;

use evchain_protocol::authority::{AuthorityIndex, AuthoritySet, MAX_AUTHORITIES};
use evchain_protocol::block::Header;
use evchain_protocol::codec::{Decode, Encode, List, decode, encode};
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::{Hash, PublicKey, Signature};
use evchain_protocol::event::EventRecord;
use evchain_protocol::finality::{
    Certificate, Evidence, Justification, MAX_SKIPS, ParentProof, Subject, UnjustifiedVote, Vote,
};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::governance::{Change, ParamChange, StandingChange};
use evchain_protocol::payment::{DepositRule, InstallmentCount};
use evchain_protocol::primitives::{Amount, Epoch, Nonce, Span, TxRef, View};
use evchain_protocol::sealed::{SealedFor, SealedPlace};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::{Bid, BidPosition, Place};
use evchain_protocol::state::channel::{ChannelState, CoSignedState};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::state::value::{MAX_VALUE_BYTES, StateValue};
use evchain_protocol::text::Text;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::channel::{
    ChallengeChannel, CloseChannel, ForceCloseChannel, OpenChannel,
};
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimHashes, ClaimLock, IndexedPreimage};
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::evidence::ReportOffence;
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::participant::Admit;
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::withdraw::Withdraw;
use evchain_protocol::transaction::{Action, MAX_TRANSACTION_BYTES, SignedTransaction, Transaction};
use proptest::prelude::*;
use proptest::sample::Index;
use zeroize::Zeroizing;

use crate::chain::*;
use crate::channels::{challenge, force, state, with_channel};
use crate::payments::{chain_locks, claim_chain, with_payment};
use crate::values;

fn one_of_each_action() -> Vec<(&'static str, Action)> {
    let chain = Chain::new();
    let name = TxRef::from_be_bytes([0, 0, 0, 0, 0, 0x10, 0, 3]);
    let hash = preimage(1).lock();
    let to = PublicKey::from_bytes([4; 32]);
    let state = ChannelState { channel: name, released: 7, closing: true }.sign(&alice(), chain.id);
    let co_signed = CoSignedState {
        state: state.state,
        consumer: state.signature,
        producer: state.state.sign(&bob(), chain.id).signature,
    };
    let indexed = IndexedPreimage { index: 6, preimage: preimage(7) };
    let deposit = DepositRule::Refund(at(5));
    let chained = InstallmentLocks::Chain(ChainAnchor { anchor: hash, count: count(100) });
    let hashes = InstallmentLocks::Hashes(vec![hash; 2].try_into().unwrap());
    let pay = |locks| LockInstallments { request: name, producer: to, deposit, locks };
    let amount = Amount::new(4900);
    let propose = |change| Action::Propose(Propose { change });
    let report = |evidence| Action::ReportOffence(ReportOffence { evidence });
    let just = Justification { parent: ParentProof::Root, skips: List::default() };
    let mut actions = vec![
        ("transfer", Action::Transfer(Transfer { to, amount })),
        ("admit", Action::Admit(Admit { participant: to, roles: Roles::ALL, withdraw_to: None })),
        ("station", Action::RecordStation(RecordStation { station: a_station() })),
        ("request", Action::PlaceRequest(a_request().try_into().unwrap())),
        ("bid", Action::PlaceBid(PlaceBid::new(name, a_bid()).unwrap())),
        ("bid-sealed", Action::PlaceBid(PlaceBid::new(name, a_sealed_bid(name, &chain)).unwrap())),
        ("commit", Action::Commit(Commit { commitment: hash })),
        ("lock", Action::CreateLock(CreateLock { payee: to, amount, hash, deadline: at(9) })),
        ("lock-hashes", Action::LockInstallments(pay(hashes))),
        ("lock-chain", Action::LockInstallments(pay(chained))),
        ("claim-lock", Action::Claim(Claim::Lock(ClaimLock { lock: name, preimage: preimage(1) }))),
        (
            "claim-hashes",
            Action::Claim(Claim::Hashes(ClaimHashes {
                payment: name,
                preimages: vec![indexed].try_into().unwrap(),
            })),
        ),
        (
            "claim-chain",
            Action::Claim(Claim::Chain(ClaimChain { payment: name, index: 99, link: preimage(3) })),
        ),
        ("cancel-payment", Action::Cancel(Cancel::Payment(name))),
        ("cancel-channel", Action::Cancel(Cancel::Channel(name))),
        (
            "channel-open",
            Action::OpenChannel(OpenChannel {
                request: name,
                producer: to,
                count: count(100),
                challenge: Span::new(60_000),
                deadline: at(9),
            }),
        ),
        ("channel-close", Action::CloseChannel(CloseChannel { state })),
        ("channel-force", Action::ForceCloseChannel(ForceCloseChannel { channel: name, state: None })),
        ("channel-challenge", Action::ChallengeChannel(ChallengeChannel { state })),
        ("channel-post", Action::PostState(PostState { state: co_signed })),
        ("propose-add", propose(Change::AddAuthority(to))),
        ("propose-remove", propose(Change::RemoveAuthority(to))),
        ("propose-param", propose(Change::SetParam(ParamChange::HopBound(Span::new(300))))),
        ("approve", Action::Approve(Approve { proposal: name })),
        ("report-votes", report(conflicting_votes())),
        ("report-unjustified", report(unjustified_vote(&chain.tip, &just))),
    ];
    actions.extend(standing_actions(to));
    actions
}

fn standing_actions(account: PublicKey) -> [(&'static str, Action); 4] {
    let withdraw_to = Some(PublicKey::from_bytes([5; 32]));
    let propose = |change| Action::Propose(Propose { change: Change::Standing(change) });
    [
        ("admit-withdraw-to", Action::Admit(Admit { participant: account, roles: Roles::ALL, withdraw_to })),
        ("propose-revoke", propose(StandingChange::Revoke { account, withdraw_to })),
        ("propose-roles", propose(StandingChange::SetRoles { account, roles: Roles::CONSUMER })),
        ("withdraw", Action::Withdraw(Withdraw { to: account })),
    ]
}

/// What a payment, a channel and a producer's record look like when something has happened to them.
fn objects_with_a_history() -> Vec<(&'static str, StateValue)> {
    let (mut paid, payment) = with_payment(chain_locks(3), DepositRule::Forfeit);
    paid.act(at(50 * MINUTE), &bob(), claim_chain(payment, 3, 1));
    let (mut disputed, channel) = with_channel();
    disputed.act(at(70 * MINUTE), &bob(), force(channel, None));
    let newer = state(&disputed, &bob(), channel, 4);
    disputed.act(at(71 * MINUTE), &alice(), challenge(newer));
    let channel = disputed.state.channel(channel).unwrap().unwrap();
    disputed.pass(at(76 * MINUTE));
    let record = disputed.state.track_record(&bob().public_key()).unwrap().unwrap();
    vec![
        ("state-payment", StateValue::Payment(paid.state.payment(payment).unwrap().unwrap())),
        ("state-channel", StateValue::Channel(channel)),
        ("state-track-record", StateValue::TrackRecord(record)),
    ]
}

/// A bid of Bob's that only Alice can read the place of.
fn a_sealed_bid(request: TxRef, chain: &Chain) -> Bid {
    let place = Place { position: a_station().position, contact: a_station().contact };
    let context = SealedFor { chain: chain.id, request, producer: bob().public_key() };
    let sealed = SealedPlace::seal(&place, &alice().public_key(), &context, &Zeroizing::new([9; 32]));
    Bid { position: BidPosition::Sealed(sealed.unwrap()), ..a_bid() }
}

fn conflicting_votes() -> Evidence {
    let signature = Signature::from_bytes([7; 64]);
    let vote = |subject| Vote { subject, signer: AuthorityIndex::new(2), signature };
    let (epoch, view) = (Epoch::new(1), View::new(3));
    let block = Hash::from_bytes([9; 32]);
    Evidence::of_votes(vote(Subject::nullify(epoch, view)), vote(Subject::finalize(epoch, view, block)))
        .unwrap()
}

fn unjustified_vote(header: &Header, just: &Justification) -> Evidence {
    let header = Header { just_root: just.root(), ..header.clone() };
    let subject = Subject::notarize(header.epoch, header.view, header.hash());
    let vote = Vote { subject, signer: AuthorityIndex::new(2), signature: Signature::from_bytes([7; 64]) };
    let (item, proof) = just.prove(just.skips.len()).unwrap();
    Evidence::Justification(Box::new(UnjustifiedVote { vote, header, item, proof }))
}

/// As many signatures as there can be.
fn largest_certificate() -> Arc<Certificate> {
    Arc::new(Certificate {
        subject: Subject::nullify(Epoch::new(1), View::new(3)),
        signers: (0..u8::try_from(MAX_AUTHORITIES).unwrap()).map(AuthorityIndex::new).collect(),
        signatures: List::new(vec![Signature::from_bytes([7; 64]); MAX_AUTHORITIES]).unwrap(),
    })
}

#[test]
fn encodings_are_pinned() {
    let mut lines = String::new();
    let mut line = |name: &str, bytes: &[u8]| {
        lines.extend([name, " ", &hex_of(bytes), "\n"]);
    };
    for (name, action) in one_of_each_action() {
        line(name, &encode(&action));
    }
    let chain = Chain::new();
    let action = Action::Transfer(Transfer { to: bob().public_key(), amount: Amount::new(1) });
    let transaction = Transaction { sender: alice().public_key(), nonce: Nonce::new(2), action };
    let signed = transaction.sign(&alice(), chain.id);
    line("signed-transfer", &signed.to_bytes());
    line("signed-transfer-id", signed.id().as_bytes());
    line("chain-id", chain.id.0.as_bytes());
    line("genesis-block-id", chain.tip.hash().as_bytes());
    line("genesis-state-root", chain.tip.state_root.as_bytes());
    for (key, value) in chain.state.iter() {
        line(&format!("state-{}", &hex_of(&key.to_bytes())), &encode(value));
    }
    for (name, value) in objects_with_a_history() {
        line(name, &encode(&value));
    }
    let opening = Opening {
        request: TxRef::MIN,
        price: Amount::new(1003),
        consumer: alice().public_key(),
        producer: bob().public_key(),
        secret: preimage(5),
    };
    line("commitment", opening.commitment(chain.id).as_bytes());

    let pinned = include_str!("encodings.txt");
    assert!(lines == pinned, "the encodings are not those of encodings.txt, but:\n{lines}");
}

fn hex_of(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// The longest transactions fit under the limit, so that no valid one is refused for its length.
#[test]
fn the_longest_transaction_fits() {
    let chain = Chain::new();
    let all = (0..1024).map(|index| IndexedPreimage { index, preimage: preimage(1) }).collect::<Vec<_>>();
    let claim = ClaimHashes { payment: TxRef::MIN, preimages: all.try_into().unwrap() };
    let longest = chain.sign(&bob(), Action::Claim(Claim::Hashes(claim)));
    assert!(longest.encoded_len() <= MAX_TRANSACTION_BYTES);
    assert!(longest.encoded_len() > MAX_TRANSACTION_BYTES / 2);

    let skips = List::new(vec![largest_certificate(); MAX_SKIPS]).unwrap();
    let evidence = unjustified_vote(&chain.tip, &Justification { parent: ParentProof::Root, skips });
    let report = chain.sign(&bob(), Action::ReportOffence(ReportOffence { evidence }));
    assert!(report.encoded_len() <= 10 * 1024, "{} bytes of evidence", report.encoded_len());
}

#[test]
fn transactions_read_and_write_json() {
    for (name, action) in one_of_each_action() {
        let json = serde_json::to_string(&action).unwrap();
        let back: Action =
            serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}: {json}"));
        assert_eq!(back, action, "{json}");
    }
    let transfer = Action::Transfer(Transfer { to: alice().public_key(), amount: Amount::new(4900) });
    assert_eq!(
        serde_json::to_value(transfer).unwrap(),
        serde_json::json!({ "kind": "transfer", "to": alice().public_key().to_string(), "amount": 4900 })
    );
}

fn same_after_bytes<T: Encode + Decode<()> + PartialEq + std::fmt::Debug>(value: &T) -> Vec<u8> {
    let bytes = encode(value);
    assert_eq!(&decode::<T>(&bytes, bytes.len()).unwrap(), value);
    bytes
}

/// What decodes must encode to the very bytes that it came from.
fn one_encoding<T: Encode + Decode<()>>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes, MAX_VALUE_BYTES) {
        assert_eq!(encode(&value), bytes);
    }
}

/// A byte changed, a byte more, or cut off.
fn changes() -> impl Strategy<Value = (Index, u8, u8)> {
    (any::<Index>(), 1..=255u8, 0..3u8)
}

fn change(bytes: &mut Vec<u8>, (index, bits, kind): (Index, u8, u8)) {
    let at = index.index(bytes.len());
    match kind {
        0 => bytes[at] ^= bits,
        1 => bytes.insert(at, bits),
        _ => bytes.truncate(at),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn transactions_have_one_encoding(value in values::signed_transaction(), changed in changes()) {
        let mut bytes = same_after_bytes(&value);
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(&serde_json::from_str::<SignedTransaction>(&json).unwrap(), &value);
        change(&mut bytes, changed);
        one_encoding::<SignedTransaction>(&bytes);
    }

    #[test]
    fn state_entries_have_one_encoding(value in values::state_value(), changed in changes()) {
        let mut bytes = same_after_bytes(&value);
        prop_assert!(serde_json::to_string(&value).is_ok());
        change(&mut bytes, changed);
        one_encoding::<StateValue>(&bytes);
    }

    #[test]
    fn events_have_one_encoding(value in values::event(), changed in changes()) {
        let mut bytes = same_after_bytes(&value);
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(&serde_json::from_str::<EventRecord>(&json).unwrap(), &value);
        change(&mut bytes, changed);
        one_encoding::<EventRecord>(&bytes);
    }

    #[test]
    fn openings_hide_what_they_bind(value in values::opening(), other in values::opening()) {
        same_after_bytes(&value);
        let chain = Chain::new().id;
        let elsewhere = evchain_protocol::crypto::ChainId(Hash::ZERO);
        let mut dearer = value;
        dearer.price = other.price;
        for different in [other.commitment(chain), value.commitment(elsewhere), dearer.commitment(chain)] {
            prop_assert_ne!(value.commitment(chain), different);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        one_encoding::<SignedTransaction>(&bytes);
        one_encoding::<StateValue>(&bytes);
        one_encoding::<EventRecord>(&bytes);
        one_encoding::<Genesis>(&bytes);
        if let Ok(key) = StateKey::from_bytes(&bytes) {
            prop_assert_eq!(key.to_bytes(), bytes);
        }
    }

    #[test]
    fn state_keys_sort_as_their_bytes(a in values::state_key(), b in values::state_key()) {
        prop_assert_eq!(StateKey::from_bytes(&a.to_bytes()), Ok(a));
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
    }
}

/// Bytes that would encode again to themselves, but mean what no value of the type does.
#[test]
fn values_outside_their_range_do_not_decode() {
    assert!(decode::<Roles>(&[0b111], 1).is_ok());
    assert!(decode::<Roles>(&[0b1000], 1).is_err());
    for (count, good) in [(0u16, false), (1, true), (1024, true), (1025, false)] {
        assert_eq!(decode::<InstallmentCount>(&encode(&count), 2).is_ok(), good, "{count}");
    }
    assert!(decode::<Action>(&[20], 1).is_err(), "an unknown kind");
    let withdraw = Withdraw { to: PublicKey::from_bytes([4; 32]) };
    let mut retired = encode(&Action::Withdraw(withdraw));
    retired[0] = 2;
    assert!(decode::<Action>(&retired, 99).is_err(), "one authority's revocation, which is no kind any more");
    assert!(decode::<Text<9>>(&encode(&List::<u8, 9>::new(b"a\nb".to_vec()).unwrap()), 99).is_err());

    let set = AuthoritySet::new(vec![alice().public_key(), bob().public_key()]).unwrap();
    let mut keys = set.keys().to_vec();
    let as_set = |keys: &[PublicKey]| {
        let list = List::<PublicKey, 9>::new(keys.to_vec()).unwrap();
        decode::<AuthoritySet>(&encode(&list), 999)
    };
    assert_eq!(as_set(&keys), Ok(set));
    keys.reverse();
    assert!(as_set(&keys).is_err(), "the same authorities under another root");
    keys[1] = keys[0];
    assert!(as_set(&keys).is_err(), "an authority twice");
    assert!(as_set(&[]).is_err(), "no authority");
}
