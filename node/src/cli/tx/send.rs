use std::time::{Duration, Instant};

use evchain_protocol::crypto::Hash;
use evchain_protocol::primitives::Span;
use serde::Serialize;

use super::super::human;
use super::super::output::{print_json, print_text};
use super::super::values::show_span;
use super::args::TxCommand;
use super::build;
use super::vote::Vote;
use crate::rpc::{Finality, MAX_WAIT_MS};
use crate::wallet::{SendError, Sender};

/// What a transaction came to, as JSON.
#[derive(Serialize)]
struct Sent<'a> {
    /// From sending it until the answer that it is final.
    latency_ms: u64,
    #[serde(flatten)]
    finality: &'a Finality,
    /// How the proposal stands that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    vote: Option<Vote>,
}

/// Builds, signs and sends a transaction.
///
/// # Errors
/// Why it is not final.
pub(in super::super) async fn run(command: TxCommand) -> anyhow::Result<()> {
    let TxCommand { rpc, key, no_wait, timeout, json, kind } = command;
    let key = key.wallet.open()?.key(key.index);
    let sender = Sender::new(rpc.connect().await?, key);
    let action = build::action(kind, sender.rpc(), sender.address()).await?;
    if no_wait {
        let signed = sender.submit(action).await?;
        return accepted(signed.id(), json);
    }
    let signed = sender.sign(sender.next_nonce().await.map_err(SendError::Nonce)?, action);
    let begin = Instant::now();
    let finality = sender.send_signed(&signed, Duration::from_millis(timeout.get().min(MAX_WAIT_MS))).await?;
    let latency_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let vote = Vote::after(&finality.events, sender.rpc()).await?;
    if json {
        return print_json(&Sent { latency_ms, finality: &finality, vote });
    }
    print_text(&format!("final in block {} after {}", finality.height, show_span(Span::new(latency_ms))))?;
    let rows = [
        ("ref", finality.place.to_string()),
        ("id", finality.transaction.to_string()),
        ("fee", format!("{} EUR", finality.fee)),
        ("size", format!("{} B", finality.bytes)),
    ];
    print_text(&super::super::output::aligned(&rows))?;
    print_text(&human::show(&finality.events)?)?;
    vote.map_or(Ok(()), |vote| print_text(&vote.to_string()))
}

fn accepted(id: Hash, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&serde_json::json!({ "transaction": id }));
    }
    print_text(&format!("accepted, not final yet\nid  {id}\n`evchain query wait {id}` waits for it"))
}
