//! One pair of agents: started, killed at its moment, started again, and watched to its end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use evchain_node::agents::sessions::{self, Side};
use evchain_node::rpc::RpcClient;
use evchain_protocol::session::PaymentKind;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::journals::{are_over, last_record, wait_for_records};
use super::judge::{Fate, judge};
use super::plan::{Case, Victim};
use super::process::{Agent, was_killed};
use crate::cluster::Cluster;
use crate::fault::error::FaultError;
use crate::fault::run::FaultOptions;

/// How many times as fast as in reality the meters count: 20 kWh take 33 ms, which is long enough to be
/// killed in the middle.
const SPEED: &str = "100000";
const ENERGY: &str = "20kWh";
const HERE: &str = "47.8,13.04";
/// A price that no N divides is EUR 10.3001.
const PRICE: &str = "per_kwh = \"0.4900\"\nflat = \"0.5001\"";
/// How long a consumer takes bids at most; one is enough.
const BIDDING: &str = "2s";
/// T.
const WINDOW: &str = "6s";
/// From a consumer's start to its window; charging begins as soon as the price is locked.
const LEAD_S: u64 = 7;
/// The same with single locks, whose deposit has to be claimed before the window, and for each of them.
const LEAD_OF_LOCKS_S: u64 = 25;
const LEAD_EACH_MS: u64 = 400;
/// How long the deposit of single locks comes back before the window.
const REFUND_LEAD: &str = "1s";

/// How long a session takes at most, with all that returns at its deadlines.
const LIMIT: Duration = Duration::from_mins(4);
/// How long a process may take to end once it was killed or told to stop.
const END: Duration = Duration::from_secs(30);
/// How much longer a side may write after the other has ended.
const AFTERWARDS: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// What a producer says when it takes sessions.
const READY: &str = "ready for sessions at";
/// How either side says that the producer refuses, and how the consumer says that it gives up.
const REFUSALS: [&str; 2] = [": not served, ", "given up: "];
/// How a process says that it is at its wits' end.
const PANIC: &str = "panicked at";

/// Where all cases are tried.
pub(super) struct Field<'a> {
    pub(super) options: &'a FaultOptions,
    pub(super) cluster: &'a Cluster,
    /// One for each validator.
    pub(super) clients: &'a [RpcClient],
}

/// What became of a case.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) case: Case,
    /// How often somebody was killed, and the last record then; none for who ended before.
    pub(super) kills: u64,
    pub(super) struck_after: Option<String>,
    /// None where that cannot be told.
    pub(super) fate: Option<Fate>,
    /// Why the producer did not serve or the consumer gave up, if they said so.
    pub(super) refusal: Option<String>,
    pub(super) failures: Vec<String>,
}

/// The two agents of a case.
struct Pair<'a> {
    field: &'a Field<'a>,
    case: &'a Case,
    dir: PathBuf,
    port: u16,
    /// How many processes were started.
    starts: u32,
    consumer: Agent,
    producer: Agent,
}

/// Tries one case; its producer takes sessions at this port.
pub(super) async fn try_case(field: &Field<'_>, case: Case, port: u16) -> Ended {
    let dir = field.dir_of(&case);
    let (struck_after, fate, refusal) = (None, None, None);
    let mut ended = Ended { case, kills: 0, struck_after, fate, refusal, failures: Vec::new() };
    let outcome = follow(field, &mut ended, port).await;
    if let Err(error) = outcome {
        ended.failures.push(error.to_string());
    }
    let is_as_hoped = ended.failures.is_empty() && ended.fate != Some(Fate::NotServed);
    if is_as_hoped && !matches!(field.options.cases, super::Cases::One(_)) {
        // A thousand of them are many files; what went wrong stays to be read.
        let _ = std::fs::remove_dir_all(dir);
    }
    ended
}

async fn follow(field: &Field<'_>, ended: &mut Ended, port: u16) -> Result<(), FaultError> {
    let case = ended.case.clone();
    let Some(mut pair) = Pair::start(field, &case, port).await? else {
        ended.failures.push("the producer does not come to take sessions".to_owned());
        return Ok(());
    };
    if pair.comes_to_its_moment().await? {
        sleep(case.later).await;
        if pair.strike().await? {
            ended.kills += 1;
            ended.struck_after = Some(pair.last_record()?);
        }
        sleep(case.pause).await;
        pair.revive().await?;
    }
    if let (Some(again), 1..) = (case.again, ended.kills) {
        sleep(again).await;
        ended.kills += u64::from(pair.strike().await?);
        pair.revive().await?;
    }
    pair.finish(ended).await?;
    let (fate, failures) = judge(field, &case).await?;
    ended.fate = Some(fate);
    ended.failures.extend(failures);
    Ok(())
}

impl Field<'_> {
    /// Where a case has its files.
    pub(super) fn dir_of(&self, case: &Case) -> PathBuf {
        self.options.dir.join("agents").join(format!("case-{}", case.number))
    }

    /// Where an agent has its journals.
    pub(super) fn state_of(&self, case: &Case, side: Side) -> PathBuf {
        self.dir_of(case).join(case.name_of(side))
    }

    /// The arguments that name a side's wallet and journals.
    pub(super) fn identity_of(&self, case: &Case, side: Side) -> Vec<OsString> {
        let wallet = self.cluster.files().wallet_path(&case.name_of(side));
        vec!["--wallet".into(), wallet.into(), "--state".into(), self.state_of(case, side).into()]
    }

    /// All nodes, each case beginning with another.
    fn nodes_of(&self, case: &Case) -> String {
        let endpoints = self.cluster.endpoints(case.number);
        endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl<'a> Pair<'a> {
    /// Starts the producer and, when it takes sessions, the consumer. None if it does not come to it.
    async fn start(field: &'a Field<'a>, case: &'a Case, port: u16) -> Result<Option<Self>, FaultError> {
        let dir = field.dir_of(case);
        std::fs::create_dir_all(&dir).map_err(FaultError::io("make", &dir))?;
        let tariff = dir.join("tariff.toml");
        std::fs::write(&tariff, tariff_of(case)).map_err(FaultError::io("write", &tariff))?;
        let program = &field.options.node_bin;
        let mut producer = Agent::start(program, &produce(field, case, port), &dir.join("1-producer.log"))?;
        if !producer.says(READY).await? {
            return Ok(None);
        }
        let consumer =
            Agent::start(program, &charge(field, case, &wanted(case)), &dir.join("2-consumer.log"))?;
        Ok(Some(Self { field, case, dir, port, starts: 2, consumer, producer }))
    }

    /// Waits for the moment of the kill. False if the session is over without it.
    async fn comes_to_its_moment(&mut self) -> Result<bool, FaultError> {
        let (state, records) =
            (self.field.state_of(self.case, self.case.moment.side), self.case.moment.records);
        let give_up = CancellationToken::new();
        let token = give_up.clone();
        let mut watcher = tokio::task::spawn_blocking(move || wait_for_records(&state, records, &token));
        let over = async {
            let ended = self.consumer.ended_within(LIMIT).await;
            sleep(AFTERWARDS).await;
            ended
        };
        tokio::select! {
            came = &mut watcher => return Ok(came?),
            ended = over => ended?,
        };
        give_up.cancel();
        Ok(watcher.await?)
    }

    /// Kills the victims, at once. Whether one still ran.
    async fn strike(&mut self) -> Result<bool, FaultError> {
        let victim = self.case.victim;
        if victim.has(Side::Buys) {
            self.consumer.strike();
        }
        if victim.has(Side::Sells) {
            self.producer.strike();
        }
        let mut killed = false;
        for (side, agent) in [(Side::Buys, &mut self.consumer), (Side::Sells, &mut self.producer)] {
            if victim.has(side) {
                killed |= agent.ended_within(END).await?.is_some_and(was_killed);
            }
        }
        Ok(killed)
    }

    /// What stands last in the journals by which the moment was chosen.
    fn last_record(&self) -> Result<String, FaultError> {
        let side = match self.case.victim {
            Victim::Consumer | Victim::Both => Side::Buys,
            Victim::Producer => Side::Sells,
        };
        Ok(last_record(&sessions::list(&self.field.state_of(self.case, side))?))
    }

    /// Starts again whoever was killed, with the same command.
    async fn revive(&mut self) -> Result<(), FaultError> {
        let (field, case) = (self.field, self.case);
        if self.producer.ended_within(Duration::ZERO).await?.is_some_and(was_killed) {
            let log = self.next_log(Side::Sells);
            self.producer = Agent::start(&field.options.node_bin, &produce(field, case, self.port), &log)?;
        }
        if self.consumer.ended_within(Duration::ZERO).await?.is_some_and(was_killed) {
            let log = self.next_log(Side::Buys);
            let resume = charge(field, case, &["--resume".to_owned()]);
            self.consumer = Agent::start(&field.options.node_bin, &resume, &log)?;
        }
        Ok(())
    }

    fn next_log(&mut self, side: Side) -> PathBuf {
        self.starts += 1;
        let who = match side {
            Side::Buys => "consumer",
            Side::Sells => "producer",
        };
        self.dir.join(format!("{}-{who}.log", self.starts))
    }

    /// Sees both to their ends: the consumer comes to its own, the producer is told to stop when nothing
    /// is left to do.
    async fn finish(mut self, ended: &mut Ended) -> Result<(), FaultError> {
        let failures = &mut ended.failures;
        match self.consumer.ended_within(LIMIT).await? {
            None => failures.push("the consumer does not come to an end".to_owned()),
            Some(status) if status.success() => {}
            // No energy, which `evchain charge` tells by its exit code.
            Some(_) if NO_ENERGY.iter().any(|words| self.consumer.log().contains(words)) => {}
            Some(status) => failures.push(format!("the consumer ended with {status}")),
        }
        let end = Instant::now() + LIMIT;
        while !are_over(&self.field.state_of(self.case, Side::Sells))? && !self.producer.has_ended()? {
            if Instant::now() >= end {
                failures.push("the producer does not come to the end of its session".to_owned());
                break;
            }
            sleep(POLL).await;
        }
        if !self.producer.says(READY).await? {
            failures.push("the producer does not take sessions any more".to_owned());
        }
        self.producer.tell_to_stop()?;
        match self.producer.ended_within(END).await? {
            None => failures.push("the producer does not stop".to_owned()),
            Some(status) if status.success() => {}
            Some(status) => failures.push(format!("the producer ended with {status}")),
        }
        self.read_logs(ended)
    }

    /// Looks for what nobody may say, and why there was no energy.
    fn read_logs(&self, ended: &mut Ended) -> Result<(), FaultError> {
        for entry in std::fs::read_dir(&self.dir).map_err(FaultError::io("list", &self.dir))?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != "log") {
                continue;
            }
            let log = std::fs::read(&path).map_err(FaultError::io("read", &path))?;
            let log = String::from_utf8_lossy(&log);
            if log.contains(PANIC) {
                ended.failures.push(format!("{} tells of a panic", path.display()));
            }
            if let Some(refusal) = log.lines().find(|line| REFUSALS.iter().any(|words| line.contains(words)))
            {
                ended.refusal = Some(refusal.to_owned());
            }
        }
        Ok(())
    }
}

/// What a consumer without energy says, which is no failure of its own.
const NO_ENERGY: [&str; 3] =
    ["given up: interrupted before the price was locked", "nobody has bid", "the producer did not serve"];

fn tariff_of(case: &Case) -> String {
    let region = case.number;
    let (latitude, longitude) = HERE.split_once(',').unwrap_or_default();
    format!(
        "region = {region}\nlatitude = {latitude}\nlongitude = {longitude}\nmobility = \"station\"\n\
         power_w = 22000\nconnectors = 1\nreservation = \"exclusive\"\n\
         payment_kinds = [\"hashes\", \"chain\", \"channel\", \"single\"]\nmax_installments = 100\n\
         early_tolerance_s = 300\n[price]\nkind = \"fixed\"\n{PRICE}\n"
    )
}

/// `evchain produce`, as the first time so after each kill.
fn produce(field: &Field<'_>, case: &Case, port: u16) -> Vec<OsString> {
    let tariff = field.dir_of(case).join("tariff.toml");
    let mut arguments: Vec<OsString> = vec!["produce".into(), "--tariff".into(), tariff.into()];
    arguments.extend(field.identity_of(case, Side::Sells));
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let nodes = field.nodes_of(case);
    arguments.extend(["--listen", &listen, "--speed", SPEED, "--rpc", &nodes].map(OsString::from));
    arguments
}

/// `evchain charge` for something.
fn charge(field: &Field<'_>, case: &Case, what: &[String]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["charge".into()];
    arguments.extend(what.iter().map(OsString::from));
    arguments.extend(field.identity_of(case, Side::Buys));
    arguments.extend(["--speed", SPEED, "--rpc", &field.nodes_of(case)].map(OsString::from));
    arguments
}

/// What the consumer orders.
fn wanted(case: &Case) -> Vec<String> {
    let (pay, lead) = match case.kind {
        PaymentKind::Channel => ("channel", LEAD_S),
        PaymentKind::Chain => ("chain", LEAD_S),
        PaymentKind::Hashes => ("hashes", LEAD_S),
        PaymentKind::Single => ("single", LEAD_OF_LOCKS_S + u64::from(case.count) * LEAD_EACH_MS / 1_000),
    };
    let (region, from, count) = (case.number.to_string(), format!("+{lead}s"), case.count.to_string());
    let mut order = vec!["--region", &region, "--energy", ENERGY, "--from", &from, "--for", WINDOW];
    order.extend(["--at", HERE, "--max-price", "15", "--pay", pay, "--installments", &count]);
    order.extend(["--bids-for", BIDDING, "--enough-bids", "1", "--min-stations", "1"]);
    if case.kind == PaymentKind::Single {
        order.extend(["--refund", REFUND_LEAD]);
    }
    order.into_iter().map(str::to_owned).collect()
}
