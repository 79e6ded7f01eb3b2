//! A world for two session machines: a wire, two disks, a meter, and a chain that takes what they
//! settle and pays it out by the rules of the ledger, checked here a second time and independently
//! of the machines.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

pub mod bank;
pub mod deal;
pub mod world;
