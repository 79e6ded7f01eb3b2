//! What a participant keeps to itself: its seed and the keys from it, and other secret files.

mod error;
mod file;
pub mod private_file;
mod sender;

#[cfg(test)]
mod tests;

pub use error::WalletError;
pub use file::{MAIN_KEY, Wallet};
pub use sender::{DEFAULT_WAIT, SendError, Sender};
