//! Tests of the network over real sockets on the loopback address, through its public interface.
//!
//! Every wait is for an event, under a limit that is far above what a slow machine needs; no
//! test asserts how long something takes. Hostile peers are made of plain libp2p.

mod addresses;
mod admission;
mod authorities;
mod door;
mod gossip;
mod guests;
mod hostile;
mod offences;
mod serving;
mod sessions;
mod support;
mod sync;
mod units;
