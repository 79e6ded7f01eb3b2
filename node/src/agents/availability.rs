//! Which sessions a producer has sold for a window, as far as the chain shows.
//!
//! A bid may promise a price and no place (P18 4.2): a producer may bid for more requests than it can
//! serve, and whoever comes first is served. Who is paid is public, though, so a consumer can see
//! that a station is sold out before it commits to it.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{TxRef, Window};

use super::error::AgentError;
use super::nodes::Nodes;
use crate::rpc::NodeApiClient;

/// The payments and channels with this producer whose windows overlap this one. Looks at as many as a
/// node gives in one answer, which are more than any station serves.
pub(super) async fn sold_meanwhile(
    nodes: &Nodes,
    producer: PublicKey,
    window: Window,
) -> Result<Vec<TxRef>, AgentError> {
    let payments =
        nodes.need("ask for payments", |rpc| async move { rpc.payments(Some(producer), None).await }).await?;
    let mut sold: Vec<(TxRef, Window)> = payments
        .items
        .iter()
        .filter(|payment| payment.value.producer == producer)
        .map(|payment| (payment.name, payment.value.plan.window))
        .collect();
    let channels =
        nodes.need("ask for channels", |rpc| async move { rpc.channels(Some(producer), None).await }).await?;
    for channel in channels.items.iter().filter(|channel| channel.value.producer == producer) {
        let request = channel.value.request;
        let found =
            nodes.ask("ask for a request", |rpc| async move { rpc.energy_request(request).await }).await?;
        // A request leaves the chain at the end of its window.
        sold.extend(found.map(|info| (channel.name, info.value.window)));
    }
    Ok(sold.into_iter().filter(|(_, sold)| sold.overlaps(&window)).map(|(name, _)| name).collect())
}
