//! Which sessions a producer has sold for a window, as far as the chain shows.
//!
//! A bid may promise a price and no place (P18 4.2): a producer may bid for more requests than it can
//! serve, and whoever comes first is served. Who is paid is public, though, so a consumer can see
//! that a station is sold out before it commits to it. Single locks name no request and so no window: what
//! is sold by them does not show.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{TxRef, Window};

use super::nodes::Nodes;
use crate::agents::error::AgentError;
use crate::rpc::{NodeApiClient, RpcClient};

/// The most connectors that this producer has sold at any moment of this window, by payments and
/// channels that `counts` picks by name.
pub(in crate::agents) async fn sold_at_once(
    nodes: &Nodes,
    producer: PublicKey,
    window: Window,
    counts: impl Fn(TxRef) -> bool,
) -> Result<usize, AgentError> {
    let payments = |rpc: RpcClient, after| async move { rpc.payments(Some(producer), after).await };
    let payments = nodes.all("ask for payments", payments).await?;
    let channels = |rpc: RpcClient, after| async move { rpc.channels(Some(producer), after).await };
    let channels = nodes.all("ask for channels", channels).await?;
    let mut sold: Vec<Window> = payments
        .iter()
        .filter(|it| it.value.producer == producer && counts(it.name))
        .map(|it| it.value.plan.window)
        .collect();
    for channel in channels.iter().filter(|it| it.value.producer == producer && counts(it.name)) {
        let request = channel.value.request;
        let found =
            nodes.ask("ask for a request", |rpc| async move { rpc.energy_request(request).await }).await?;
        // A request leaves the chain at the end of its window.
        sold.extend(found.map(|info| info.value.window));
    }
    Ok(most_at_once(&sold, window))
}

/// How many of these overlap at one moment of `window` at most.
fn most_at_once(sold: &[Window], window: Window) -> usize {
    let within: Vec<&Window> = sold.iter().filter(|sold| sold.overlaps(&window)).collect();
    // The most is reached where one of them begins, or where the window does.
    let begins = within.iter().map(|sold| sold.start.max(window.start));
    begins.map(|begin| within.iter().filter(|sold| sold.contains(begin)).count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use evchain_protocol::primitives::Timestamp;

    use super::*;

    #[test]
    fn those_who_follow_each_other_share_a_connector() {
        let window = |start, end| Window { start: Timestamp::new(start), end: Timestamp::new(end) };
        let sold = [window(100, 130), window(140, 160), window(155, 300), window(0, 90)];
        for (asked, most) in [
            (window(100, 160), 2),
            (window(100, 155), 1),
            (window(130, 140), 0),
            (window(120, 150), 1),
            (window(156, 157), 2),
            (window(90, 100), 0),
            (window(50, 60), 1),
        ] {
            assert_eq!(most_at_once(&sold, asked), most, "{asked:?}");
        }
        assert_eq!(most_at_once(&[], window(0, 10)), 0);
    }
}
