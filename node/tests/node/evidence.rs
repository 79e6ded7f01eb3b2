//! Goal: what a node found out about a cheat comes onto the chain, even if the node stops before the
//! chain can take it and nobody else knows.
//! Method: real nodes in one process. The cheat's votes go to one node while there is no quorum; that
//! node stops, starts again without the cheat, and finds the others.

use std::sync::Arc;
use std::time::Duration;

use evchain_consensus::message::Message;
use evchain_node::node::NodeHandle;
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::encode;
use evchain_protocol::crypto::{Hash, KeyPair};
use evchain_protocol::finality::{OffenceKind, Subject, Vote};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::value::StateValue;

use crate::common::{self, Cluster};

/// Whose key signs twice.
const CHEAT: usize = 3;

/// Votes to notarize two blocks in the current view, sent by this node with this key.
fn double_vote(node: &NodeHandle, key: &KeyPair) {
    let (reader, status) = (node.chain.reader(), node.consensus.status());
    let place = reader.authorities().expect("a state").set.index_of(&key.public_key());
    let signer = AuthorityIndex::new(u8::try_from(place.expect("an authority")).expect("few"));
    for byte in [1, 2] {
        let block = Hash::from_bytes([byte; Hash::LEN]);
        let subject = Subject::notarize(status.epoch, status.view, block);
        let signature = key.sign(subject.purpose(), reader.chain(), &subject.signed_bytes());
        let vote = Message::Vote(Vote { subject, signer, signature });
        node.network.broadcast_to_authorities(&Arc::from(encode(&vote))).expect("a small message");
    }
}

fn offences(node: &NodeHandle) -> Vec<(StateKey, StateValue)> {
    let state = node.chain.reader().state();
    state.range(StateKey::offences()).collect::<Result<_, _>>().expect("a readable state")
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_survives_a_stop_and_is_recorded() {
    let mut cluster = Cluster::start(4).await;
    cluster.wait_until_all(|node| node.chain.reader().tip().height.get() > 0).await;
    cluster.stop_one(1).await;
    cluster.stop_one(2).await;
    let cheat = common::key(CHEAT as u64);
    // Without a quorum nothing becomes final, and the report waits.
    while cluster.handle(0).mempool.status().transactions == 0 {
        double_vote(&cluster.handle(CHEAT), &cheat);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.stop_one(CHEAT).await;
    cluster.stop_one(0).await;
    for index in 0..3 {
        cluster.restart(index).await;
    }
    cluster.wait_until_all(|node| !offences(node).is_empty()).await;
    for index in 0..3 {
        let found = offences(&cluster.handle(index));
        for (key, value) in &found {
            let StateKey::Offence(_, authority, _, kind) = key else { panic!("{key:?}") };
            assert_eq!((authority, kind), (&cheat.public_key(), &OffenceKind::DoubleNotarize));
            let StateValue::Offence(offence) = value else { panic!("{value:?}") };
            assert_eq!(offence.reporter, common::key(0).public_key(), "only node 0 knew");
        }
    }
    cluster.assert_one_history();
    cluster.stop().await;
}
