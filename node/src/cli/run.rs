use std::process::ExitCode;

use super::args::{Cli, Command};
use super::{authority, charge, exit, genesis, keys, produce, query, secret, sessions, start, tx, watch};

/// Does what the command line says, and says how it went: results on stdout, the rest on stderr.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let result = match cli.command {
        Command::Keys(command) => keys::run(command),
        Command::Genesis(command) => genesis::run(command),
        Command::Secret(command) => runtime.block_on(secret::run(command)),
        Command::Start(args) => runtime.block_on(start::run(args)),
        Command::Tx(command) => runtime.block_on(tx::run(command)),
        Command::Query(command) => runtime.block_on(query::run(command)),
        Command::Authority(command) => runtime.block_on(authority::run(command)),
        Command::Produce(args) => runtime.block_on(produce::run(args)),
        Command::Charge(args) => runtime.block_on(charge::run(args)),
        Command::Watch(args) => runtime.block_on(watch::run(args)),
        Command::Sessions(args) => runtime.block_on(sessions::run(args)),
        Command::ChannelState(command) => runtime.block_on(secret::run_channel_state(command)),
    };
    // A thread that still reads stdin would hold up the end for ever.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("error: {}", exit::message_of(&error));
            ExitCode::from(exit::code_of(&error))
        }
    }
}
