use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use evchain_node::agents::producer::Reservation;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::RegionId;

use crate::cluster::ClusterOptions;
use crate::fault::{Attack, Cases, FaultKind};
use crate::scenario::{PaymentMix, Speed};

/// Many evchain nodes on one machine.
#[derive(Debug, Parser)]
#[command(name = "evchain-testnet", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 a failure or a check that did not hold, 2 usage. EVCHAIN_LOG sets \
what is logged, as in `debug`.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Up(UpArgs),
    Demo(DemoArgs),
    Replay(ReplayArgs),
    Latency(LatencyArgs),
    Tables(TablesArgs),
    Fault(FaultArgs),
}

/// How the validators run.
#[derive(Debug, Clone, Args)]
pub(super) struct ValidatorArgs {
    /// How many validators.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = validators)]
    pub(super) validators: usize,
    /// Where keys, databases and logs go [default: a new folder for temporary files].
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// The node's program [default: `evchain` beside this one].
    #[arg(long, value_name = "FILE")]
    pub(super) node_bin: Option<PathBuf>,
    /// After how many seconds a validator that ended is started again.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) restart_after: Duration,
    /// Leave a validator that ended as it is.
    #[arg(long)]
    pub(super) no_restart: bool,
}

impl ValidatorArgs {
    /// How to run the cluster.
    pub(super) fn options(&self) -> anyhow::Result<ClusterOptions> {
        let node_bin = program(self.node_bin.as_ref())?;
        let restart_after = (!self.no_restart).then_some(self.restart_after);
        Ok(ClusterOptions { node_bin, restart_after, places: Vec::new() })
    }
}

/// Start validators, show where they are, and keep them running until Ctrl-C.
///
/// With a folder that holds a testnet already, its chain goes on.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain-testnet up\n  evchain-testnet up --validators 7 --dir net --json"
)]
pub(super) struct UpArgs {
    #[command(flatten)]
    pub(super) validators: ValidatorArgs,
    /// One line of JSON in place of the table.
    #[arg(long)]
    pub(super) json: bool,
}

/// Run the built-in scenario around Salzburg: stations, vehicles and the grid trade energy.
///
/// Fails unless every session is settled, money is conserved and all validators agree.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  evchain-testnet demo --json report.json")]
pub(super) struct DemoArgs {
    #[command(flatten)]
    pub(super) validators: ValidatorArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// How many of the requests to make.
    #[arg(long, value_name = "COUNT", default_value_t = 100, hide_default_value = true, value_parser = sessions)]
    pub(super) sessions: usize,
}

/// Run stations and requests from files, compressed in time.
///
/// The files have the layout of the German register of charging stations and of ACN-Data. Fails
/// as `demo` does; requests that no station can serve are listed and not made.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  evchain-testnet replay --stations stations_de.csv --requests requests_acn.csv \\\n      --region 244 --sessions 100 --kill-one-at 60"
)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    pub(super) validators: ValidatorArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// The stations' CSV file.
    #[arg(long, value_name = "FILE")]
    pub(super) stations: PathBuf,
    /// The requests' CSV file.
    #[arg(long, value_name = "FILE")]
    pub(super) requests: PathBuf,
    /// The region whose stations take part, such as 244 for Traunstein.
    #[arg(long, value_name = "ID")]
    pub(super) region: RegionId,
    /// How many requests to make.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = sessions)]
    pub(super) sessions: usize,
}

/// What a scenario can be told.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// N, in how many installments each price is paid.
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = installments)]
    pub(super) installments: InstallmentCount,
    /// How sessions are paid: by all but `single` in turn, where the file does not say; or one way for all.
    #[arg(long, value_enum, default_value_t = PaymentMix::Mix)]
    pub(super) payment: PaymentMix,
    /// How many times faster than in reality [default: so that it takes about three minutes].
    #[arg(long, value_name = "TIMES")]
    pub(super) speed: Option<Speed>,
    /// What stations keep free for those they have bid for: exclusive, a connector; overbook, nothing.
    #[arg(long, value_name = "POLICY", default_value = "exclusive", value_parser = reservation)]
    pub(super) reservation: Reservation,
    /// Also write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Kill one validator so many seconds after the first request.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) kill_one_at: Option<Duration>,
    /// Kill all validators so many seconds after the first request.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) kill_all_at: Option<Duration>,
}

/// Measure the time from submission to finality with hardly any load: transfers, one at a time.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  evchain-testnet latency --count 200")]
pub(super) struct LatencyArgs {
    #[command(flatten)]
    pub(super) validators: ValidatorArgs,
    /// How many transfers.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) count: u32,
    /// The pause between them.
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(super) interval_ms: u64,
    /// JSON in place of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// Run sessions of every kind of payment, and print what the papers' tables say and what was measured.
///
/// P21's Table I for N of 1, 10 and 100, P18's Table 2 and its count of transactions, and what is lost when one
/// side stops in mid-session. Takes a minute or two. Fails, and names the figure, unless every session is charged,
/// settled and paid as the accounts say, nobody risked or lost more than one installment, and no figure is worse
/// or missing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain-testnet tables\n  evchain-testnet tables --counts 2 --timed-runs 0"
)]
pub(super) struct TablesArgs {
    #[command(flatten)]
    pub(super) validators: ValidatorArgs,
    /// Numbers of installments, each with every kind of payment.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 10, 100],
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) counts: Vec<u32>,
    /// How often a session of 100 installments is timed, with each of two kinds of payment. Below 500 ms is
    /// asked of a machine that does nothing else.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(super) timed_runs: u8,
    /// JSON in place of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// Do something bad to four validators under load, and see that the chain bears it.
///
/// Fails unless there is one history on all validators, every payment that was called final is where
/// it was and moved its money once, and the chain goes on within a minute after each fault. What
/// this machine or user cannot do is skipped, with the reason.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain-testnet fault restarts --count 200\n  evchain-testnet fault partition loss\n  evchain-testnet fault agents --seed 1 --case 17"
)]
pub(super) struct FaultArgs {
    /// What to do; several one after the other.
    #[arg(required = true, value_enum, value_name = "KIND")]
    pub(super) kinds: Vec<FaultKind>,
    /// restarts: how many [default: 200]; agents: so many pairs, chosen by the seed [default: all].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) count: Option<u32>,
    /// agents: only the pair with this number, as a failure names it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "count")]
    pub(super) case: Option<usize>,
    /// stop: how long one stands still.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) pause: Duration,
    /// hostile: how long each attack lasts.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) attack_seconds: Duration,
    /// hostile: only these attacks, of which the first are strangers' and the last an authority's [default: all].
    #[arg(long, value_name = "ATTACK", value_enum, value_delimiter = ',')]
    pub(super) attacks: Vec<Attack>,
    /// Decides what is left to chance [default: another each time].
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// Where keys, databases and logs go [default: a new folder for temporary files].
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// The node's program [default: `evchain` beside this one].
    #[arg(long, value_name = "FILE")]
    pub(super) node_bin: Option<PathBuf>,
    /// The reports as JSON in place of text.
    #[arg(long)]
    pub(super) json: bool,
}

impl FaultArgs {
    /// Which pairs of agents are killed.
    pub(super) fn cases(&self) -> Cases {
        match (self.case, self.count) {
            (Some(number), _) => Cases::One(number),
            (None, Some(count)) => Cases::Sample(count as usize),
            (None, None) => Cases::All,
        }
    }

    /// Which attacks are tried.
    pub(super) fn attacks(&self) -> Vec<Attack> {
        if self.attacks.is_empty() { Attack::value_variants().to_vec() } else { self.attacks.clone() }
    }

    /// The node's program.
    pub(super) fn program(&self) -> anyhow::Result<PathBuf> {
        program(self.node_bin.as_ref())
    }
}

fn program(named: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    match named {
        Some(path) => Ok(path.clone()),
        None => Ok(std::env::current_exe()?.with_file_name("evchain")),
    }
}

/// With more than 16, one machine is the bottleneck in everything.
fn validators(text: &str) -> Result<usize, String> {
    within(text, 1, 16)
}

fn sessions(text: &str) -> Result<usize, String> {
    within(text, 1, 10_000)
}

fn installments(text: &str) -> Result<InstallmentCount, String> {
    let count = within(text, 1, 100)?;
    InstallmentCount::new(u32::try_from(count).unwrap_or(1)).map_err(|error| error.to_string())
}

fn reservation(text: &str) -> Result<Reservation, String> {
    match text {
        "exclusive" => Ok(Reservation::Exclusive),
        "overbook" => Ok(Reservation::Overbook),
        _ => Err("it is exclusive or overbook".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    within(text, 0, 86_400).map(|seconds| Duration::from_secs(seconds as u64))
}

fn within(text: &str, low: usize, high: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (low..=high).contains(number));
    number.ok_or_else(|| format!("it is a whole number from {low} to {high}"))
}
