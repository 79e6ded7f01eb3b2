//! A simulator that runs whole clusters in virtual time and tries to break them.
//!
//! Everything follows from one seed: delays, losses, crashes, payloads. [`properties`] checks the
//! invariants of `docs/protocol.md` at every output; equal seeds give equal [`cluster::Cluster::digest`]s.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used)]

pub mod boundaries;
pub mod byzantine;
pub mod cluster;
pub mod disk;
pub mod ledger;
pub mod network;
mod node;
pub mod plan;
pub mod properties;
pub mod random;
pub mod rng;
pub mod scenarios;
pub mod setup;
pub mod story;
