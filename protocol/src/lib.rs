#![doc = include_str!("../README.md")]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic
)]

pub mod authority;
pub mod block;
pub mod codec;
pub mod commitment;
pub mod compact;
pub mod crypto;
pub mod event;
pub mod execute;
pub mod finality;
pub mod flags;
pub mod genesis;
pub mod governance;
pub mod hash_chain;
pub mod light;
pub mod merkle;
pub mod params;
pub mod payment;
pub mod primitives;
pub mod sealed;
pub mod session;
pub mod state;
pub mod text;
pub mod transaction;
