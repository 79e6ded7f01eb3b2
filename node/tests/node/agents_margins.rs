//! Goal: nobody trades on a chain on which money could not be collected in time, and what runs already is
//! settled all the same (T4, T5).
//! Method: a real node and real agents in one process; the authority makes the claim margin too short, from
//! the beginning or while a session runs.

use std::time::Duration;

use evchain_node::agents::{AgentError, AgentEvent};
use evchain_node::rpc::NodeApiClient;
use evchain_protocol::governance::{Change, ParamChange};
use evchain_protocol::primitives::Span;
use evchain_protocol::session::{PaymentKind, WantedLeads};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::propose::Propose;

use crate::agents_support::{START, World, key, order, order_from, soon, tariff};

/// Blocks may be 500 ms ahead, so this is the shortest that a chain can have, and too short for two
/// transactions one after the other.
const TOO_SHORT: Span = Span::new(2_000);

fn settings(error: AgentError) -> String {
    match error {
        AgentError::Settings(text) => text,
        other => panic!("not about settings: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_trades_where_claims_would_come_too_late() {
    let world = World::start_with(&[1], 0, |params| params.claim_margin = TOO_SHORT).await;
    let (error, _) = world.produce_in_vain(1, tariff(40), WantedLeads::default()).await;
    let text = settings(error);
    assert!(text.contains("claim margin of 2000 ms") && text.contains("raise claim_margin"), "{text}");
    let charging = world.charge(order(PaymentKind::Chain, 5)).await;
    let ended = soon("the charge's end", charging.task).await.expect("no panic");
    let text = settings(ended.expect_err("nobody could serve it"));
    assert!(text.contains("claim margin of 2000 ms"), "{text}");
    assert_eq!(world.consumer_balance().await, START, "no money moved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lead_that_is_too_short_is_refused() {
    let world = World::start(&[1], 0).await;
    let leads = WantedLeads { claim: None, settle: Some(Span::new(500)) };
    let text = settings(world.produce_in_vain(1, tariff(40), leads).await.0);
    assert!(text.contains("settle lead of 500 ms is too short"), "{text}");
    let leads = WantedLeads { claim: Some(Span::new(60_000)), settle: None };
    let text = settings(world.produce_in_vain(1, tariff(40), leads).await.0);
    assert!(text.contains("claim lead of 60000 ms does not fit"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_sold_before_is_collected_all_the_same() {
    let world = World::start_with(&[1], 0, |params| params.epoch_length = 20).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Chain, 8, 5_000, 12_000)).await;
    charging.events.wait_delivered(2).await;
    seller.kill().await;
    charging.kill().await;
    let sold = world.interrupted("producer-1").await;

    shorten_claims(&world).await;
    let (error, events) = world.produce_in_vain(1, tariff(40), WantedLeads::default()).await;
    assert!(settings(error).contains("raise claim_margin"));
    let resumed = |event: &AgentEvent| matches!(event, AgentEvent::Resumed { .. });
    assert!(events.told().iter().any(resumed), "{:?}", events.told());
    assert!(sold.released >= 3, "{sold:?}");
    assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(sold.amount));
}

/// The authority decides it, alone, and the next epoch begins.
async fn shorten_claims(world: &World) {
    let change = Change::SetParam(ParamChange::ClaimMargin(TOO_SHORT));
    world.submit(&key(200), Action::Propose(Propose { change })).await;
    let rpc = world.rpc().await;
    soon("the next epoch", async {
        while rpc.params().await.expect("parameters").claim_margin != TOO_SHORT {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
