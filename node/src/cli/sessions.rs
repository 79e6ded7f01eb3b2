use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::agent::{exit_error, progress, stop_on_signals};
use super::args::{KeyArgs, RpcArgs};
use super::exit::UsageError;
use super::human;
use super::output::{print_json, print_text};
use crate::agents::consumer::{self, ConsumerConfig};
use crate::agents::producer;
use crate::agents::sessions::{self, EntryState, SessionEntry, Side};
use crate::rpc::{CallError, RpcError};
use crate::wallet::Wallet;

/// Look after the charging sessions of a wallet: what agents have noted, running or not.
///
/// An agent that is started again goes on by itself; this is for seeing where a session stands, and for
/// ending one without starting an agent for more.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain sessions list --wallet car.json\n  evchain sessions show key-3 --wallet car.json\n  evchain sessions abort 120-4 --wallet station.json"
)]
pub struct SessionsArgs {
    /// The folder of the agent's journals [default: beside the wallet].
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,
    /// JSON in place of text.
    #[arg(long, global = true)]
    json: bool,
    /// Whose sessions.
    #[command(flatten)]
    key: KeyArgs,
    /// The nodes.
    #[command(flatten)]
    rpc: RpcArgs,
    /// What to do.
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// Show the sessions that something is left to do for.
    List {
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
    },
    /// Show all of one session.
    Show {
        /// Its name, as `list` shows it.
        name: String,
    },
    /// Go on with a purchase that was interrupted, to its end.
    Resume {
        /// Its name, as `list` shows it.
        name: String,
        /// How many times as fast as in reality the simulated meter counts; as when the charge began.
        #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        speed: u32,
    },
    /// End an interrupted session now: collect what was paid, or take back what was not.
    Abort {
        /// Its name, as `list` shows it.
        name: String,
    },
}

/// A session in a list.
#[derive(Serialize)]
struct Row {
    name: String,
    side: Side,
    state: EntryState,
    stage: String,
    paid: String,
    installments: String,
}

pub(super) async fn run(args: SessionsArgs) -> anyhow::Result<()> {
    let wallet = args.key.wallet.open()?;
    let state = args.state.clone().unwrap_or_else(|| wallet.path().with_extension("agent"));
    let entries = sessions::list(&state).map_err(exit_error)?;
    match &args.command {
        SessionsCommand::List { all } => {
            let shown: Vec<_> =
                entries.into_iter().filter(|entry| *all || entry.state != EntryState::Over).collect();
            if args.json {
                return print_json(&shown);
            }
            print_text(&human::show(&shown.iter().map(Row::of).collect::<Vec<_>>())?)
        }
        SessionsCommand::Show { name } => {
            let entry = find(&entries, name)?;
            if args.json { print_json(entry) } else { print_text(&human::show(entry)?) }
        }
        SessionsCommand::Resume { name, speed } => {
            let entry = find_open(&entries, name)?;
            if entry.side == Side::Sells {
                let text = "a sale needs its consumer to come back: start `evchain produce` with the same \
                            wallet and state, which goes on with it, or end it by `evchain sessions abort`";
                return Err(UsageError(text.to_owned()).into());
            }
            let config = ConsumerConfig { speed: *speed, ..ConsumerConfig::new(state) };
            buy(&args, &wallet, &config, name, false).await
        }
        SessionsCommand::Abort { name } => match find_open(&entries, name)?.side {
            Side::Buys => buy(&args, &wallet, &ConsumerConfig::new(state), name, true).await,
            Side::Sells => sell(&args, &wallet, state, name).await,
        },
    }
}

fn find<'a>(entries: &'a [SessionEntry], name: &str) -> anyhow::Result<&'a SessionEntry> {
    let missing = || {
        let text = format!("there is no session {name}: see `evchain sessions list --all`");
        RpcError::Call(CallError::NotFound(text))
    };
    Ok(entries.iter().find(|entry| entry.name == name).ok_or_else(missing)?)
}

/// One that nobody is at.
fn find_open<'a>(entries: &'a [SessionEntry], name: &str) -> anyhow::Result<&'a SessionEntry> {
    let entry = find(entries, name)?;
    match entry.state {
        EntryState::Interrupted => Ok(entry),
        EntryState::Running => Err(UsageError(format!(
            "an agent is at session {name}: stop it by Ctrl-C, which ends its sessions and settles them"
        ))
        .into()),
        EntryState::Damaged => Err(UsageError(entry.stage.clone()).into()),
        EntryState::Over => {
            Err(UsageError(format!("session {name} is over, and nothing is left to do")).into())
        }
    }
}

async fn buy(
    args: &SessionsArgs,
    wallet: &Wallet,
    config: &ConsumerConfig,
    name: &str,
    aborts: bool,
) -> anyhow::Result<()> {
    let (rpc, stop) = (args.rpc.connect().await?, stop_on_signals()?);
    if aborts {
        stop.cancel();
    }
    let report = consumer::resume_named(config, name, rpc, wallet, progress(), stop).await;
    match report.map_err(exit_error)? {
        Some(report) if args.json => print_json(&report),
        Some(report) => print_text(&super::charge::shown(&report)),
        None => print_text("nothing was left to do"),
    }
}

async fn sell(args: &SessionsArgs, wallet: &Wallet, state: PathBuf, name: &str) -> anyhow::Result<()> {
    let (rpc, key) = (args.rpc.connect().await?, wallet.key(args.key.index));
    let report = producer::abort(&state, name, rpc, key, progress()).await;
    match report.map_err(exit_error)? {
        Some(report) if args.json => print_json(&report),
        Some(report) => print_text(&human::show(&report)?),
        None => print_text("nothing was left to do"),
    }
}

impl Row {
    fn of(entry: &SessionEntry) -> Self {
        let SessionEntry { name, side, state, stage, amount, price, released, installments, .. } = entry;
        let of = |total: Option<String>| total.map_or(String::new(), |total| format!(" of {total}"));
        Self {
            name: name.clone(),
            side: *side,
            state: *state,
            stage: stage.clone(),
            paid: format!("EUR {amount}{}", of(price.map(|price| price.to_string()))),
            installments: format!("{released}{}", of(installments.map(|count| count.to_string()))),
        }
    }
}
