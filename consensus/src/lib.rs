#![doc = include_str!("../README.md")]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic
)]

pub mod authority_set;
pub mod block;
mod blocks;
pub mod config;
mod doubts;
mod early;
pub mod engine;
pub mod epochs;
pub mod input;
pub mod message;
#[cfg(test)]
mod model;
mod mutations;
pub mod output;
pub mod signer;
pub mod sim;
mod sync;
mod turns;
#[cfg(test)]
mod twins;
mod view;
pub mod wal;
mod watch;
