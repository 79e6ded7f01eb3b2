//! Goal: the charging session is what `docs/session.md` says, and costs nobody more than it says.
//!
//! Method: both machines in a simulated world with a wire, two disks, a meter, and the real ledger:
//! a session is asked for, bid for, paid and settled by signed transactions in executed blocks, and
//! who has lost what is read off the accounts. Each file states its own.

#![allow(unreachable_pub)]

mod bank;
mod cancels;
#[path = "../ledger/chain.rs"]
#[allow(dead_code)] // the ledger's tests use the rest
mod chain;
mod chaos;
mod checks;
mod clocks;
mod deal;
mod deposits;
mod disks;
mod disputes;
mod faults;
mod garbage;
mod margins;
mod pricing;
mod records;
mod single;
mod watch;
mod whole;
mod world;
