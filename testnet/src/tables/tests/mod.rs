//! Tests of the tables without a testnet.

mod checks;
mod risks;
