//! Files with secrets: only their owner may read them, and none is ever overwritten.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use evchain_protocol::crypto::Preimage;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::error::WalletError;

/// The largest such file, in bytes: the secrets of the most installments, in hexadecimal.
pub const MAX_BYTES: u64 = 256 * 1024;

/// Bits that give anybody but the owner any right.
const OTHERS: u32 = 0o077;

/// Writes a value as JSON to a new file with mode 0600. On disk when this returns.
///
/// # Errors
/// [`WalletError::Exists`], [`WalletError::Io`].
pub fn create<T: Serialize>(path: &Path, value: &T) -> Result<(), WalletError> {
    let mut text = Zeroizing::new(
        serde_json::to_string_pretty(value).map_err(|error| WalletError::malformed(path, &error))?,
    );
    text.push('\n');
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => WalletError::Exists(path.to_owned()),
        _ => WalletError::Io { action: "create", path: path.to_owned(), source },
    })?;
    write_synced(&mut file, text.as_bytes()).map_err(WalletError::io("write", path))?;
    sync_folder_of(path).map_err(WalletError::io("write", path))
}

/// Opens a file, if it is there. What is no regular file is refused before it is opened: a pipe keeps whoever opens it
/// waiting for a writer, and a node that waits there does not even end when it is told to.
///
/// # Errors
/// [`WalletError::Malformed`], [`WalletError::Io`].
pub(super) fn open_regular(path: &Path) -> Result<Option<File>, WalletError> {
    let is_file = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(WalletError::io("open", path))?.is_file(),
    };
    if !is_file {
        return Err(WalletError::malformed(path, &"it is not a regular file"));
    }
    File::open(path).map(Some).map_err(WalletError::io("open", path))
}

/// Opens a secret file that only its owner may read.
///
/// # Errors
/// [`WalletError::Missing`], [`WalletError::TooOpen`], [`WalletError::Malformed`], [`WalletError::Io`].
pub fn open(path: &Path) -> Result<File, WalletError> {
    let file = open_regular(path)?.ok_or_else(|| WalletError::Missing(path.to_owned()))?;
    // Of the file that was opened, not of what its name means by now.
    let metadata = file.metadata().map_err(WalletError::io("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(WalletError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(file)
}

/// Reads the JSON value of a secret file that was opened.
///
/// # Errors
/// [`WalletError::Malformed`], [`WalletError::Io`].
pub fn parse<T: DeserializeOwned>(path: &Path, file: &File) -> Result<T, WalletError> {
    let mut text = Zeroizing::new(String::new());
    // One byte more than allowed tells that there are more.
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => WalletError::malformed(path, &"it is not text"),
        _ => WalletError::Io { action: "read", path: path.to_owned(), source },
    })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(WalletError::malformed(path, &format!("it has more than {MAX_BYTES} bytes")));
    }
    serde_json::from_str(&text).map_err(|error| WalletError::malformed(path, &error))
}

/// Reads the JSON value of a secret file.
///
/// # Errors
/// As [`open`] and [`parse`].
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, WalletError> {
    parse(path, &open(path)?)
}

/// 32 bytes from the system's randomness.
///
/// # Errors
/// [`WalletError::Randomness`].
pub fn random_bytes() -> Result<Zeroizing<[u8; 32]>, WalletError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| WalletError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// A fresh secret for a lock, a hash chain or a commitment.
///
/// # Errors
/// [`WalletError::Randomness`].
pub fn random_preimage() -> Result<Preimage, WalletError> {
    Ok(Preimage::from_bytes(*random_bytes()?))
}

/// Replaces a file's content as a whole: after a crash there is the old content or the new.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), WalletError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = Path::new(&name);
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary);
    let mut file = opened.map_err(WalletError::io("write", temporary))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(WalletError::io("write", temporary))?;
    write_synced(&mut file, bytes).map_err(WalletError::io("write", temporary))?;
    std::fs::rename(temporary, path).map_err(WalletError::io("replace", path))?;
    sync_folder_of(path).map_err(WalletError::io("write", path))
}

fn write_synced(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// The name of a file is durable once its folder is.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
