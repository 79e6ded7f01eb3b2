//! Goal: whoever holds all keys of an old epoch and signs another history of it is believed by nobody who was told
//! one block of the true one, and is believed by everybody else, so that this needs to be told.
//! Method: two chains of one genesis and the same keys, made apart from each other: one is the truth, the other
//! what the keys' thief makes. Joiners and light clients are given the false one.

use evchain_node::node::NodeError;
use evchain_node::rpc::{
    NodeApiClient, RpcClient, RpcConfig, RpcServer, StateName, WalkError, walk_from, walk_to,
};
use evchain_protocol::light::Checkpoint;
use evchain_protocol::primitives::{Epoch, Height, Span};
use prometheus_client::registry::Registry;

use crate::common::{Cluster, key, transfer};

/// Two histories, each beyond the first epoch. In the false one the money goes elsewhere.
async fn two_histories() -> [Cluster; 2] {
    let truth = Cluster::start_with(1, |params| {
        params.epoch_length = 12;
        params.idle_interval = Span::new(50);
    })
    .await;
    let forgery = Cluster::start_on(truth.genesis().clone()).await;
    let thief = key(666).public_key();
    forgery.handle(0).mempool.submit(&transfer(&forgery, 0, thief, 1_000)).await.expect("accepted");
    for cluster in [&truth, &forgery] {
        cluster.wait_until_all(|node| node.consensus.status().epoch >= Epoch::new(2)).await;
    }
    [truth, forgery]
}

fn checkpoint(cluster: &Cluster, height: Height) -> Checkpoint {
    let block = cluster.handle(0).chain.reader().block(height).expect("readable").expect("a final block");
    Checkpoint::of(block.header())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_believes_a_forged_history_unless_it_was_told_a_block() {
    let [truth, mut forgery] = two_histories().await;
    let last = forgery.handle(0).chain.reader().authorities().expect("authorities").first_height;
    let joiner = forgery.add_observer().await;
    forgery.wait_until_all(|node| node.chain.reader().tip().height >= last).await;
    let account = forgery.handle(joiner).chain.reader().state().account(&key(666).public_key());
    assert!(account.expect("readable").is_some(), "it believes the forgery, with nothing wrong in it");
    forgery.stop_one(joiner).await;

    // What it has taken already is found out when it starts.
    let trusted = checkpoint(&truth, Height::new(7));
    let refused = forgery.try_restart(joiner, |config| config.trust = vec![trusted]).await;
    let refused = refused.expect_err("its blocks are of the other history").to_string();
    assert!(refused.contains(&trusted.to_string()), "{refused}");
    assert!(refused.contains("two histories"), "{refused}");

    // What it has not, when it comes there: it stops and has written nothing of it.
    forgery.wipe(joiner);
    forgery.try_restart(joiner, |config| config.trust = vec![trusted]).await.expect("it has no blocks yet");
    let end = forgery.end_of(joiner).await;
    assert!(matches!(&end, NodeError::Ledger(reason) if reason.contains("two histories")), "{end}");
    for _ in 0..2 {
        let started = forgery.try_restart(joiner, |config| config.trust = vec![trusted]).await;
        started.expect("it has come to no other block there");
        assert!(forgery.handle(joiner).chain.reader().tip().height < trusted.height);
        assert!(matches!(forgery.end_of(joiner).await, NodeError::Ledger(_)));
    }

    // With a block of the history that it gets it goes on.
    forgery.wipe(joiner);
    let theirs = checkpoint(&forgery, Height::new(7));
    forgery.try_restart(joiner, |config| config.trust = vec![theirs]).await.expect("it starts");
    forgery.wait_until_all(|node| node.chain.reader().tip().height >= last).await;
    truth.stop().await;
    forgery.stop().await;
}

async fn serve(cluster: &Cluster) -> (RpcServer, RpcClient) {
    let config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..RpcConfig::default() };
    let server = RpcServer::start(config, cluster.handle(0), Registry::default()).await.expect("it serves");
    let endpoint = server.address().to_string().parse().expect("an endpoint");
    (server, RpcClient::connect(&[endpoint]).await.expect("it answers"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_light_client_believes_a_forged_history_unless_it_was_told_a_block() {
    let [truth, forgery] = two_histories().await;
    let (server, rpc) = serve(&truth).await;
    let (their_server, forged) = serve(&forgery).await;
    let genesis = truth.genesis().build().expect("a usable genesis");
    let name: StateName = format!("account/{}", key(666).public_key()).parse().expect("a name");

    let proof = forged.proof(name).await.expect("a proof");
    let epoch = proof.epoch().expect("an epoch");
    let deceived = walk_to(epoch, &genesis, &forged).await.expect("every signature is right");
    let (_, value) = proof.verify(&deceived).expect("it is believed");
    assert!(value.is_some(), "the thief's money");

    // Within an epoch and the last block of one.
    let last = truth.handle(0).chain.reader().authorities().expect("authorities").first_height;
    // A proof of that last block itself is of its own epoch, behind which a client of the next one does not look.
    truth.wait_until_all(|node| node.chain.reader().tip().height >= last).await;
    for height in [Height::new(7), last.saturating_sub(Height::new(1))] {
        let trusted = checkpoint(&truth, height);
        let refused = walk_from(trusted, epoch, &genesis, &forged).await;
        assert!(matches!(refused, Err(WalkError::NotTheTrusted(found)) if found == trusted), "{refused:?}");
        let proof = rpc.proof(name).await.expect("a proof");
        let client = walk_from(trusted, proof.epoch().expect("an epoch"), &genesis, &rpc).await;
        let (_, value) = proof.verify(&client.expect("the true history")).expect("it is believed");
        assert_eq!(value, None, "the thief has nothing");
    }
    server.stop().await;
    their_server.stop().await;
    truth.stop().await;
    forgery.stop().await;
}
