//! Goal: a leader whose block does not fit makes a smaller one.
//! Method: a chain's first block, executed in memory, with a smaller limit than any chain has.

use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::KeyPair;
use evchain_protocol::execute::{Parent, build_block};
use evchain_protocol::genesis::{Genesis, GenesisAccount};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Nonce, Timestamp};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::memory::MemoryState;
use evchain_protocol::state::tree::{Tree, TreeDepth};
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, Transaction};

use super::pack;

#[test]
fn a_block_that_does_not_fit_is_made_smaller() {
    let (payer, authority) = (KeyPair::from_secret(&[1; 32]), KeyPair::from_secret(&[2; 32]));
    let account =
        GenesisAccount { key: payer.public_key(), balance: Amount::new(1_000), roles: Roles::CONSUMER };
    let genesis = Genesis {
        name: "test".to_owned().try_into().unwrap(),
        time: Timestamp::new(1),
        treasury: authority.public_key(),
        authorities: List::new(vec![authority.public_key()]).unwrap(),
        params: Params { state_tree_depth: 4, ..Params::default() },
        accounts: List::new(vec![account]).unwrap(),
    };
    let started = genesis.build().unwrap();
    let mut tree = Tree::empty(TreeDepth::new(4).unwrap());
    let delta = tree.unchanged().update(started.state.to_bytes());
    tree.apply(delta).unwrap();
    let mut state = MemoryState::default();
    state.apply(started.state);
    let view = tree.unchanged();
    let parent = Parent { header: &started.header, state: &state, tree: &view };

    let pay = |nonce| {
        let action = Action::Transfer(Transfer { to: authority.public_key(), amount: Amount::new(1) });
        let transaction = Transaction { sender: payer.public_key(), nonce: Nonce::new(nonce), action };
        Arc::new(transaction.sign(&payer, started.chain).verify(started.chain).unwrap())
    };
    let length = pay(0).encoded_len();
    let time = Timestamp::new(2);
    let built = || build_block(&parent, time, (0..20).map(pay)).unwrap();
    assert_eq!(built().transactions.len(), 20);
    let packed = |max_bytes| pack(&parent, time, built(), max_bytes);

    let (whole, body) = packed(20 * length + 4).unwrap();
    assert_eq!((whole.transactions.len(), body.as_bytes().len()), (20, 20 * length + 4));
    let (half, body) = packed(20 * length + 3).unwrap();
    assert_eq!((half.transactions.len(), body.as_bytes().len()), (10, 10 * length + 4));
    assert_ne!(half.executed.state_root, whole.executed.state_root, "it is executed anew");
    assert_eq!(packed(length + 4).unwrap().0.transactions.len(), 1);
    assert_eq!(packed(length).unwrap().0.transactions.len(), 0, "at worst it is empty");
    assert!(packed(3).is_err());
}
