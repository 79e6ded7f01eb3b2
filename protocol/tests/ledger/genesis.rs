//! Goal: which genesis a chain can start from, and what it starts with. Method: one genesis for each
//! thing that can be wrong; equal chains for equal content in another order.

use evchain_protocol::authority::AuthoritySetError;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::genesis::{Genesis, GenesisAccount, GenesisError};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Span};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::memory::MemoryState;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::text::Text;

use crate::chain::*;

fn error_of(change: impl FnOnce(&mut Genesis)) -> GenesisError {
    let mut genesis = genesis(params());
    change(&mut genesis);
    genesis.build().unwrap_err()
}

fn bad_param(change: impl FnOnce(&mut Params)) -> &'static str {
    let mut params = params();
    change(&mut params);
    match genesis(params).build().unwrap_err() {
        GenesisError::Params(bad) => bad.name,
        other => panic!("not a parameter: {other}"),
    }
}

fn with_account(genesis: &mut Genesis, key: PublicKey, balance: Amount) {
    let mut accounts = genesis.accounts.to_vec();
    accounts.push(GenesisAccount { key, balance, roles: Roles::NONE });
    genesis.accounts = List::new(accounts).unwrap();
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(error_of(|g| g.name = Text::new(" ").unwrap()), GenesisError::NoName);
    assert_eq!(
        error_of(|g| g.authorities = List::default()),
        GenesisError::Authorities(AuthoritySetError::Empty)
    );
    let twice = alice().public_key();
    assert_eq!(error_of(|g| with_account(g, twice, Amount::ZERO)), GenesisError::DuplicateAccount(twice));
    assert_eq!(error_of(|g| with_account(g, dave().public_key(), Amount::MAX)), GenesisError::TooMuchMoney);
    let unusable = PublicKey::from_bytes([0; 32]);
    assert_eq!(error_of(|g| with_account(g, unusable, Amount::ZERO)), GenesisError::InvalidKey(unusable));
    assert!(matches!(error_of(|g| g.params.state_tree_depth = 25), GenesisError::TreeDepth(_)));
}

#[test]
fn parameters_are_bounded() {
    assert_eq!(Params::default().validate(), Ok(()));
    assert_eq!(bad_param(|p| p.min_challenge = Span::new(p.max_challenge.get() + 1)), "min_challenge");
    assert_eq!(bad_param(|p| p.max_bids = 0), "max_bids");
    assert_eq!(bad_param(|p| p.max_bids = 1025), "max_bids");
    assert_eq!(bad_param(|p| p.max_lead = Span::MAX), "max_lead");
    assert_eq!(bad_param(|p| p.max_block_transactions = 16_385), "max_block_transactions");
    // A block must have room for the longest transaction.
    assert_eq!(bad_param(|p| p.max_block_bytes = 40 * 1024 - 1), "max_block_bytes");
    assert_eq!(bad_param(|p| p.idle_interval = Span::new(p.hop_bound.get() + 1)), "idle_interval");
    assert_eq!(bad_param(|p| p.epoch_length = 1), "epoch_length");
    assert_eq!(bad_param(|p| p.epoch_length = u64::MAX), "epoch_length");
    assert_eq!(bad_param(|p| p.proposal_epochs = 0), "proposal_epochs");
    assert_eq!(bad_param(|p| p.proposal_epochs = u64::MAX), "proposal_epochs");
    assert_eq!(bad_param(|p| p.min_block_interval = Span::new(801)), "min_block_interval");
}

#[test]
fn the_order_of_lists_has_no_meaning_and_everything_else_has() {
    let one = genesis(params());
    let mut other = one.clone();
    other.accounts.reverse();
    assert_eq!(one.build(), other.build());
    let id = |change: &dyn Fn(&mut Genesis)| {
        let mut changed = one.clone();
        change(&mut changed);
        changed.build().unwrap().chain
    };
    let ids = [
        id(&|_| {}),
        id(&|g| g.name = Text::new("other").unwrap()),
        id(&|g| g.time = at(1)),
        id(&|g| g.treasury = dave().public_key()),
        id(&|g| g.params.fee_flat = money(3)),
        id(&|g| g.accounts[0].balance = money(3)),
        id(&|g| g.authorities = List::new(vec![dave().public_key()]).unwrap()),
    ];
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[..index].contains(id), "variant {index}");
    }
}

#[test]
fn authorities_and_treasury_get_accounts() {
    let block = genesis(params()).build().unwrap();
    assert_eq!(block.supply, money(3 * MONEY));
    let mut state = MemoryState::default();
    state.apply(block.state);
    for key in [authority(), treasury()] {
        assert_eq!(state.account(&key.public_key()).unwrap().unwrap().balance, Amount::ZERO);
    }
    assert_eq!(state.authorities().unwrap().unwrap().set, block.authorities);
}

#[test]
fn operators_write_it_in_json() {
    let text = format!(
        r#"{{ "name": "demo", "time": 5, "authorities": ["{a}"], "treasury": "{a}",
             "params": {{ "fee_flat": 10 }},
             "accounts": [{{ "key": "{b}", "balance": 70000, "roles": ["consumer", "producer"] }}] }}"#,
        a = authority().public_key(),
        b = bob().public_key(),
    );
    let genesis: Genesis = serde_json::from_str(&text).unwrap();
    assert_eq!(genesis.params, Params { fee_flat: money(10), ..Params::default() });
    assert!(genesis.params.validate().is_ok());
    assert_eq!(genesis.accounts[0].roles, Roles::CONSUMER.with(Roles::PRODUCER));
    let again: Genesis = serde_json::from_str(&serde_json::to_string(&genesis).unwrap()).unwrap();
    assert_eq!(again, genesis);
    for (wrong, says) in [
        (text.replace("fee_flat", "fee_flatt"), "fee_flatt"),
        (text.replace("\"producer\"", "\"produzer\""), "'produzer' is unknown here: use consumer, producer"),
        (text.replace("evc1", "evc2"), "is not an address"),
    ] {
        let error = serde_json::from_str::<Genesis>(&wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
