//! An exhaustive model of four authorities, one of them Byzantine, over three views, on the engine
//! itself: every honest node of the model is an [`Engine`](crate::engine::Engine).
//!
//! The model's adversary owns the network, the clocks and one key. At any time it may deliver to any
//! honest node any proposal that exists and any certificate for which two honest nodes voted (its own
//! vote is the third), or let a node's timers run out. Whatever it does not deliver is lost, late or
//! out of order. In the view that it leads it proposes two blocks on each parent that it can prove, and
//! blocks with gaps in their justification.
//!
//! What keeps the number of states small, and why nothing is lost by it:
//! - Votes are delivered as certificates only. A single vote of another node changes nothing but U4,
//!   and U4 does what a timeout does, which is possible at any time.
//! - All certificates of a subject are one. Which three signed does not matter to anybody.
//! - Bodies come as soon as they are asked for, and execution and building take no time: late is the
//!   same as a late delivery of what asked for them.
//! - What cannot change what a node does is not delivered ([`space`] says when).
//! - A node's state is stepped through the engine once for each event; global states are triples of
//!   numbers.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used)]

mod node;
mod space;
mod tests;
mod world;
