//! Goal: no legal value of a parameter stops a chain: a leader's fullest block still fits into what every
//! node accepts as a body, and a decision that mends the parameter still gets into a block.
//! Method: each parameter at both ends of what `Params::validate` lets pass, on a chain that really
//! executes blocks; the largest blocks are filled to the brim and encoded.

use evchain_protocol::codec::{self, List};
use evchain_protocol::crypto::KeyPair;
use evchain_protocol::execute::{
    BlockContext, ExecuteError, Filled, Ledger, Parent, execute_block, fill_block,
};
use evchain_protocol::governance::{Change, ParamChange};
use evchain_protocol::params::{MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_BODY_BYTES, Params};
use evchain_protocol::primitives::{Amount, Height, Nonce};
use evchain_protocol::text::Text;
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, RejectReason, SignedTransaction, VerifiedTransaction};

use crate::chain::{Chain, MONEY, a_station, alice, at, authority, bob, dave, header_of, params};

/// A parameter, the lowest and the highest value that a chain takes, and what others have to be with them.
struct Bounds {
    name: &'static str,
    lowest: u64,
    highest: u64,
    /// With either value.
    with: &'static [(&'static str, u64)],
}

const fn bounds(name: &'static str, lowest: u64, highest: u64) -> Bounds {
    Bounds { name, lowest, highest, with: &[] }
}

const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 366 * 24 * HOUR_MS;
const MONEY_HAS_NO_BOUND: u64 = u64::MAX;

/// Every parameter with a number. A boolean is legal either way.
const BOUNDS: [Bounds; 19] = [
    bounds("fee_flat", 0, MONEY_HAS_NO_BOUND),
    bounds("fee_per_byte", 0, MONEY_HAS_NO_BOUND),
    Bounds { with: &[("max_skew", 0)], ..bounds("claim_margin", 0, YEAR_MS) },
    bounds("min_challenge", 1, 7 * 24 * HOUR_MS),
    Bounds { with: &[("min_challenge", 1)], ..bounds("max_challenge", 1, YEAR_MS) },
    bounds("max_installments", 1, 1000),
    bounds("max_open_requests", 1, 65_536),
    bounds("max_bids", 1, 1024),
    bounds("max_window", 1, YEAR_MS),
    bounds("max_lead", 1, YEAR_MS),
    Bounds { with: &[("claim_margin", YEAR_MS)], ..bounds("max_skew", 0, HOUR_MS) },
    bounds("max_block_transactions", 1, MAX_BLOCK_TRANSACTIONS as u64),
    bounds("max_block_bytes", 40 * 1024, MAX_BLOCK_BYTES as u64),
    Bounds { with: &[("idle_interval", 20), ("min_block_interval", 0)], ..bounds("hop_bound", 20, HOUR_MS) },
    Bounds { with: &[("min_block_interval", 0)], ..bounds("idle_interval", 1, 500) },
    bounds("min_block_interval", 0, 500),
    bounds("epoch_length", 2, 1_000_000_000),
    bounds("proposal_epochs", 1, 1_000_000),
    bounds("max_admissions", 1, 65_536),
];

impl Bounds {
    fn params(&self, value: u64) -> Params {
        let mut fields = serde_json::to_value(params()).unwrap();
        for (name, value) in self.with.iter().chain([&(self.name, value)]) {
            fields[*name] = (*value).into();
        }
        serde_json::from_value(fields).unwrap()
    }
}

#[test]
fn every_parameter_has_its_bounds_here() {
    let fields = serde_json::to_value(params()).unwrap();
    let listed: Vec<&str> = BOUNDS.iter().map(|bounds| bounds.name).collect();
    for (name, value) in fields.as_object().unwrap() {
        // The tree's depth is part of the genesis alone, and cannot be changed.
        let is_number = value.is_number() && name != "state_tree_depth";
        assert_eq!(is_number, listed.contains(&name.as_str()), "{name}");
    }
    for bounds in &BOUNDS {
        let is_legal = |value| bounds.params(value).validate().is_ok();
        assert!(is_legal(bounds.lowest) && is_legal(bounds.highest), "{}", bounds.name);
        // The highest number of installments is its type's.
        if bounds.highest < u64::MAX && bounds.name != "max_installments" {
            assert!(!is_legal(bounds.highest + 1), "{} above its highest", bounds.name);
        }
        if bounds.lowest > 0 && bounds.name != "max_installments" {
            assert!(!is_legal(bounds.lowest - 1), "{} below its lowest", bounds.name);
        }
    }
}

#[test]
fn k3_a_chain_goes_on_with_every_legal_parameter() {
    for bounds in &BOUNDS {
        for value in [bounds.lowest, bounds.highest] {
            let chain = Chain::with(bounds.params(value));
            // What mends the parameter costs nothing, and may come behind as much as there is.
            let change = Change::SetParam(ParamChange::MaxOpenRequests(3));
            let mend = chain.sign(&authority(), Action::Propose(Propose { change }));
            let pay = |nonce| {
                let action = Action::Transfer(Transfer { to: bob().public_key(), amount: Amount::new(1) });
                chain.sign_with(&alice(), Nonce::new(nonce), action).unwrap()
            };
            let candidates: Vec<_> = std::iter::once(mend.clone()).chain((0..3).map(pay)).collect();
            let transactions = fits(&chain, candidates);
            assert_eq!(transactions.first(), Some(&mend), "{} = {value}", bounds.name);
        }
    }
}

#[test]
fn k3_the_fullest_block_has_a_body_that_every_node_accepts() {
    let mut station = a_station();
    station.contact = Text::new("c".repeat(128)).unwrap();
    // Full by the number of its transactions, then by their bytes.
    for max_block_bytes in [MAX_BLOCK_BYTES, MAX_BLOCK_BYTES / 2] {
        let max_block_transactions = MAX_BLOCK_TRANSACTIONS;
        let chain = Chain::with(Params {
            fee_flat: Amount::ZERO,
            max_block_bytes,
            max_block_transactions,
            ..params()
        });
        let record = |nonce| {
            let action = Action::RecordStation(RecordStation { station: station.clone() });
            chain.sign_with(&bob(), Nonce::new(nonce), action).unwrap()
        };
        let by_bytes = max_block_bytes as usize / record(0).encoded_len();
        assert_eq!(by_bytes < MAX_BLOCK_TRANSACTIONS as usize, max_block_bytes < MAX_BLOCK_BYTES);
        let needed = by_bytes.min(MAX_BLOCK_TRANSACTIONS as usize);
        let transactions = fits(&chain, (0..=needed as u64).map(record).collect());
        assert_eq!(transactions.len(), needed, "the block is full");
    }
}

#[test]
fn what_cannot_stand_in_a_block_costs_no_place_in_it() {
    let chain = Chain::with(Params { max_block_transactions: 3, ..params() });
    // A flood of what every node rejects, and of nonces behind a gap.
    let to = bob().public_key();
    let pay = |from: &KeyPair, nonce| {
        let action = Action::Transfer(Transfer { to, amount: Amount::new(1) });
        chain.sign_with(from, Nonce::new(nonce), action).unwrap()
    };
    let junk = (0..200).map(|nonce| pay(&dave(), nonce)).chain((5..200).map(|nonce| pay(&alice(), nonce)));
    let honest: Vec<_> = (0..3).map(|nonce| pay(&alice(), nonce)).collect();
    assert_eq!(fits(&chain, junk.chain(honest.clone()).collect()), honest);
}

#[test]
fn what_is_too_long_for_the_rest_of_a_block_ends_it_for_nobody_else() {
    let mut station = a_station();
    station.contact = Text::new("c".repeat(128)).unwrap();
    let long = Action::RecordStation(RecordStation { station });
    let short = Action::Transfer(Transfer { to: dave().public_key(), amount: Amount::new(1) });
    let chain = Chain::with(Params { max_block_bytes: 40 * 1024, ..params() });
    let (bob_length, alice_length) =
        (chain.sign(&bob(), long.clone()).encoded_len(), chain.sign(&alice(), short.clone()).encoded_len());
    assert!(alice_length < bob_length);
    let longs = 40 * 1024 / bob_length;
    let rest = 40 * 1024 - longs * bob_length;
    // Fills the block but for less than one of Bob's, then less than one of Alice's.
    let candidates = (0..=longs as u64)
        .map(|nonce| chain.sign_with(&bob(), Nonce::new(nonce), long.clone()).unwrap())
        .chain((0..2).map(|nonce| chain.sign_with(&alice(), Nonce::new(nonce), short.clone()).unwrap()));
    let transactions = fits(&chain, candidates.collect());
    let alices = transactions.iter().filter(|tx| *tx.sender() == alice().public_key()).count();
    assert_eq!(alices, (rest / alice_length).min(2), "{rest} bytes are left");
    assert_eq!(transactions.len() - alices, longs);
}

#[test]
fn a_leader_that_has_to_stop_early_has_a_valid_block() {
    let chain = Chain::new();
    let pay = |nonce| {
        let action = Action::Transfer(Transfer { to: bob().public_key(), amount: Amount::new(1) });
        chain.sign_with(&alice(), Nonce::new(nonce), action).unwrap()
    };
    let mut candidates = (0..10).map(pay);
    // Whoever hands the candidates over decides when it is enough; validity asks for no clock.
    let transactions = fill(&chain, |filled| candidates.next().filter(|_| filled.transactions < 4));
    assert_eq!(transactions.len(), 4);
}

#[test]
fn g3_a_look_ahead_asks_for_everything_but_the_turn() {
    let mut chain = Chain::new();
    let pay = |units| Action::Transfer(Transfer { to: bob().public_key(), amount: Amount::new(units) });
    let look = |chain: &Chain, from: &KeyPair, nonce, units| {
        let transaction = chain.sign_with(from, Nonce::new(nonce), pay(units)).unwrap();
        let context = BlockContext::new(chain.id, Height::new(1), chain.next(), &chain.state).unwrap();
        match Ledger::new(&context, &chain.state).execute_out_of_turn(&transaction) {
            Ok(()) => None,
            Err(ExecuteError::Rejected(reason)) => Some(reason),
            Err(ExecuteError::Failed(error)) => panic!("{error}"),
        }
    };
    assert_eq!(look(&chain, &alice(), 0, 1), None);
    assert_eq!(look(&chain, &alice(), 7, 1), None);
    assert!(matches!(look(&chain, &alice(), 7, MONEY), Some(RejectReason::NotCovered { .. })));
    assert!(matches!(look(&chain, &dave(), 7, 1), Some(RejectReason::NoAccount { .. })));
    assert!(matches!(look(&chain, &alice(), u64::MAX, 1), Some(RejectReason::NoncesUsedUp { .. })));
    chain.act(at(5), &alice(), pay(1));
    assert!(matches!(look(&chain, &alice(), 0, 1), Some(RejectReason::NonceTooLow { .. })));
}

/// The transactions of the block that a leader makes of these.
fn fits(chain: &Chain, candidates: Vec<VerifiedTransaction>) -> Vec<VerifiedTransaction> {
    let mut candidates = candidates.into_iter();
    fill(chain, |_| candidates.next())
}

/// The transactions of the block that a leader makes, which followers accept, and whose body fits.
fn fill(chain: &Chain, next: impl FnMut(Filled) -> Option<VerifiedTransaction>) -> Vec<VerifiedTransaction> {
    let view = chain.tree.unchanged();
    let parent = Parent { header: &chain.tip, state: &chain.state, tree: &view };
    let built = fill_block(&parent, at(5), next).unwrap();
    let header = header_of(&chain.tip, at(5), &built);
    assert_eq!(execute_block(&parent, &header, &built.transactions).unwrap(), built.executed);
    let signed: Vec<SignedTransaction> = built.transactions.iter().map(|tx| tx.signed().clone()).collect();
    let body: List<_, { MAX_BLOCK_TRANSACTIONS as usize }> = List::new(signed).unwrap();
    let bytes = codec::encode(&body);
    assert!(bytes.len() <= MAX_BODY_BYTES, "a body of {} bytes", bytes.len());
    let counted: usize = built.transactions.iter().map(VerifiedTransaction::encoded_len).sum();
    assert_eq!(bytes.len() - counted, MAX_BODY_BYTES - MAX_BLOCK_BYTES as usize, "what comes on top");
    built.transactions
}
