#![doc = include_str!("../README.md")]

pub mod agents;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod consensus;
pub mod evidence;
pub mod gossip;
mod host;
pub mod known_addresses;
pub mod mempool;
pub mod network;
pub mod node;
pub mod rpc;
pub mod store;
pub mod wallet;
