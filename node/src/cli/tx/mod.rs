//! Transactions by hand: what they are made of, and how they are sent.

mod args;
mod build;
mod send;
mod vote;
mod warn;

pub(super) use args::TxCommand;
pub(super) use send::run;
