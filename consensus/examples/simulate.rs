//! Runs simulated clusters with random faults, on all cores: `simulate --seed N`, or
//! `simulate --seeds FROM TO`. A seed that fails is named, with the end of its shortest failing run.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use evchain_consensus::sim::random::{self, Report};

/// Seeds between two lines of progress.
const PROGRESS: u64 = 100;

/// What the runs covered.
#[derive(Default)]
struct Totals {
    runs: u64,
    views: u64,
    crashes: u64,
    commits: u64,
    failed: Vec<u64>,
}

impl Totals {
    fn add(&mut self, seed: u64, report: &Report) {
        self.runs += 1;
        self.views += report.views;
        self.crashes += report.crashes;
        self.commits += report.height;
        if report.violation.is_some() {
            self.failed.push(seed);
        }
    }

    fn in_words(&self) -> String {
        format!(
            "{} runs, {} views, {} crashes, {} blocks committed, {} failed",
            self.runs,
            self.views,
            self.crashes,
            self.commits,
            self.failed.len()
        )
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u64>> = arguments.iter().skip(1).map(|text| text.parse().ok()).collect();
    match (arguments.first().map(String::as_str), numbers.as_deref()) {
        (Some("--seed"), Some([seed])) => one(*seed),
        (Some("--seeds"), Some([from, to])) => many(*from, *to),
        _ => {
            eprintln!("usage: simulate --seed N | --seeds FROM TO");
            ExitCode::FAILURE
        }
    }
}

fn one(seed: u64) -> ExitCode {
    let report = random::run(seed);
    println!("seed {seed}: {}, digest {}", report.summary, report.digest);
    if report.violation.is_none() {
        return ExitCode::SUCCESS;
    }
    explain(seed);
    ExitCode::FAILURE
}

fn many(from: u64, to: u64) -> ExitCode {
    let next = AtomicU64::new(from);
    let totals = Mutex::new(Totals::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > to {
                        break;
                    }
                    let report = random::run(seed);
                    let mut totals = totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    totals.add(seed, &report);
                    if totals.runs % PROGRESS == 0 {
                        eprintln!("{} of {}: {}", totals.runs, to - from + 1, totals.in_words());
                    }
                    if let Some(violation) = &report.violation {
                        println!("seed {seed}: BROKEN {violation}");
                    }
                }
            });
        }
    });
    let mut totals = totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("seeds {from} to {to}: {}", totals.in_words());
    totals.failed.sort_unstable();
    match totals.failed.first() {
        None => ExitCode::SUCCESS,
        Some(seed) => {
            explain(*seed);
            ExitCode::FAILURE
        }
    }
}

/// The shortest run of this seed that fails in the same way.
fn explain(seed: u64) {
    let Some(report) = random::explain(seed) else { return };
    println!("seed {seed} with its first {} faults: {}", report.faults, report.summary);
    for line in &report.story {
        println!("{line}");
    }
    if let Some(violation) = &report.violation {
        println!("seed {seed}: BROKEN {violation}");
    }
    println!(
        "again: simulate --seed {seed}, or EVCHAIN_SEED={seed} cargo test -p evchain-consensus --release"
    );
}
