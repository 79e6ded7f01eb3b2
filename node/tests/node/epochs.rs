//! Goal: real validators change their set at the end of an epoch, and a node that joins, leaves, stops
//! or loses its database on the way goes on as it should.
//! Method: real nodes with real stores and sockets on loopback; epochs of a few blocks; changes are
//! proposed and approved by transactions. A light client is lied to by steps that were changed on the way.

use std::collections::BTreeMap;

use evchain_node::mempool::Outcome;
use evchain_node::node::NodeHandle;
use evchain_node::rpc::{
    EpochStepInfo, FinalizationInfo, NodeApiClient, RpcClient, RpcConfig, RpcServer, walk_to,
};
use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::block::Header;
use evchain_protocol::codec;
use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::finality::{Certificate, Electorate};
use evchain_protocol::genesis::GenesisBlock;
use evchain_protocol::governance::{Change, ParamChange};
use evchain_protocol::light::{EpochStep, FinalityError, LightClient, StepError};
use evchain_protocol::primitives::{Amount, Epoch, Height, Nonce, Span, TxRef};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::propose::Propose;
use prometheus_client::registry::Registry;

use crate::common::{Cluster, key, signed, transfer};

/// The key of the node that `Cluster::add_observer` adds.
fn joiner() -> KeyPair {
    key(500)
}

async fn short_epochs() -> Cluster {
    Cluster::start_with(4, |params| {
        params.epoch_length = 12;
        params.idle_interval = Span::new(100);
    })
    .await
}

async fn final_place(node: &NodeHandle, bytes: &[u8]) -> TxRef {
    let id = node.mempool.submit(bytes).await.expect("accepted");
    match node.mempool.outcome(id).await {
        Outcome::Final(place) => place,
        other => panic!("not final but {other:?}"),
    }
}

/// The first of these authorities proposes a change, the others approve it. Each knows its next nonce.
async fn decide(cluster: &Cluster, change: Change, by: &mut [(KeyPair, u64)]) {
    let node = cluster.handle(1);
    let (proposer, approvers) = by.split_first_mut().expect("somebody proposes");
    let propose = signed(cluster, &proposer.0, proposer.1, Action::Propose(Propose { change }));
    let proposal = final_place(&node, &propose).await;
    proposer.1 += 1;
    for (key, nonce) in approvers {
        let approve = signed(cluster, key, *nonce, Action::Approve(Approve { proposal }));
        final_place(&node, &approve).await;
        *nonce += 1;
    }
}

fn epoch(node: &NodeHandle) -> Epoch {
    node.consensus.status().epoch
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_join_and_leave() {
    let mut cluster = short_epochs().await;
    let joined = cluster.add_observer().await;
    let mut keys = vec![(key(0), 0), (key(1), 0), (key(2), 0)];
    decide(&cluster, Change::AddAuthority(joiner().public_key()), &mut keys).await;
    cluster
        .wait_until_all(|node| {
            let status = node.consensus.status();
            status.votes && status.authorities == 5
        })
        .await;

    keys.push((joiner(), 0));
    decide(&cluster, Change::RemoveAuthority(key(3).public_key()), &mut keys).await;
    let own = key(3).public_key();
    cluster
        .wait_until_all(|node| {
            let is_removed = node.network.local_key() == own;
            node.consensus.status().authorities == 4 && node.consensus.status().votes != is_removed
        })
        .await;
    // Three of the new four decide: without the first, the joiner's vote counts.
    cluster.stop_one(0).await;
    let payee = key(900).public_key();
    final_place(&cluster.handle(joined), &transfer(&cluster, 0, payee, 5)).await;
    let removed = cluster.handle(3);
    final_place(&removed, &transfer(&cluster, 1, payee, 5)).await;
    assert!(!removed.consensus.status().votes, "it follows and serves its clients");

    // The first comes back after epochs that it has missed, and is needed at once.
    let away_until = epoch(&removed).saturating_add(Epoch::new(2));
    cluster.wait_until_all(|node| epoch(node) >= away_until).await;
    cluster.restart(0).await;
    cluster.wait_until_all(|node| epoch(node) >= away_until).await;
    cluster.stop_one(1).await;
    final_place(&cluster.handle(0), &transfer(&cluster, 2, payee, 5)).await;
    cluster.assert_one_history();
    cluster.stop().await;
}

/// The end of each epoch that is over is the finalization of its last block.
fn assert_ends_are_found(node: &NodeHandle) {
    let reader = node.chain.reader();
    let now = reader.authorities().expect("a state").epoch;
    let mut last_blocks = BTreeMap::new();
    for height in 1..=reader.tip().height.get() {
        let block = reader.block(Height::new(height)).expect("readable").expect("a final block");
        last_blocks.insert(block.header().epoch, block.hash());
    }
    let over: Vec<_> = last_blocks.range(..now).collect();
    assert!(over.len() >= 2, "{over:?}");
    for (epoch, last) in over {
        let end = reader.boundary_of(*epoch).expect("readable").expect("an end");
        assert_eq!(end.subject.block(), Some(*last), "epoch {epoch}");
    }
    assert_eq!(reader.boundary_of(Epoch::MAX).expect("readable"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_survive_a_stop_of_all() {
    let mut cluster = short_epochs().await;
    cluster.wait_until_all(|node| epoch(node) >= Epoch::new(2)).await;
    for index in 0..4 {
        cluster.stop_one(index).await;
    }
    for index in 0..4 {
        cluster.restart(index).await;
    }
    assert!(epoch(&cluster.handle(0)) >= Epoch::new(2), "the epoch is the database's");
    let next = epoch(&cluster.handle(0)).saturating_add(Epoch::new(2));
    cluster.wait_until_all(|node| epoch(node) >= next && node.consensus.status().votes).await;
    cluster.assert_one_history();
    assert_ends_are_found(&cluster.handle(0));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_validator_votes_again_from_the_next_epoch_on() {
    let mut cluster = short_epochs().await;
    cluster.wait_until_all(|node| epoch(node) >= Epoch::new(1)).await;
    cluster.stop_one(3).await;
    cluster.wipe(3);
    cluster.restart(3).await;
    assert!(!cluster.handle(3).consensus.status().votes, "it may have voted before");
    cluster.wait_until_all(|node| node.consensus.status().votes).await;
    assert!(epoch(&cluster.handle(3)) >= Epoch::new(2));
    cluster.stop_one(0).await;
    final_place(&cluster.handle(3), &transfer(&cluster, 0, key(900).public_key(), 5)).await;
    cluster.assert_one_history();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_were_decided_rule_from_the_next_epoch_on() {
    let idle = Span::new(250);
    let cluster = short_epochs().await;
    let mut keys = vec![(key(0), 0), (key(1), 0), (key(2), 0)];
    for change in [ParamChange::IdleInterval(idle), ParamChange::MaxBlockTransactions(1)] {
        decide(&cluster, Change::SetParam(change), &mut keys).await;
    }
    let params = |node: &NodeHandle| node.chain.reader().params().expect("parameters");
    let rules =
        |node: &NodeHandle| params(node).idle_interval == idle && params(node).max_block_transactions == 1;
    cluster.wait_until_all(rules).await;

    // The state has them from the last block of the epoch before on.
    let node = cluster.handle(0);
    let first = node.chain.reader().authorities().expect("authorities").first_height;
    let payee = key(900).public_key();
    let mut ids = Vec::new();
    for nonce in 0..5 {
        ids.push(node.mempool.submit(&transfer(&cluster, nonce, payee, 1)).await.expect("accepted"));
    }
    let mut heights = Vec::new();
    for id in ids {
        let Outcome::Final(place) = node.mempool.outcome(id).await else { panic!("a transfer is not final") };
        heights.push(place.height());
    }
    heights.dedup();
    assert_eq!(heights.len(), 5, "one transaction in each block: {heights:?}");

    let last = Height::new(first.get() + 12);
    cluster.wait_until_all(|node| node.chain.reader().tip().height >= last).await;
    let block = |height: u64| node.chain.reader().block(Height::new(height)).unwrap().expect("a final block");
    let mut idle_blocks = 0;
    for height in first.get()..=last.get() {
        let transactions = node.chain.reader().transactions(Height::new(height)).unwrap().expect("a block");
        let waited = block(height).header().time_ms.since(block(height - 1).header().time_ms);
        if transactions.is_empty() {
            idle_blocks += 1;
            assert!(waited >= idle, "block {height} has nothing in it and waited only {waited:?}");
        }
    }
    assert!(idle_blocks > 0, "so this says nothing");
    cluster.assert_one_history();
    cluster.stop().await;
}

/// The step after an epoch with these authorities, as a node gave it.
fn step(info: &EpochStepInfo, now: &AuthoritySet) -> EpochStep {
    const MAX: usize = 1 << 20;
    let stay = now.keys().iter().filter(|key| !info.left.contains(key));
    EpochStep {
        header: codec::decode(&info.header.0, MAX).expect("a header"),
        finalization: codec::decode(&info.certificate.0, MAX).expect("a certificate"),
        next: AuthoritySet::new(stay.chain(&info.joined).copied().collect()).expect("a set"),
    }
}

fn tip_of(cluster: &Cluster, node: usize) -> Height {
    cluster.handle(node).chain.reader().tip().height
}

fn trusting(genesis: &GenesisBlock) -> LightClient {
    let authorities = genesis.authorities.clone();
    LightClient::new(Electorate { chain: genesis.chain, epoch: Epoch::ZERO, authorities })
}

/// Steps that differ from a true one in one thing are refused, each with its reason.
fn assert_refuses_forgeries(client: &LightClient, good: &EpochStep, other: &EpochStep) {
    let refused = |step: EpochStep| {
        let mut client = client.clone();
        client.advance(step).expect_err("a forged step leads nowhere")
    };
    let mut strangers = good.next.keys().to_vec();
    strangers.push(key(666).public_key());
    let strangers = AuthoritySet::new(strangers).expect("a set");
    let forged = EpochStep { next: strangers.clone(), ..good.clone() };
    assert!(matches!(refused(forged), StepError::OtherAuthorities(_)));
    let epoch = good.header.epoch.next().expect("a next epoch");
    let header = Header { next_authority_root: strangers.root(epoch), ..good.header.clone() };
    let forged = EpochStep { header, next: strangers, ..good.clone() };
    let not_its = |error| matches!(error, StepError::NotFinal(FinalityError::NotItsFinalization(_)));
    assert!(not_its(refused(forged)));
    let forged = EpochStep { finalization: other.finalization.clone(), ..good.clone() };
    assert!(not_its(refused(forged)));
    // The signatures stand at the end of the encoding.
    let mut bytes = codec::encode(&good.finalization);
    *bytes.last_mut().expect("bytes") ^= 1;
    let finalization: Certificate = codec::decode(&bytes, 1 << 20).expect("still a certificate");
    let forged = EpochStep { finalization, ..good.clone() };
    assert!(matches!(refused(forged), StepError::NotFinal(FinalityError::Certificate(_))));
    assert!(matches!(
        refused(other.clone()),
        StepError::NotFinal(FinalityError::OtherEpoch { .. } | FinalityError::OtherChain { .. })
    ));
}

/// The keys behind a certificate's indexes in a set.
fn named(info: &FinalizationInfo, set: &AuthoritySet) -> Vec<PublicKey> {
    let certificate: Certificate = codec::decode(&info.certificate.0, 1 << 20).expect("a certificate");
    certificate.signers.iter().filter_map(|index| set.key(index.get().into()).copied()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_names_the_authorities_of_its_own_epoch() {
    let cluster = Cluster::start_with(4, |params| {
        params.epoch_length = 30;
        params.idle_interval = Span::new(100);
    })
    .await;
    let config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..RpcConfig::default() };
    let server = RpcServer::start(config, cluster.handle(0), Registry::default()).await.expect("it serves");
    let endpoint = server.address().to_string().parse().expect("an endpoint");
    let rpc = RpcClient::connect(&[endpoint]).await.expect("it answers");
    let before = cluster.genesis().build().expect("a usable genesis").authorities;
    // Sets are sorted by key: one that comes first moves all the others.
    let comes_first = |number: &u64| before.keys().iter().all(|other| key(*number).public_key() < *other);
    let first = key((600..10_000).find(comes_first).expect("some key")).public_key();
    let mut keys = vec![(key(0), 0), (key(1), 0), (key(2), 0)];
    decide(&cluster, Change::AddAuthority(first), &mut keys).await;
    cluster.wait_until_all(|node| node.consensus.status().authorities == 5).await;

    let after = cluster.handle(0).chain.reader().authorities().expect("authorities");
    let last = after.first_height.saturating_sub(Height::new(1));
    let of_last = rpc.finalization(last).await.expect("the boundary's certificate");
    assert_eq!(of_last.epoch.next().expect("a next epoch"), after.epoch);
    assert_ne!(named(&of_last, &before), named(&of_last, &after.set), "or this says nothing");
    assert_eq!(of_last.signers, Some(named(&of_last, &before)));

    cluster.wait_until_all(|node| epoch(node) > after.epoch).await;
    let of_former = rpc.finalization(after.first_height).await.expect("a certificate");
    assert_eq!(of_former.epoch, after.epoch);
    assert_eq!(of_former.signers, Some(named(&of_former, &after.set)));
    let forgotten = rpc.finalization(last).await.expect("still there");
    assert_eq!((forgotten.signers, forgotten.certificate), (None, of_last.certificate));
    server.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_light_client_walks_from_genesis_over_real_boundaries_and_believes_no_forged_step() {
    let mut cluster = short_epochs().await;
    let joined = cluster.add_observer().await;
    // The node that is asked walked the same way itself.
    let config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..RpcConfig::default() };
    let server =
        RpcServer::start(config, cluster.handle(joined), Registry::default()).await.expect("it serves");
    let endpoint = server.address().to_string().parse().expect("an endpoint");
    let rpc = RpcClient::connect(&[endpoint]).await.expect("it answers");
    let mut keys = vec![(key(0), 0), (key(1), 0), (key(2), 0)];
    decide(&cluster, Change::AddAuthority(joiner().public_key()), &mut keys).await;
    cluster.wait_until_all(|node| node.consensus.status().authorities == 5).await;
    // It has no account and can act all the same.
    let account = rpc.account(joiner().public_key()).await.expect("an authority's account");
    assert_eq!((account.next_nonce, account.account.balance), (Nonce::ZERO, Amount::ZERO));
    keys.push((joiner(), 0));
    decide(&cluster, Change::RemoveAuthority(key(3).public_key()), &mut keys).await;
    cluster.wait_until_all(|node| node.consensus.status().authorities == 4).await;
    let until = epoch(&cluster.handle(joined));
    cluster.wait_until_all(|node| epoch(node) > until).await;
    let genesis = cluster.genesis().build().expect("a usable genesis");

    let mut client = trusting(&genesis);
    let (mut changes, mut before) = (0, None);
    while client.electorate().epoch < until {
        let info = rpc.epoch_step(client.electorate().epoch).await.expect("the epoch is over");
        changes += info.joined.len() + info.left.len();
        let good = step(&info, &client.electorate().authorities);
        if let Some(before) = before.replace(good.clone()) {
            assert_refuses_forgeries(&client, &good, &before);
        }
        client.advance(good).expect("a true step");
    }
    assert!(changes >= 2, "one has joined and one has left");
    assert_eq!(walk_to(until, &genesis, &rpc).await.expect("the same way"), client);

    // The newest block that is final in the epoch to which the client has come.
    let (mut found, mut height) = (None, tip_of(&cluster, joined));
    while found.as_ref().is_none_or(|found: &FinalizationInfo| found.epoch > until) {
        found = Some(rpc.finalization(height).await.expect("a certificate"));
        height = height.saturating_sub(Height::new(1));
    }
    let found = found.expect("the epoch has a final block");
    let header = rpc.header(found.block.to_string().parse().expect("an id")).await.expect("a header").header;
    let certificate: Certificate = codec::decode(&found.certificate.0, 1 << 20).expect("a certificate");
    assert_eq!(client.verify_header(&header, &certificate), Ok(()));
    let other = Header { state_root: Hash::ZERO, ..header };
    assert!(client.verify_header(&other, &certificate).is_err());
    server.stop().await;
    cluster.stop().await;
}
