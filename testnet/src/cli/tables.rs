use super::args::TablesArgs;
use super::folder::Folder;
use crate::progress::Progress;
use crate::tables::{TablesPlan, run as run_tables};

pub(super) async fn run(args: TablesArgs) -> anyhow::Result<bool> {
    let folder = Folder::new(args.validators.dir.as_deref())?;
    let options = args.validators.options()?;
    let progress = Progress::without_bar();
    let plan = TablesPlan { counts: args.counts, timed_runs: args.timed_runs.into() };
    let validators = args.validators.validators;
    let report = tokio::select! {
        report = run_tables(folder.path(), validators, &plan, &options, &progress) => report.map_err(Into::into),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    progress.finish();
    let went_well = report.as_ref().is_ok_and(|report| report.failures.is_empty());
    folder.finish(went_well);
    let report = report?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(went_well)
}
