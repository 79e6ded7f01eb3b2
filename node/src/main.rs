//! The `evchain` program.

use std::process::ExitCode;

use clap::Parser;
use evchain_node::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
