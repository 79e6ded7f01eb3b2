//! RocksDB: what a node keeps on disk.

mod db;
mod error;
pub mod tables;

pub use db::{Batch, Durability, Snapshot, Store};
pub use error::StoreError;
