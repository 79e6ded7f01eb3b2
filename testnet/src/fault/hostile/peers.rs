use std::time::Duration;

use evchain_consensus::message::{GetFinalized, Message};
use evchain_node::network::{Admission, NetworkConfig, NetworkEvents, NetworkHandle, NetworkMetrics};
use evchain_protocol::codec::{List, encode};
use evchain_protocol::crypto::{Hash, KeyPair, Purpose, Signature};
use evchain_protocol::finality::Certificate;
use evchain_protocol::primitives::Height;
use futures::AsyncWriteExt;
use futures::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::attack::Sent;
use super::authority::finalization_in;
use super::field::{Field, Target};
use super::peer::Peer;
use super::transactions::{large_claim, sign};
use crate::fault::error::FaultError;

/// The pause between two requests of one key to one validator: with four keys 64 a second in all.
const REQUEST_EVERY: Duration = Duration::from_millis(60);
/// Keys that one host makes for each validator.
const FREE_KEYS: u64 = 64;
/// How often connections that were closed are opened again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How often a batch of useless transactions is gossiped, and how many each time.
const GOSSIP_EVERY: Duration = Duration::from_millis(100);
const GOSSIPED: u64 = 16;
/// Copies of each final certificate.
const COPIES: u8 = 50;

/// Peers with admitted keys that ask each validator for all its blocks, and read no answer.
pub(super) async fn unread_requests(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let pairs =
        field.targets.iter().flat_map(|target| field.participants.iter().map(move |key| (target, key)));
    let asking = pairs.map(|(target, key)| ask_and_do_not_read(field, target, key, stop));
    Ok(join_all(asking).await.into_iter().sum())
}

async fn ask_and_do_not_read(
    field: &Field,
    target: &Target,
    key: &KeyPair,
    stop: &CancellationToken,
) -> Sent {
    let question = framed(&Message::GetFinalized(GetFinalized { above: Height::ZERO }));
    let mut asked = 0;
    while !stop.is_cancelled() {
        let Some(mut peer) = Peer::connect(key, target, field.chain).await else {
            sleep(AGAIN_AFTER).await;
            continue;
        };
        let mut unread = Vec::new();
        while !stop.is_cancelled() && peer.is_connected() {
            if let Some(mut stream) = peer.open("sync").await
                && stream.write_all(&question).await.is_ok()
                && stream.flush().await.is_ok()
            {
                asked += 1;
                unread.push(stream);
            }
            sleep(REQUEST_EVERY).await;
        }
    }
    asked
}

/// A message with its length before it.
fn framed(message: &Message) -> Vec<u8> {
    let bytes = encode(message);
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes()[..], &bytes].concat()
}

/// One host with many free keys, each of which holds a connection at each validator.
pub(super) async fn free_keys(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let holding = field.targets.iter().map(|target| async {
        let keys = (0..FREE_KEYS).map(|number| free_key(target, number));
        let (mut held, mut opened): (Vec<(KeyPair, Option<Peer>)>, Sent) =
            (keys.map(|key| (key, None)).collect(), 0);
        while !stop.is_cancelled() {
            for (key, peer) in &mut held {
                if peer.as_ref().is_none_or(|peer| !peer.is_connected()) && !stop.is_cancelled() {
                    *peer = Peer::connect(key, target, field.chain).await;
                    opened += u64::from(peer.is_some());
                }
            }
            sleep(AGAIN_AFTER).await;
        }
        opened
    });
    Ok(join_all(holding).await.into_iter().sum())
}

fn free_key(target: &Target, number: u64) -> KeyPair {
    let seed = [&target.key.as_bytes()[..], &number.to_le_bytes()].concat();
    KeyPair::from_secret(Hash::of(Purpose::Genesis, &seed).as_bytes())
}

/// A participant's node that gossips large claims of a payment that does not exist, with gaps before them.
pub(super) async fn gossip(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let key = &field.participants[0];
    let (network, _events) = join(field, key)?;
    let mut sent = 0;
    while !stop.is_cancelled() {
        for _ in 0..GOSSIPED {
            let claim = sign(field, key, 10 + sent % 50, large_claim(sent));
            sent += u64::from(network.publish_transaction(claim.to_bytes()).is_ok());
        }
        sleep(GOSSIP_EVERY).await;
    }
    network.shutdown().await;
    Ok(sent)
}

/// A participant's node that makes copies of each finalization, with another signature in place of one.
pub(super) async fn forged_copies(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let (network, mut events) = join(field, &field.participants[1])?;
    let mut sent = 0;
    while let Some(finalization) = next_finalization(&mut events, stop).await {
        for number in 0..COPIES {
            let mut signatures = finalization.signatures.to_vec();
            if let Some(first) = signatures.first_mut() {
                *first = Signature::from_bytes([number; 64]);
            }
            let signatures = List::new(signatures).unwrap_or_default();
            let copy = Certificate { signatures, ..finalization.clone() };
            sent += u64::from(network.publish_finalization(encode(&copy)).is_ok());
        }
    }
    network.shutdown().await;
    Ok(sent)
}

async fn next_finalization(events: &mut NetworkEvents, stop: &CancellationToken) -> Option<Certificate> {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return None,
            event = events.recv() => event?,
        };
        if let Some(finalization) = finalization_in(event) {
            return Some(finalization);
        }
    }
}

/// A node's network with this key and nothing behind it.
pub(super) fn join(field: &Field, key: &KeyPair) -> Result<(NetworkHandle, NetworkEvents), FaultError> {
    let bootstrap = field.others().map(|target| target.p2p.clone()).collect();
    let config = NetworkConfig { bootstrap, admission: Admission::Open, ..NetworkConfig::default() };
    Ok(evchain_node::network::start(config, field.chain, key, NetworkMetrics::default())?)
}
