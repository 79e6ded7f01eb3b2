//! Ends a sale that was interrupted, without selling anything else.

use std::path::Path;
use std::sync::Arc;

use evchain_protocol::crypto::KeyPair;
use evchain_protocol::session::{Margins, ProducerPolicy};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::guarding::Guarding;
use super::recover::{Interrupted, recover, unfinished_sales};
use super::session::Driver;
use crate::agents::chain::asking::Asking;
use crate::agents::chain::blocks::Blocks;
use crate::agents::chain::finality::FinalityMeter;
use crate::agents::chain::nodes::{Nodes, Signer};
use crate::agents::chain::settle::Settlements;
use crate::agents::error::AgentError;
use crate::agents::event::Observer;
use crate::agents::journal;
use crate::agents::meter::Meter;
use crate::agents::report::SessionReport;
use crate::rpc::{NodeApiClient, RpcClient};

/// Ends the sale with this journal's name and collects what was released. None if there is no such
/// journal, or nothing is left to do.
///
/// # Errors
/// [`AgentError`]: an agent is at it, the journal is damaged, or the chain rejects the claim.
pub async fn abort(
    state_dir: &Path,
    name: &str,
    rpc: RpcClient,
    key: KeyPair,
    observer: Observer,
) -> Result<Option<SessionReport>, AgentError> {
    let mut paths = unfinished_sales(&state_dir.join("sessions"))?;
    paths.retain(|path| journal::name_of(path) == name);
    let Some(path) = paths.pop() else { return Ok(None) };
    let nodes = Nodes::new(rpc.clone(), Arc::clone(&observer));
    let params =
        nodes.need("ask for the chain's parameters", |rpc| async move { rpc.params().await }).await?;
    let meter = FinalityMeter::of_recent_blocks(&nodes).await?;
    let margins = Margins::at_best(&params, meter.finality(&params));
    let policy = ProducerPolicy::default().with_margins(margins);
    let Some(Interrupted { session, journal, out }) = recover(&path, &key, policy)? else { return Ok(None) };
    let stop = CancellationToken::new();
    stop.cancel();
    // No consumer is let in any more.
    let (_, connections) = mpsc::channel(1);
    let blocks = Blocks::follow(rpc, observer, meter);
    let driver = Driver {
        // No energy flows any more, so the meter stays where it is.
        meter: Meter::new(1, 1, session.outcome().energy),
        session,
        signer: Arc::new(Signer::new(nodes, key)),
        journal,
        line: None,
        connections,
        unplugged: CancellationToken::new(),
        news: blocks.reader(),
        guarding: Guarding::default(),
        stop,
        settling: Settlements::default(),
        looking: Asking::default(),
        has_looked: false,
        accepted: None,
        transactions: Vec::new(),
    };
    Box::pin(driver.run(out)).await.map(Some)
}
