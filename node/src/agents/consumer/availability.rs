//! Whether a station still has a connector for a window, as far as the chain shows.
//!
//! A bid promises a price, not a place (P18 4.2): a producer may bid for more requests than it can
//! serve, and whoever comes first is served. Who is paid is public, though, so a consumer can see
//! that a station is sold out before it commits to it.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::Window;

use crate::agents::error::AgentError;
use crate::agents::nodes::Nodes;
use crate::rpc::NodeApiClient;

/// Whether `connectors` sessions or more are sold with this producer in windows that overlap this
/// one. Looks at as many as a node gives in one answer, which are more than any station serves.
pub(super) async fn is_sold_out(
    nodes: &Nodes,
    producer: PublicKey,
    connectors: u16,
    window: Window,
) -> Result<bool, AgentError> {
    let payments =
        nodes.need("ask for payments", |rpc| async move { rpc.payments(Some(producer), None).await }).await?;
    let mut windows: Vec<Window> = payments
        .items
        .iter()
        .filter(|payment| payment.value.producer == producer)
        .map(|payment| payment.value.plan.window)
        .collect();
    let channels =
        nodes.need("ask for channels", |rpc| async move { rpc.channels(Some(producer), None).await }).await?;
    for channel in channels.items.iter().filter(|channel| channel.value.producer == producer) {
        let request = channel.value.request;
        let found =
            nodes.ask("ask for a request", |rpc| async move { rpc.energy_request(request).await }).await?;
        // A request leaves the chain at the end of its window.
        windows.extend(found.map(|info| info.value.window));
    }
    let overlapping = windows.iter().filter(|sold| sold.overlaps(&window)).count();
    Ok(overlapping >= usize::from(connectors))
}
