//! Goal: four real validators bear every fault that a machine, a disk, a clock, a key or a network may
//! have.
//! Method: real processes under load, one fault at a time, apart from the other tests: what is measured
//! here is progress.

mod agents;
mod authorities;
mod byzantine;
mod clock;
mod crash;
mod disk;
mod hostile;
mod keys;
mod network;
#[path = "../support/mod.rs"]
mod support;
