use clap::ValueEnum;
use evchain_node::clock;
use serde::Serialize;

use super::args::FaultArgs;
use super::folder::Folder;
use crate::fault::{FaultKind, FaultOptions, FaultReport, Outcome, run as run_fault};
use crate::progress::Progress;

/// How often validators are restarted where nothing else is said.
const RESTARTS: u64 = 200;

/// What came of one kind, as JSON tells it.
#[derive(Serialize)]
struct Verdict {
    kind: FaultKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Box<FaultReport>>,
}

pub(super) async fn run(args: FaultArgs) -> anyhow::Result<bool> {
    let folder = Folder::new(args.dir.as_deref())?;
    let verdicts = tokio::select! {
        verdicts = all(&args, &folder) => verdicts,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let holds = |verdict: &Verdict| verdict.report.as_ref().is_none_or(|report| report.failures.is_empty());
    let hold = verdicts.as_ref().is_ok_and(|verdicts| verdicts.iter().all(holds));
    folder.finish(hold);
    let verdicts = verdicts?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&verdicts)?);
    }
    Ok(hold)
}

async fn all(args: &FaultArgs, folder: &Folder) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for kind in &args.kinds {
        let name = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let options = FaultOptions {
            dir: folder.path().join(format!("{}-{name}", verdicts.len() + 1)),
            node_bin: args.program()?,
            restarts: args.count.map_or(RESTARTS, u64::from),
            cases: args.cases(),
            pause: args.pause,
            attack: args.attack_seconds,
            attacks: args.attacks(),
            seed: args.seed.unwrap_or_else(|| clock::now().get()),
        };
        std::fs::create_dir_all(&options.dir)?;
        let progress = Progress::without_bar();
        progress.line(&format!("fault {name}"));
        let outcome = run_fault(*kind, &options, &progress).await?;
        progress.finish();
        let verdict = match outcome {
            Outcome::Done(report) => Verdict { kind: *kind, skipped: None, report: Some(report) },
            Outcome::Skipped(reason) => Verdict { kind: *kind, skipped: Some(reason), report: None },
        };
        if !args.json {
            show(&name, &verdict);
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn show(name: &str, verdict: &Verdict) {
    match (&verdict.skipped, &verdict.report) {
        (Some(reason), _) => println!("{name}: skipped: {reason}"),
        (None, Some(report)) => print!("{name}:\n{report}"),
        (None, None) => {}
    }
}
