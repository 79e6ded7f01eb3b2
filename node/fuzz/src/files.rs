//! What agents and operators read from disk: wallets, journals, tariffs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::LazyLock;

use evchain_node::agents::producer::ProducerTariff;
use evchain_node::agents::sessions;
use evchain_node::wallet::Wallet;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// The first byte says what the rest is taken for.
pub fn fuzz_files(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 4 {
        0 => wallet(bytes),
        1 => journal("key-00001.journal", bytes),
        2 => journal("7-0.closed", bytes),
        _ => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            if let Ok(tariff) = ProducerTariff::from_toml(text) {
                let _ = tariff.check();
            }
        }
    }
}

fn wallet(bytes: &[u8]) {
    let path = FOLDER.path().join("wallet.json");
    write(&path, bytes);
    if let Ok(wallet) = Wallet::open(&path) {
        let _ = (wallet.main_key(), wallet.next_index());
    }
}

/// Damage is told, and nothing else comes of it.
fn journal(name: &str, bytes: &[u8]) {
    // One folder for each kind of name, so that each list has one entry.
    let state = FOLDER.path().join(name.replace('.', "-"));
    fs::create_dir_all(state.join("sessions")).expect("a folder");
    write(&state.join("sessions").join(name), bytes);
    let listed = sessions::list(&state).expect("a list");
    assert_eq!(listed.len(), 1, "a damaged journal is shown as such");
}

fn write(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("a file");
    file.write_all(bytes).expect("written");
}
