//! Goal: a node that is alive and tells of no block is left for another one, with a warning.
//! Method: two stub nodes, one of which is silent; the silence that is put up with is short.

use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::{News, relay};
use crate::agents::chain::finality::FinalityMeter;
use crate::agents::chain::stub::{StubNode, client, warnings};
use crate::agents::event::Warning;

#[tokio::test]
async fn a_silent_node_is_left() {
    let (silent, good) = (StubNode::start(5).await, StubNode::start(9).await);
    good.set(|script| script.tells = true);
    let rpc = client(&[&silent, &good]).await;
    let (observer, told) = warnings();
    let (news, mut reader) = broadcast::channel(16);
    let (meter, _kept) = watch::channel(FinalityMeter::default());
    let blocks = rpc.follow_blocks().await.expect("a subscription");
    let relayed = tokio::spawn(relay(blocks, Duration::from_millis(300), observer, news, meter));
    let mut gaps = 0;
    let first_block = async {
        loop {
            match reader.recv().await {
                Ok(News::Block(block)) => return block.header.height.get(),
                Ok(News::Gap) => gaps += 1,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let height = tokio::time::timeout(Duration::from_secs(20), first_block).await.expect("in time");
    // One gap at the begin, and one for what the silent node did not tell.
    assert_eq!((height, gaps, rpc.index()), (9, 2, 1));
    let told = told.lock().expect("no panic").clone();
    let [Warning::Unreachable { reason, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert!(reason.contains("no block"), "{reason}");
    relayed.abort();
}
