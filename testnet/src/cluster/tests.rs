//! Goal: ports do not collide, and a chain's files are made once and found again.
//! Method: the functions themselves, in a temporary folder.

use std::collections::BTreeSet;

use super::ports::free_ports;
use super::{ChainFiles, ClusterError, Participant};

#[test]
fn ports_are_all_different() {
    let ports = free_ports(32).unwrap();
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 32);
}

#[test]
fn chain_goes_on_in_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let made = ChainFiles::create(dir.path(), 4, &[Participant::bank()]).unwrap();
    let found = ChainFiles::open(dir.path(), 4).unwrap();
    assert_eq!(made.genesis(), found.genesis());
    assert_eq!(made.validators(), found.validators());
    assert_eq!(made.genesis().accounts.len(), 1);
    let bank = found.wallet("bank").unwrap().main_key().public_key();
    assert_eq!(made.genesis().accounts[0].key, bank);
}

#[test]
fn chain_is_never_overwritten_nor_taken_for_another() {
    let dir = tempfile::tempdir().unwrap();
    ChainFiles::create(dir.path(), 4, &[]).unwrap();
    assert!(matches!(ChainFiles::create(dir.path(), 4, &[]), Err(ClusterError::Folder { .. })));
    assert!(matches!(ChainFiles::open(dir.path(), 7), Err(ClusterError::Folder { .. })));
}
