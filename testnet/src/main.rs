//! The program `evchain-testnet`.

use std::process::ExitCode;

use clap::Parser;
use evchain_testnet::cli::Cli;

fn main() -> ExitCode {
    evchain_testnet::cli::main(Cli::parse())
}
