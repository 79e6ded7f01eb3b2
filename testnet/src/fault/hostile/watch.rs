use std::collections::BTreeSet;
use std::time::Duration;

use evchain_node::rpc::Endpoint;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::cluster::Cluster;
use crate::fault::http;

/// How often memory is read.
const EVERY: Duration = Duration::from_millis(200);
/// How long a validator may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Observations that wait to be read.
const UNREAD: usize = 1 << 16;

/// Looks at each validator's memory and health again and again.
#[derive(Debug)]
pub(super) struct Watch {
    /// Ends with this.
    _watchers: JoinSet<()>,
    arriving: mpsc::Receiver<Seen>,
    seen: Vec<Seen>,
}

/// One look at one validator.
#[derive(Debug, Clone)]
struct Seen {
    number: usize,
    at: Instant,
    /// Resident, in kB.
    memory_kb: u64,
    health: Health,
}

/// What a validator says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// Unwell, with the names of what is wrong.
    Unwell(Vec<String>),
    /// No answer in time.
    Silent,
}

/// What was seen of all validators in a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    /// The highest resident memory of any, in MB.
    pub(super) peak_mb: u64,
    /// What they said was wrong.
    pub(super) problems: BTreeSet<String>,
    /// Those that were unwell and did not say of what.
    pub(super) vague: BTreeSet<usize>,
    /// Those that did not answer.
    pub(super) silent: BTreeSet<usize>,
}

impl Watch {
    /// Watches these validators until it is dropped.
    pub(super) fn start(cluster: &Cluster) -> Self {
        let (sender, arriving) = mpsc::channel(UNREAD);
        let mut watchers = JoinSet::new();
        for validator in cluster.validators() {
            watchers.spawn(watch(
                validator.number,
                validator.pid_then(),
                validator.rpc.clone(),
                sender.clone(),
            ));
        }
        Self { _watchers: watchers, arriving, seen: Vec::new() }
    }

    /// What was seen between two moments.
    pub(super) fn condition(&mut self, from: Instant, to: Instant) -> Condition {
        while let Ok(seen) = self.arriving.try_recv() {
            self.seen.push(seen);
        }
        let mut condition = Condition::default();
        for seen in self.seen.iter().filter(|seen| (from..to).contains(&seen.at)) {
            condition.peak_mb = condition.peak_mb.max(seen.memory_kb / 1_024);
            match &seen.health {
                Health::Well => {}
                Health::Unwell(problems) if problems.is_empty() => {
                    condition.vague.insert(seen.number);
                }
                Health::Unwell(problems) => condition.problems.extend(problems.iter().cloned()),
                Health::Silent => {
                    condition.silent.insert(seen.number);
                }
            }
        }
        condition
    }
}

impl Condition {
    /// Whether nothing was wrong.
    pub(super) fn is_well(&self) -> bool {
        self.problems.is_empty() && self.vague.is_empty() && self.silent.is_empty()
    }
}

async fn watch(
    number: usize,
    pid: impl Fn() -> Option<u32> + Send,
    endpoint: Endpoint,
    sender: mpsc::Sender<Seen>,
) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        // Nobody asks one that rests how it is.
        let Some(pid) = pid() else { continue };
        let (at, memory_kb) = (Instant::now(), resident_kb(pid).unwrap_or_default());
        let health = health(&endpoint).await;
        if sender.send(Seen { number, at, memory_kb, health }).await.is_err() {
            return;
        }
    }
}

/// A process's resident memory, as the kernel counts it.
fn resident_kb(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What a validator says of itself now.
pub(super) async fn health(endpoint: &Endpoint) -> Health {
    let Ok(Ok(answer)) = timeout(PATIENCE, http::get(endpoint, "/health")).await else {
        return Health::Silent;
    };
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let Ok(body) = serde_json::from_str::<Value>(body) else { return Health::Silent };
    if body["healthy"] == Value::Bool(true) {
        return Health::Well;
    }
    let problems = body["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    Health::Unwell(
        problems.iter().filter_map(|problem| problem["name"].as_str().map(str::to_owned)).collect(),
    )
}

/// What all validators have dropped or refused since they started, by their counters.
pub(super) async fn drops(cluster: &Cluster) -> u64 {
    let mut sum = 0_u64;
    for validator in cluster.validators() {
        let Ok(Ok(metrics)) = timeout(PATIENCE, http::get(&validator.rpc, "/metrics")).await else {
            continue;
        };
        let counts = metrics
            .lines()
            .filter(|line| counts_drops(line))
            .filter_map(|line| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok()));
        sum = sum.saturating_add(counts.fold(0, u64::saturating_add));
    }
    sum
}

fn counts_drops(line: &str) -> bool {
    const COUNTERS: [&str; 7] = [
        "_drops_total",
        "_bans_total",
        "_refusals_total",
        "_refused_total",
        "_faults_total",
        "_evicted_total",
        "_limited_total",
    ];
    !line.starts_with('#') && COUNTERS.iter().any(|name| line.contains(name))
}
