use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use evchain_node::rpc::{NodeApiClient, RpcClient};

use super::args::{DemoArgs, ReplayArgs, RunArgs, ValidatorArgs};
use super::folder::Folder;
use crate::cluster::{ChainFiles, Cluster};
use crate::data::{read_requests, read_stations, salzburg};
use crate::progress::Progress;
use crate::report::{Audit, ChainFigures, Evidence, Report};
use crate::scenario::{Faults, Plan, PlanOptions, Recorder, SessionResult, Speed, participants, run};

/// How long validators that were killed may take to catch up with the others.
const CATCH_UP: Duration = Duration::from_mins(1);
/// How much faster the built-in scenario runs: its seven hours take somewhat more than a minute.
const DEMO_SPEED: &str = "480";

pub(super) async fn demo(args: DemoArgs) -> anyhow::Result<bool> {
    let speed = match args.run.speed {
        Some(speed) => Some(speed),
        None => DEMO_SPEED.parse::<Speed>().ok(),
    };
    let options =
        PlanOptions { region: None, sessions: args.sessions, speed, ..options(&args.run, args.sessions) };
    let plan = Plan::new(salzburg::stations()?, salzburg::requests()?, &options)?;
    let notes = vec!["stations, prices and requests are made up".to_owned()];
    perform("A day around Salzburg", notes, &plan, &args.validators, &args.run).await
}

pub(super) async fn replay(args: ReplayArgs) -> anyhow::Result<bool> {
    let options = PlanOptions { region: Some(args.region), ..options(&args.run, args.sessions) };
    let plan = Plan::new(read_stations(&args.stations)?, read_requests(&args.requests)?, &options)?;
    let notes = vec![
        "requests are those of another place and time, such as California's in ACN-Data: their times of day are \
         moved to this region as they are, and each vehicle stands at one of its stations in turn"
            .to_owned(),
    ];
    let name = format!(
        "Requests of {} at stations of {}, region {}",
        args.requests.display(),
        args.stations.display(),
        args.region
    );
    perform(&name, notes, &plan, &args.validators, &args.run).await
}

fn options(run: &RunArgs, sessions: usize) -> PlanOptions {
    PlanOptions {
        region: None,
        sessions,
        installments: run.installments,
        payment: run.payment,
        speed: run.speed,
        reservation: run.reservation,
    }
}

/// Runs a scenario on a new testnet and reports. False if a check did not hold.
async fn perform(
    name: &str,
    notes: Vec<String>,
    plan: &Plan,
    validators: &ValidatorArgs,
    args: &RunArgs,
) -> anyhow::Result<bool> {
    let folder = Folder::new(validators.dir.as_deref())?;
    let result = measured(name, notes, plan, validators, args, folder.path()).await;
    let went_well = result.as_ref().is_ok_and(|report| report.failures.is_empty());
    folder.finish(went_well);
    let report = result?;
    print!("{report}");
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(went_well)
}

async fn measured(
    name: &str,
    notes: Vec<String>,
    plan: &Plan,
    validators: &ValidatorArgs,
    args: &RunArgs,
    dir: &Path,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let files = ChainFiles::create(dir, validators.validators, &participants(plan))?;
    let mut cluster = Cluster::start(files, &validators.options()?).await?;
    let progress = Progress::new(plan.consumers.len());
    progress.line(&format!("{} validators run, logs are in {}", validators.validators, dir.display()));
    let recorder = Recorder::default();
    let faults = Faults { kill_one_at: args.kill_one_at, kill_all_at: args.kill_all_at };
    let results = run(&mut cluster, plan, faults, &recorder, &progress).await;
    progress.finish();
    let report = match results {
        Ok(results) => {
            let findings = Findings { name, notes, plan, results, recorder, begun };
            findings.report(&cluster).await
        }
        Err(error) => Err(error.into()),
    };
    cluster.stop().await;
    report
}

/// What a run left behind, before the chain is read.
struct Findings<'a> {
    name: &'a str,
    notes: Vec<String>,
    plan: &'a Plan,
    results: Vec<SessionResult>,
    recorder: Recorder,
    begun: Instant,
}

impl Findings<'_> {
    async fn report(self, cluster: &Cluster) -> anyhow::Result<Report> {
        let rpc = RpcClient::connect(&cluster.endpoints(0)).await?;
        let tip = rpc.status().await?.height;
        cluster.wait_for_height(tip, CATCH_UP).await?;
        let chain = ChainFigures::read(&rpc, tip).await?;
        let mut clients = Vec::new();
        for validator in cluster.validators() {
            clients.push(cluster.client_of(validator).await?);
        }
        let genesis = cluster.files().genesis();
        let supply = genesis.build()?.supply;
        let accounts = &cluster.files().accounts() | &chain.newcomers;
        let audit = Audit::run(&clients, &accounts, supply).await?;
        let producer_keys = self
            .plan
            .producers
            .iter()
            .enumerate()
            .map(|(index, _)| genesis.accounts[index].key)
            .collect::<Vec<_>>();
        let records = self.recorder.records();
        Ok(Report::new(Evidence {
            name: self.name.to_owned(),
            notes: self.notes,
            plan: self.plan,
            producer_keys: &producer_keys,
            results: &self.results,
            records: &records,
            chain,
            audit,
            duration: self.begun.elapsed(),
        }))
    }
}
