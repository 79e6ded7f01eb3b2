//! Goal: the papers' tables have every row, and sides that stop cost the other no more than an installment.
//! Method: the program itself with one N and nothing timed, which a busy machine could not hold, and its report
//! in JSON. The program checks its figures; the test checks that they are there.

use serde_json::Value;

use crate::support::{shown, testnet};

const KINDS: [&str; 4] = ["single", "hashes", "chain", "channel"];

#[test]
fn tables_have_every_row_and_measure_what_a_stop_costs() {
    let output = testnet(&["tables", "--counts", "2", "--timed-runs", "0", "--json"]);
    assert!(output.status.success(), "{}", shown(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let rows = |name: &str| report[name].as_array().expect("rows").clone();
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {row}"));
    let found = |name: &str| -> Vec<String> {
        rows(name).iter().filter_map(|row| row["kind"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(found("payments"), KINDS);
    assert_eq!(found("sessions"), KINDS);
    assert_eq!(found("phases"), ["place_request", "place_bid", "commit"]);
    let on_chain: Vec<u64> = rows("payments").iter().map(|row| number(row, "on_chain")).collect();
    assert_eq!(on_chain, [4, 2, 2, 2]);
    for row in rows("sessions") {
        assert_eq!((number(&row, "price"), number(&row, "spent")), (90_000, 90_000), "{row}");
    }
    let got: u64 = rows("earnings").iter().map(|row| number(row, "got")).sum();
    assert_eq!(got, 4 * 90_000);
    let stopped = rows("stopped");
    assert_eq!(stopped.len(), 2 * KINDS.len());
    for row in stopped {
        let (loss, spent, energy) = (number(&row, "loss"), number(&row, "spent"), number(&row, "delivered"));
        // Ten installments of 2 kWh, of which five were delivered. How much of the sixth came before the
        // producer's stop is a matter of time, and the loss follows from it.
        assert!((10_000..=12_000).contains(&energy), "{row}");
        let (most, expected) = if row["stops"] == "sells" {
            (number(&row, "installment"), spent.saturating_sub(90_000 * energy / 20_000))
        } else {
            (0, (90_000 * energy).div_ceil(20_000).saturating_sub(spent))
        };
        assert_eq!(loss, expected, "{row}");
        assert!(loss <= most, "{row}");
        assert_eq!(number(&row, "spent"), number(&row, "got"), "{row}");
        assert!((5..=6).contains(&number(&row, "released")), "{row}");
    }
}
