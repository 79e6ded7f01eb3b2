//! Runs simulated clusters with random faults: `simulate --seed N`, or `simulate --seeds FROM TO`.

use std::process::ExitCode;

use evchain_consensus::sim::random;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u64>> = arguments.iter().skip(1).map(|text| text.parse().ok()).collect();
    let seeds = match (arguments.first().map(String::as_str), numbers.as_deref()) {
        (Some("--seed"), Some([seed])) => *seed..=*seed,
        (Some("--seeds"), Some([from, to])) => *from..=*to,
        _ => {
            eprintln!("usage: simulate --seed N | --seeds FROM TO");
            return ExitCode::FAILURE;
        }
    };
    let mut exit = ExitCode::SUCCESS;
    for seed in seeds {
        let report = random::run(seed);
        println!("seed {seed}: {}, digest {}", report.summary, report.digest);
        if let Some(violation) = report.violation {
            println!("seed {seed}: BROKEN {violation}");
            exit = ExitCode::FAILURE;
        }
    }
    exit
}
