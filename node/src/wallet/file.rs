use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use evchain_protocol::crypto::{Hash, KeyPair, PublicKey, Purpose};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::error::WalletError;
use super::private_file;
use super::voting_record::VotingRecord;

/// The index of the key that a participant is known by.
pub const MAIN_KEY: u64 = 0;

/// The version of the file's format. A later one may hold the seed encrypted.
const VERSION: u32 = 1;

/// A seed and the keys from it: key 0 is the participant's own, the others are fresh ones, each for
/// one request (P18 3.1).
///
/// Which fresh key is next is in a file beside the seed's, so that the seed's is never written again.
pub struct Wallet {
    path: PathBuf,
    seed: Zeroizing<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedFile {
    version: u32,
    /// 32 bytes in hexadecimal.
    seed: String,
}

impl Drop for SeedFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl Wallet {
    /// A wallet with a new seed, in a new file, and the record beside it that its key has signed nothing.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub fn create(path: &Path) -> Result<Self, WalletError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(WalletError::io("make the folder", folder))?;
        }
        let record = VotingRecord::beside(path);
        if record.path().exists() {
            // That of another key, which may come back.
            return Err(WalletError::Exists(record.path().to_owned()));
        }
        let seed = private_file::random_bytes()?;
        private_file::create(path, &SeedFile { version: VERSION, seed: hex::encode(*seed) })?;
        // After the key: a record says more than none, and may stand beside a new key only.
        record.create()?;
        Ok(Self { path: path.to_owned(), seed })
    }

    /// The wallet in a file.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub fn open(path: &Path) -> Result<Self, WalletError> {
        let file: SeedFile = private_file::read(path)?;
        if file.version != VERSION {
            let reason =
                format!("it has version {}, and this program reads version {VERSION} only", file.version);
            return Err(WalletError::malformed(path, &reason));
        }
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(&file.seed, seed.as_mut_slice())
            .map_err(|_| WalletError::malformed(path, &"the seed is not 32 bytes in hexadecimal"))?;
        Ok(Self { path: path.to_owned(), seed })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key with this index.
    pub fn key(&self, index: u64) -> KeyPair {
        let secret = Hash::of_parts(Purpose::WalletKey, &[self.seed.as_slice(), &index.to_le_bytes()]);
        let mut secret = *secret.as_bytes();
        let pair = KeyPair::from_secret(&secret);
        secret.zeroize();
        pair
    }

    /// The key that the participant is known by.
    pub fn main_key(&self) -> KeyPair {
        self.key(MAIN_KEY)
    }

    /// The index of a key among those given out, if it is this wallet's.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub fn index_of(&self, address: &PublicKey) -> Result<Option<u64>, WalletError> {
        Ok((0..self.next_index()?).find(|index| self.key(*index).public_key() == *address))
    }

    /// The index of the next fresh key.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub fn next_index(&self) -> Result<u64, WalletError> {
        let path = self.counter_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(MAIN_KEY + 1),
            Err(source) => return Err(WalletError::Io { action: "read", path, source }),
        };
        let malformed =
            || WalletError::malformed(&path, &"it must hold the index of the wallet's next fresh key");
        text.trim().parse().ok().filter(|index| *index > MAIN_KEY).ok_or_else(malformed)
    }

    /// A key that no call has given out before, in this process or another, with its index. That it
    /// was given out is on disk when this returns.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub fn fresh_key(&self) -> Result<(u64, KeyPair), WalletError> {
        // Held until the counter is written. The seed's file is never replaced, so all lock the same.
        let lock: File = private_file::open(&self.path)?;
        lock.lock().map_err(WalletError::io("lock", &self.path))?;
        let index = self.next_index()?;
        let next = index.checked_add(1).ok_or_else(|| WalletError::NoKeysLeft(self.path.clone()))?;
        private_file::replace(&self.counter_path(), format!("{next}\n").as_bytes())?;
        Ok((index, self.key(index)))
    }

    fn counter_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".next");
        name.into()
    }
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").field("path", &self.path).finish_non_exhaustive()
    }
}
