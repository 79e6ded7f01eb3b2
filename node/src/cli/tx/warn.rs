//! What a person should know before a transaction leaves. On stderr, since stdout is for the answer.

use evchain_protocol::primitives::{RegionId, TxRef};

use crate::agents::Warning;
use crate::rpc::{NodeApiClient, RpcClient, RpcError};

/// Says so where a region has fewer stations than `wanted` (P18 4.1).
pub(super) async fn of_few_stations(
    rpc: &RpcClient,
    region: RegionId,
    wanted: usize,
) -> Result<(), RpcError> {
    let page = rpc.stations(Some(region), None).await?;
    let stations = page.items.len();
    // Where there is a next page there are plenty.
    if stations < wanted && page.next.is_none() {
        say(&Warning::FewStations { region, stations, wanted });
    }
    Ok(())
}

/// Says so where there is nothing to choose from, so that the commitment hides nothing (P18 4.1).
pub(super) fn of_single_bid(request: TxRef, bids: usize) {
    if bids == 1 {
        say(&Warning::OnlyOneBid { request });
    }
}

fn say(warning: &Warning) {
    eprintln!("warning: {warning}");
}
