//! Goal: a wallet never gives a secret away, never loses one, and never gives a key out twice.
//! Method: files in a temporary folder, damaged or opened up in every way that the error names; two
//! wallets on one file that take keys at the same time.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use evchain_protocol::crypto::{ChainId, Hash};

use super::{MAIN_KEY, Recorded, VotingRecord, Wallet, WalletError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_wallet_opens_again_with_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/wallet.json");
    let created = Wallet::create(&path).unwrap();
    let opened = Wallet::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(created.main_key().public_key(), opened.main_key().public_key());
    assert_eq!(opened.key(MAIN_KEY).public_key(), opened.main_key().public_key());
    assert_ne!(opened.key(1).public_key(), opened.main_key().public_key());
    let other = Wallet::create(&folder.path().join("other.json")).unwrap();
    assert_ne!(other.main_key().public_key(), opened.main_key().public_key());
}

#[test]
fn keys_come_from_the_seed_in_one_way_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    write(&path, &format!(r#"{{"version":1,"seed":"{}"}}"#, "07".repeat(32)), 0o600);
    let wallet = Wallet::open(&path).unwrap();
    let addresses = [0, 1, 1_000].map(|index| wallet.key(index).public_key().to_string());
    assert_eq!(addresses, PINNED);
}

/// Of the seed 0707...07. A change here would lose everybody's money.
const PINNED: [&str; 3] = [
    "evc1qxea3744wz2jkwr4agzmmnrwen769q433caejt2m0fj0s4u3jwgqwfmvu8",
    "evc109xgeuttpaxdlxh98e8xgv3e5wdhfmw7y7dvydl0qu9x0pvseess05yrgx",
    "evc1t3a85gtmw7mq7snr8afs7dqj6m0vrc5lfezxvd8xn4q0mxhsylusq53au5",
];

#[test]
fn a_wallet_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    let address = Wallet::create(&path).unwrap().main_key().public_key();
    assert!(matches!(Wallet::create(&path), Err(WalletError::Exists(_))));
    assert_eq!(Wallet::open(&path).unwrap().main_key().public_key(), address);
}

/// A validator whose key came without its record must not count as one that never voted.
#[test]
fn a_new_key_has_a_record_and_gets_no_other_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    let (record, chain) = (VotingRecord::beside(&path), ChainId(Hash::ZERO));
    assert_eq!(record.read(chain).unwrap(), Recorded::Missing);
    Wallet::create(&path).unwrap();
    assert_eq!(record.read(chain).unwrap(), Recorded::Never);
    fs::remove_file(&path).unwrap();
    assert!(matches!(Wallet::create(&path), Err(WalletError::Exists(file)) if file == record.path()));
    assert!(!path.exists());
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    Wallet::create(&path).unwrap();
    for open_to_others in [0o640, 0o604, 0o660, 0o601, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(open_to_others)).unwrap();
        let error = Wallet::open(&path).unwrap_err();
        assert!(matches!(error, WalletError::TooOpen { mode, .. } if mode == open_to_others), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(Wallet::open(&path).is_ok());
}

#[test]
fn what_is_no_wallet_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let seed = "ab".repeat(32);
    let cases = [
        ("empty", String::new()),
        ("no JSON", "wallet".to_owned()),
        ("cut off", format!(r#"{{"version":1,"seed":"{seed}"#)),
        ("a later version", format!(r#"{{"version":2,"seed":"{seed}"}}"#)),
        ("an unknown field", format!(r#"{{"version":1,"seed":"{seed}","cipher":"none"}}"#)),
        ("a short seed", format!(r#"{{"version":1,"seed":"{}"}}"#, &seed[2..])),
        ("a long seed", format!(r#"{{"version":1,"seed":"{seed}ab"}}"#)),
        ("too large", " ".repeat(300_000)),
    ];
    for (name, content) in cases {
        let path = folder.path().join(name);
        write(&path, &content, 0o600);
        let error = Wallet::open(&path).unwrap_err();
        assert!(matches!(error, WalletError::Malformed { .. }), "{name}: {error}");
        assert!(!error.to_string().contains(&seed[..8]), "{name} shows the seed: {error}");
        assert_eq!(name == "too large", error.to_string().contains("has more than"), "{name}: {error}");
    }
    let not_text = folder.path().join("binary");
    fs::write(&not_text, [0xff, 0xfe, 0]).unwrap();
    fs::set_permissions(&not_text, Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(Wallet::open(&not_text), Err(WalletError::Malformed { .. })));
    assert!(matches!(Wallet::open(&folder.path().join("none")), Err(WalletError::Missing(_))));
    assert!(matches!(Wallet::open(folder.path()), Err(WalletError::Malformed { .. })));
    // Whoever opened a pipe would wait for its writer.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(Wallet::open(&pipe), Err(WalletError::Malformed { .. })));
}

#[test]
fn no_fresh_key_is_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    Wallet::create(&path).unwrap();
    // Locks belong to open files, so each opening stands for a process of its own.
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let wallet = Wallet::open(&path).unwrap();
                (0..25).map(|_| wallet.fresh_key().unwrap().0).collect::<Vec<_>>()
            })
        })
        .collect();
    let taken: Vec<u64> = takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect();
    let distinct: BTreeSet<u64> = taken.iter().copied().collect();
    assert_eq!(distinct, (1..=100).collect());
    assert_eq!(taken.len(), distinct.len());
    assert_eq!(Wallet::open(&path).unwrap().next_index().unwrap(), 101);
}

#[test]
fn a_damaged_counter_is_an_error_and_not_a_fresh_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    let wallet = Wallet::create(&path).unwrap();
    let counter = folder.path().join("wallet.json.next");
    for damaged in ["", "0", "-1", "one", "18446744073709551616"] {
        fs::write(&counter, damaged).unwrap();
        assert!(matches!(wallet.fresh_key(), Err(WalletError::Malformed { .. })), "{damaged:?}");
    }
    fs::write(&counter, u64::MAX.to_string()).unwrap();
    assert!(matches!(wallet.fresh_key(), Err(WalletError::NoKeysLeft(_))));
}

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
