//! Goal: the ledger's rules, its encodings and its arithmetic are what `docs/ledger.md` says.
//!
//! Method: tables of transactions that break one rule each, on a small chain that really executes
//! blocks; pinned bytes; properties over random values and random sequences of transactions. Each
//! file states its own.

mod arithmetic;
mod auction;
mod blocks;
mod chain;
mod channels;
mod compact;
mod encoding;
mod evidence;
mod general;
mod genesis;
mod governance;
mod payments;
mod random;
mod records;
mod standing;
mod values;
