//! Goal: real validators and agents bring a scenario to its end, with and without crashes.
//! Method: the program itself, with part of the built-in scenario and small files, and its report in
//! JSON. The program checks settlement, conservation and agreement; the tests check that it did.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{shown, testnet};

/// Runs a scenario and gives its report. It must have held what it checks.
fn report(arguments: &[&str], dir: &Path) -> Value {
    let file = dir.join("report.json");
    let file = file.to_str().expect("a path in UTF-8");
    let output = testnet(&[arguments, &["--json", file]].concat());
    assert!(output.status.success(), "{}", shown(&output));
    let text = fs::read_to_string(file).expect("the report is there");
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    assert_eq!(report["failures"].as_array().map(Vec::len), Some(0), "{report:#}");
    assert_agreed_and_conserved(&report);
    report
}

fn assert_agreed_and_conserved(report: &Value) {
    let audit = &report["audit"];
    let validators = audit["validators"].as_array().expect("validators");
    assert_eq!(validators.len(), 4);
    for validator in validators {
        assert_eq!(validator["state_root"], validators[0]["state_root"]);
        let number = |name: &str| validator[name].as_u64().expect("an amount");
        assert_eq!(number("in_accounts") + number("locked"), audit["supply"].as_u64().expect("a supply"));
    }
}

#[test]
fn small_demo_charges_everybody() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = report(&["demo", "--sessions", "4", "--speed", "1200"], dir.path());
    assert_eq!(report["sessions"]["outcomes"]["charged"], 4, "{report:#}");
    assert_eq!(report["sessions"]["settled"], 4);
    assert_eq!(report["sessions"]["installments"], 40);
    let directions = report["sessions"]["directions"].as_array().expect("directions");
    assert!(directions.iter().any(|row| row["direction"] == "V2V"), "{report:#}");
    // One transaction locks and one settles, whatever N is.
    for (kind, figures) in report["payments"].as_object().expect("payments") {
        let count = |name: &str| figures[name].as_u64().expect("a number");
        assert_eq!(count("transactions"), 2 * count("sessions"), "{kind}: {report:#}");
    }
}

#[test]
fn single_locks_charge_with_two_transactions_for_each_installment() {
    let dir = tempfile::tempdir().expect("a folder");
    let arguments =
        ["demo", "--sessions", "2", "--speed", "1200", "--payment", "single", "--installments", "3"];
    let report = report(&arguments, dir.path());
    assert_eq!(report["sessions"]["outcomes"]["charged"], 2, "{report:#}");
    let figures = &report["payments"]["single locks"];
    assert_eq!((&figures["sessions"], &figures["transactions"]), (&2.into(), &12.into()), "{report:#}");
}

#[test]
fn sessions_survive_the_crash_of_one_validator() {
    let dir = tempfile::tempdir().expect("a folder");
    let arguments =
        ["demo", "--sessions", "4", "--speed", "1200", "--kill-one-at", "12", "--restart-after", "3"];
    let report = report(&arguments, dir.path());
    assert_eq!(report["sessions"]["settled"], 4, "{report:#}");
}

#[test]
fn sessions_survive_the_crash_of_all_validators() {
    let dir = tempfile::tempdir().expect("a folder");
    let arguments =
        ["demo", "--sessions", "3", "--speed", "1200", "--kill-all-at", "13", "--restart-after", "1"];
    let report = report(&arguments, dir.path());
    assert_eq!(report["sessions"]["settled"], 3, "{report:#}");
}

#[test]
fn replay_lists_what_nobody_can_serve_and_marks_imputed_prices() {
    let dir = tempfile::tempdir().expect("a folder");
    let (stations, requests) = (dir.path().join("s.csv"), dir.path().join("r.csv"));
    fs::write(
        &stations,
        "station,operator_id,region_id,lat,lon,points,point_kw_max,dc,price_eur_per_kwh,price_source\n\
         1,1,244,47.87,12.64,2,22.0,0,0.49,imputed\n\
         2,1,244,47.88,12.65,2,11.0,0,0.45,posted\n\
         3,1,9,50.0,9.0,2,11.0,0,0.01,posted\n",
    )
    .expect("written");
    fs::write(
        &requests,
        "site,station_id,arrival_utc,declared_departure_utc,departure_utc,requested_wh,delivered_wh,claimed\n\
         jpl,A,2019-05-01T12:00:00Z,2019-05-01T14:00:00Z,,0,0,1\n\
         jpl,B,2019-05-01T12:10:00Z,2019-05-01T14:10:00Z,,8000,0,1\n\
         jpl,C,2019-05-01T12:20:00Z,2019-05-01T12:50:00Z,,90000,0,1\n\
         jpl,D,2019-05-01T12:30:00Z,2019-05-01T14:30:00Z,,5000,0,1\n",
    )
    .expect("written");
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let (stations, requests) = (path(&stations), path(&requests));
    let report = report(
        &[
            "replay",
            "--stations",
            &stations,
            "--requests",
            &requests,
            "--region",
            "244",
            "--sessions",
            "10",
            "--payment",
            "chain",
            "--speed",
            "1200",
        ],
        dir.path(),
    );
    assert_eq!(report["sessions"]["asked"], 2);
    assert_eq!(report["scenario"]["producers"], 2);
    let lines: Vec<u64> = report["scenario"]["skipped"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["line"].as_u64())
        .collect();
    assert_eq!(lines, [2, 4]);
    assert_eq!(report["payments"]["hash chain"]["sessions"], 2);
    let sources = report["prices"]["sources"].as_object().expect("sources");
    assert_eq!(sources.values().filter_map(Value::as_u64).sum::<u64>(), 2, "{report:#}");
}

#[test]
fn bad_files_and_options_are_refused_with_their_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("bad.csv");
    fs::write(&file, "arrival_utc,declared_departure_utc,requested_wh\nnow,2019-05-01T12:00:00Z,1\n")
        .expect("written");
    let bad = file.to_str().expect("a path in UTF-8");
    let cases: [(&[&str], i32, &str); 4] = [
        (
            &["replay", "--stations", bad, "--requests", bad, "--region", "244"],
            1,
            "the column station is missing",
        ),
        (
            &["replay", "--stations", "none.csv", "--requests", bad, "--region", "1"],
            1,
            "none.csv: cannot be read",
        ),
        (&["demo", "--speed", "0"], 2, "a speed is a whole number from 1"),
        (&["demo", "--node-bin", "/none"], 1, "there is no node program /none"),
    ];
    for (arguments, code, message) in cases {
        let output = testnet(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", shown(&output));
        assert!(shown(&output).contains(message), "{arguments:?}: {}", shown(&output));
    }
}
