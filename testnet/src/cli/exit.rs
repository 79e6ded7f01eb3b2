use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::args::{Cli, Command};
use super::{fault, latency, scenario, tables, up};

/// Does what the command line says. Results go to the standard output, the rest to the standard
/// error.
pub fn main(cli: Cli) -> ExitCode {
    let filter = EnvFilter::try_from_env("EVCHAIN_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::run(args).await,
            Command::Demo(args) => scenario::demo(args).await,
            Command::Replay(args) => scenario::replay(args).await,
            Command::Latency(args) => latency::run(args).await,
            Command::Tables(args) => tables::run(args).await,
            Command::Fault(args) => fault::run(args).await,
        }
    });
    // Agents that were given up must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
