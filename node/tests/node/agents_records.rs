//! Goal: a session shows in its producer's track record, people and programs can read it, and a consumer
//! that weighs records goes elsewhere (P21 IV-A).
//! Method: a real node, real agents, and the binary's queries at the node's RPC.

use std::process::Command;

use evchain_node::agents::consumer::ChargeOrder;
use evchain_node::agents::{ChargeOutcome, ChargeReport};
use evchain_node::rpc::NodeApiClient;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::session::PaymentKind;
use evchain_protocol::session::decide::{Choice, Doubt, Weights};
use evchain_protocol::state::record::TrackRecord;
use serde_json::Value;

use crate::agents_support::{World, key, order, tariff};

/// What `evchain query` prints.
fn query(world: &World, what: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_evchain"))
        .arg("query")
        .args(what.split(' '))
        .args(["--rpc", &world.rpc_url()])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn chosen(report: &ChargeReport) -> Option<PublicKey> {
    assert_eq!(report.bids.len(), 2, "both bid: {report:#?}");
    report.chosen.as_ref().map(|bid| bid.producer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_shows_in_the_record_and_in_the_next_choice() {
    let world = World::start(&[1, 2], 0).await;
    let (cheap, dear) = (world.produce(1, tariff(40)).await, world.produce(2, tariff(44)).await);
    let (first, second) = (key(1).public_key(), key(2).public_key());

    // The cheap one sells, and the consumer goes after the second of five installments.
    let charging = world.charge(order(PaymentKind::Channel, 5)).await;
    charging.events.wait_delivered(1).await;
    charging.stop.cancel();
    let broken = charging.report().await;
    assert_eq!((broken.outcome.clone(), chosen(&broken)), (ChargeOutcome::Partial, Some(first)));
    let released = u64::from(broken.session.as_ref().expect("a session").outcome.released);
    let record = TrackRecord {
        broken_off: 1,
        installments_agreed: 5,
        installments_paid: released,
        shortfall: (5 - released) * 250,
        ..TrackRecord::default()
    };
    let told = world.rpc().await.record(first).await.expect("a record").scored;
    assert_eq!((told.record, told.doubt), (record, Doubt::of(&record)));
    let untouched = world.rpc().await.record(second).await.expect("a record").scored;
    assert_eq!((untouched.record, untouched.doubt), (TrackRecord::default(), Doubt::NEWCOMER));

    let json: Value = serde_json::from_str(&query(&world, &format!("record {first} --json"))).expect("JSON");
    assert_eq!(json["installments_paid"], released);
    assert_eq!(json["doubt"], told.doubt.get());
    let text = query(&world, &format!("record {first}"));
    assert!(text.contains(&format!("{} per mille", told.doubt.get())), "{text}");
    let station: Value =
        serde_json::from_str(&query(&world, &format!("station {first} --json"))).expect("JSON");
    assert_eq!((&station["record"]["broken_off"], &station["connectors"]), (&json["broken_off"], &2.into()));
    let proof: Value =
        serde_json::from_str(&query(&world, &format!("proof record/{first} --json"))).expect("JSON");
    assert_eq!(proof["value"]["track_record"]["installments_paid"], released);

    // Weighed five times, the doubt costs more than the difference of 10 %.
    let wanted = order(PaymentKind::Channel, 5);
    let weights = Weights { record: 5, ..Weights::default() };
    let wanted = ChargeOrder { choice: Choice { weights, ..wanted.choice }, ..wanted };
    let warned = world.charge(wanted).await.report().await;
    assert_eq!((warned.outcome.clone(), chosen(&warned)), (ChargeOutcome::Charged, Some(second)));
    let doubts: Vec<(PublicKey, Doubt)> = warned.bids.iter().map(|bid| (bid.producer, bid.doubt)).collect();
    assert!(
        doubts.contains(&(first, told.doubt)) && doubts.contains(&(second, Doubt::NEWCOMER)),
        "{doubts:?}"
    );
    let completed = world.rpc().await.record(second).await.expect("a record").scored.record;
    assert_eq!((completed.completed, completed.installments_paid), (1, 5));
    cheap.finish().await;
    dear.finish().await;
}
