//! What the engine costs by itself: real threads, real signatures, encoded messages, a synced log, and
//! links inside one process. No network, no ledger, no transactions.
//!
//! `benchmark [--seconds N] [--nodes 4,7,16,32] [--disk FOLDER]` prints a table of all combinations.

#![allow(clippy::disallowed_types, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use evchain_consensus::authority_set::Committee;
use evchain_consensus::block::{BlockRef, Payload};
use evchain_consensus::config::Config;
use evchain_consensus::engine::Engine;
use evchain_consensus::input::{Execution, Input, Moment, Now};
use evchain_consensus::message::{MAX_MESSAGE_BYTES, Message};
use evchain_consensus::output::{BuildRequest, Contents, Output};
use evchain_consensus::wal::Recovered;
use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::codec::{decode, encode};
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey};
use evchain_protocol::primitives::{Epoch, Height, Span, Timestamp, View};

/// Far above what a view takes here, so that no view times out.
const CONFIG: Config =
    Config { hop_bound: Span::new(2_000), idle: Span::new(100), max_clock_drift: Span::new(5_000) };
const WARM_UP: Duration = Duration::from_millis(500);

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            std::process::exit(2);
        }
    };
    println!(
        "{:>3} {:>6} {:>6} {:>9} {:>9} {:>12} {:>11} {:>14} {:>14}",
        "n",
        "link",
        "log",
        "views/s",
        "hops/view",
        "CPU/node/view",
        "kB/view",
        "final (median)",
        "final, hops"
    );
    for nodes in &options.nodes {
        for link_ms in [0, 50] {
            for (name, folder) in [("tmpfs", Path::new("/dev/shm")), ("disk", options.disk.as_path())] {
                if folder.is_dir() {
                    let measured = run(*nodes, Duration::from_millis(link_ms), folder, options.time);
                    measured.print(*nodes, link_ms, name);
                }
            }
        }
    }
}

struct Options {
    time: Duration,
    nodes: Vec<usize>,
    disk: PathBuf,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { time: Duration::from_secs(5), nodes: vec![4, 7, 16, 32], disk: PathBuf::from(".") };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let bad = |error: std::num::ParseIntError| format!("{name} {value}: {error}");
            match name.as_str() {
                "--seconds" => options.time = Duration::from_secs(value.parse().map_err(bad)?),
                "--nodes" => {
                    options.nodes =
                        value.split(',').map(str::parse).collect::<Result<_, _>>().map_err(bad)?;
                }
                "--disk" => options.disk = PathBuf::from(&value),
                _ => return Err("usage: benchmark [--seconds N] [--nodes 4,7,16,32] [--disk FOLDER]".into()),
            }
        }
        Ok(options)
    }
}

/// What a run showed.
struct Measured {
    seconds: f64,
    views: f64,
    cpu_per_node_view_ms: f64,
    bytes_per_view: f64,
    finality_ms: Vec<f64>,
}

impl Measured {
    fn print(&self, nodes: usize, link_ms: u64, log: &str) {
        let per_view_ms = self.seconds * 1000.0 / self.views;
        let median_ms = self.finality_ms.get(self.finality_ms.len() / 2).copied().unwrap_or(f64::NAN);
        let hops = |ms: f64| {
            if link_ms == 0 { "-".to_owned() } else { format!("{:.2}", ms / link_ms as f64) }
        };
        println!(
            "{nodes:>3} {:>6} {log:>6} {:>9.1} {:>9} {:>12} {:>11.1} {:>14} {:>14}",
            format!("{link_ms} ms"),
            self.views / self.seconds,
            hops(per_view_ms),
            format!("{:.3} ms", self.cpu_per_node_view_ms),
            self.bytes_per_view / 1000.0,
            format!("{median_ms:.2} ms"),
            hops(median_ms),
        );
    }
}

/// A message on its way.
struct Packet {
    due: Instant,
    from: PublicKey,
    bytes: Arc<[u8]>,
}

/// What the nodes of a run share.
struct Shared {
    phase: AtomicU8,
    /// When each block's proposal left its leader.
    proposed: Mutex<BTreeMap<Hash, Instant>>,
    links: Vec<(PublicKey, Sender<Packet>)>,
    link: Duration,
    start: Instant,
}

/// What one node counted while it was measured.
#[derive(Default)]
struct Counted {
    views: u64,
    cpu: Duration,
    bytes_sent: u64,
    finality_ms: Vec<f64>,
}

fn run(nodes: usize, link: Duration, folder: &Path, time: Duration) -> Measured {
    let mut keys: Vec<KeyPair> = (1..=nodes).map(|byte| KeyPair::from_secret(&[byte as u8; 32])).collect();
    keys.sort_by_key(KeyPair::public_key);
    let set = AuthoritySet::new(keys.iter().map(KeyPair::public_key).collect()).expect("distinct keys");
    let root = BlockRef {
        hash: Hash::from_bytes([9; 32]),
        height: Height::ZERO,
        view: View::ZERO,
        time_ms: Timestamp::new(1),
    };
    let committee = Committee::new(ChainId(Hash::from_bytes([8; 32])), Epoch::ZERO, set, root);
    let (senders, receivers): (Vec<_>, Vec<_>) = keys.iter().map(|_| channel()).unzip();
    let shared = Arc::new(Shared {
        phase: AtomicU8::new(WARMING_UP),
        proposed: Mutex::default(),
        links: keys.iter().map(KeyPair::public_key).zip(senders).collect(),
        link,
        start: Instant::now(),
    });
    let threads: Vec<_> = keys
        .into_iter()
        .zip(receivers)
        .enumerate()
        .map(|(place, (key, inbox))| {
            let path = folder.join(format!("evchain-benchmark-{}-{place}.log", std::process::id()));
            let (committee, shared) = (committee.clone(), shared.clone());
            thread::spawn(move || Node::new(committee, key, shared, &path).run(&inbox))
        })
        .collect();
    thread::sleep(WARM_UP + link * 4);
    let began = Instant::now();
    shared.phase.store(MEASURING, Ordering::Relaxed);
    thread::sleep(time);
    shared.phase.store(OVER, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let counted: Vec<Counted> =
        threads.into_iter().map(|node| node.join().expect("no node panics")).collect();
    summarize(seconds, counted)
}

fn summarize(seconds: f64, counted: Vec<Counted>) -> Measured {
    let nodes = counted.len() as f64;
    let views = counted.iter().map(|node| node.views).sum::<u64>() as f64 / nodes;
    let cpu_ms = counted.iter().map(|node| node.cpu.as_secs_f64()).sum::<f64>() * 1000.0;
    let bytes = counted.iter().map(|node| node.bytes_sent).sum::<u64>() as f64;
    let mut finality_ms: Vec<f64> = counted.into_iter().flat_map(|node| node.finality_ms).collect();
    finality_ms.sort_by(f64::total_cmp);
    Measured {
        seconds,
        views,
        cpu_per_node_view_ms: cpu_ms / nodes / views,
        bytes_per_view: bytes / views,
        finality_ms,
    }
}

/// One node: an engine, a log, and links to the others.
struct Node {
    engine: Engine,
    key: PublicKey,
    shared: Arc<Shared>,
    log: File,
    path: PathBuf,
    unsynced: Vec<u8>,
    counted: Counted,
}

impl Node {
    fn new(committee: Committee, key: KeyPair, shared: Arc<Shared>, path: &Path) -> Self {
        let own = key.public_key();
        let recovered = Recovered::fresh(committee.root());
        Self {
            engine: Engine::new(CONFIG, committee, Some(key), recovered).expect("an empty log"),
            key: own,
            shared,
            log: File::create(path).expect("the log can be created"),
            path: path.to_owned(),
            unsynced: Vec::new(),
            counted: Counted::default(),
        }
    }

    fn run(mut self, inbox: &Receiver<Packet>) -> Counted {
        let mut before = (WARMING_UP, 0, Duration::ZERO);
        let mut waiting: BTreeMap<(Instant, u64), Packet> = BTreeMap::new();
        let mut sequence = 0;
        self.step(Input::Start);
        loop {
            let phase = self.shared.phase.load(Ordering::Relaxed);
            if phase != before.0 {
                let now = (phase, self.engine.view().get(), cpu_time());
                if phase == OVER {
                    self.counted.views = now.1 - before.1;
                    self.counted.cpu = now.2.saturating_sub(before.2);
                    // The file is of no use to anybody.
                    _ = std::fs::remove_file(&self.path);
                    return self.counted;
                }
                self.counted = Counted::default();
                before = now;
            }
            while let Ok(packet) = inbox.try_recv() {
                sequence += 1;
                waiting.insert((packet.due, sequence), packet);
            }
            let now = Instant::now();
            let due = waiting.first_key_value().map(|(key, _)| key.0);
            if due.is_some_and(|due| due <= now) {
                if let Some((_, packet)) = waiting.pop_first() {
                    let message: Message = decode(&packet.bytes, MAX_MESSAGE_BYTES).expect("it was encoded");
                    self.step(Input::Message { from: packet.from, message });
                }
                continue;
            }
            let wait = due.map_or(Duration::from_millis(20), |due| due.duration_since(now));
            match inbox.recv_timeout(wait.min(Duration::from_millis(20))) {
                Ok(packet) => {
                    sequence += 1;
                    waiting.insert((packet.due, sequence), packet);
                }
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => return self.counted,
            }
        }
    }

    fn tick(&mut self) {
        if self.engine.next_deadline().is_some_and(|deadline| deadline <= self.now().monotonic) {
            self.step(Input::Tick);
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: Moment::new(self.shared.start.elapsed().as_millis() as u64),
            wall: Timestamp::new(wall.as_millis() as u64),
        }
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            self.engine.step(self.now(), input, &mut outputs);
            for output in outputs {
                inputs.extend(self.carry_out(output));
            }
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Persist(record) => self.unsynced.extend(encode(&record)),
            Output::Send { to, message } => self.send(&message, Some(to)),
            Output::Broadcast(message) => self.send(&message, None),
            Output::Build(request) => {
                let block = request.finish(self.contents(&request));
                return Some(Input::Built { epoch: request.epoch, view: request.view, block: Some(block) });
            }
            Output::Execute(block) => {
                return Some(Input::Executed { block: block.hash(), outcome: Execution::Valid });
            }
            Output::Commit { blocks, finalization, .. } => {
                self.unsynced.extend(encode(&finalization));
                let now = Instant::now();
                let proposed = self.shared.proposed.lock().expect("no node panics");
                let latencies = blocks.iter().filter_map(|block| {
                    Some(now.duration_since(*proposed.get(&block.hash())?).as_secs_f64() * 1000.0)
                });
                self.counted.finality_ms.extend(latencies);
            }
            Output::Halt(reason) => panic!("{reason}"),
            Output::CancelBuild { .. }
            | Output::ServeBlocks { .. }
            | Output::ServeFinalized { .. }
            | Output::ServeBoundary { .. }
            | Output::Evidence(_)
            | Output::Reject { .. } => {}
        }
        None
    }

    /// Syncs what was logged, then hands the message to the links.
    fn send(&mut self, message: &Message, target: Option<PublicKey>) {
        if !self.unsynced.is_empty() {
            self.log
                .write_all(&self.unsynced)
                .and_then(|()| self.log.sync_data())
                .expect("the log is written");
            self.unsynced.clear();
        }
        let now = Instant::now();
        if let Message::Proposal(proposal) = message {
            self.shared.proposed.lock().expect("no node panics").insert(proposal.block.hash(), now);
        }
        let bytes: Arc<[u8]> = encode(message).into();
        for (to, link) in &self.shared.links {
            if *to != self.key && target.is_none_or(|target| target == *to) {
                self.counted.bytes_sent += bytes.len() as u64;
                // A node that has finished its measurement reads no more.
                _ = link.send(Packet { due: now + self.shared.link, from: self.key, bytes: bytes.clone() });
            }
        }
    }

    fn contents(&self, request: &BuildRequest) -> Contents {
        let after_parent = Timestamp::new(request.parent.time_ms.get() + 1);
        Contents {
            time_ms: self.now().wall.max(after_parent),
            tx_root: Hash::ZERO,
            event_root: Hash::ZERO,
            state_root: Hash::ZERO,
            next_authority_root: Hash::ZERO,
            payload: Payload::default(),
        }
    }
}

/// The time that this thread was on a processor.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or_default())
}
