//! Goal: an authority that sends what no honest node sends is disconnected and refused, and the others go on;
//! questions are answered where they belong, and nowhere else.
//! Method: three of four validators are real nodes in one process. The fourth one's key is a bare network that
//! sends what it likes over real sockets.

use std::sync::Arc;
use std::time::Duration;

use evchain_consensus::message::{
    Blocks, Certificates, Finalized, GetBlocks, GetCertificates, GetFinalized, Message, Status,
};
use evchain_node::mempool::Outcome;
use evchain_node::network::{
    self, NetworkConfig, NetworkEvent, NetworkEvents, NetworkHandle, NetworkMetrics, RequestError,
};
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::{decode, encode};
use evchain_protocol::crypto::{Hash, PublicKey, Signature};
use evchain_protocol::finality::{Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, View};

use crate::common::{self, Cluster, transfer};

const PATIENCE: Duration = Duration::from_secs(30);
/// Whose key the liar has.
const LIAR: usize = 3;

/// An authority that is no node.
struct Liar {
    network: NetworkHandle,
    events: NetworkEvents,
}

impl Liar {
    /// Takes the place of the fourth validator, connected to the three others.
    async fn instead_of_the_fourth(cluster: &mut Cluster) -> Self {
        cluster.wait_until_all(|node| node.chain.reader().tip().height.get() > 0).await;
        cluster.stop_one(LIAR).await;
        let mut bootstrap = Vec::new();
        for index in 0..LIAR {
            bootstrap.extend(cluster.handle(index).network.listen_addresses().await.expect("it runs"));
        }
        let reader = cluster.handle(0).chain.reader().clone();
        let config = NetworkConfig { bootstrap, ..NetworkConfig::default() };
        let key = common::key(LIAR as u64);
        let (network, events) =
            network::start(config, reader.chain(), &key, NetworkMetrics::default()).expect("it starts");
        let authorities = reader.authorities().expect("a state").set.keys().to_vec();
        network.set_authorities(authorities).await.expect("it runs");
        let mut liar = Self { network, events };
        for _ in 0..LIAR {
            liar.wait("a connection", |event| matches!(event, NetworkEvent::PeerConnected { .. })).await;
        }
        liar
    }

    async fn wait(&mut self, what: &str, is_it: impl Fn(&NetworkEvent) -> bool) {
        let wait = async { while !is_it(&self.events.recv().await.expect("the network runs")) {} };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain for {what}");
    }

    /// Sends a frame to a validator until it hangs up, which it must.
    async fn is_shown_out(&mut self, by: PublicKey, frame: Vec<u8>, what: &str) {
        let frame: Arc<[u8]> = frame.into();
        let network = self.network.clone();
        let sending = tokio::spawn(async move {
            loop {
                // A full queue, or no link at the moment.
                let _ = network.send_to_authority(&by, Arc::clone(&frame));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let hung_up =
            |event: &NetworkEvent| matches!(event, NetworkEvent::PeerDisconnected { peer } if *peer == by);
        self.wait(what, hung_up).await;
        sending.abort();
    }

    async fn ask(&self, peer: PublicKey, message: &Message) -> Result<Vec<u8>, RequestError> {
        let asking = self.network.request(peer, encode(message));
        tokio::time::timeout(PATIENCE, asking).await.expect("an outcome")
    }
}

async fn assert_goes_on(cluster: &Cluster, nonce: u64) {
    let payee = common::key(900).public_key();
    let node = cluster.handle(0);
    let id = node.mempool.submit(&transfer(cluster, nonce, payee, 1)).await.expect("accepted");
    let outcome = tokio::time::timeout(PATIENCE, node.mempool.outcome(id)).await;
    assert!(matches!(outcome, Ok(Outcome::Final(_))), "{outcome:?}");
}

fn validator(index: u64) -> PublicKey {
    common::key(index).public_key()
}

/// What an authority sends that is behind, but for its epoch's finalization.
fn status(epoch: u64) -> Message {
    let (epoch, view) = (Epoch::new(epoch), View::new(1));
    Message::Status(Status { epoch, view, height: Height::ZERO, finalization: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_do_not_belong_on_a_consensus_stream_end_it() {
    let mut cluster = Cluster::start(4).await;
    let mut liar = Liar::instead_of_the_fourth(&mut cluster).await;
    // What honest ones send is taken, from whoever is behind too.
    for index in 0..3 {
        for _ in 0..100 {
            let frame = encode(&status(0)).into();
            liar.network.send_to_authority(&validator(index), frame).expect("a link");
        }
    }
    liar.wait("an answer to a status", |event| {
        let NetworkEvent::ConsensusMessage { bytes, .. } = event else { return false };
        matches!(decode(bytes, bytes.len()), Ok(Message::Certificates(_)))
    })
    .await;

    let question = Message::GetFinalized(GetFinalized { above: Height::ZERO });
    liar.is_shown_out(validator(0), encode(&question), "the end after a question in a frame").await;
    let answer = Message::Blocks(Blocks::default());
    liar.is_shown_out(validator(1), encode(&answer), "the end after an answer to nothing").await;
    liar.is_shown_out(validator(2), vec![0xff; 100_000], "the end after rubbish").await;
    assert_goes_on(&cluster, 0).await;
    cluster.assert_one_history();
    liar.network.shutdown().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_proves_to_be_bad_is_shown_out_and_questions_are_answered() {
    let mut cluster = Cluster::start(4).await;
    let mut liar = Liar::instead_of_the_fourth(&mut cluster).await;
    assert_goes_on(&cluster, 0).await;
    let reader = cluster.handle(2).chain.reader().clone();
    cluster.wait_until_all(|node| node.chain.reader().tip().height.get() > 2).await;

    // The final chain, and blocks of it, from the store; certificates from the engine.
    let answer = liar.ask(validator(2), &Message::GetFinalized(GetFinalized { above: Height::ZERO })).await;
    let Ok(Message::Finalized(Finalized { blocks, .. })) = decode(&answer.expect("served"), 1 << 24) else {
        panic!("not the final chain");
    };
    assert_eq!(blocks.first().map(|block| block.header().height), Some(Height::new(1)));
    let newest = reader.block(Height::new(2)).expect("readable").expect("final").hash();
    let answer = liar.ask(validator(2), &Message::GetBlocks(GetBlocks { newest, above: Height::ZERO })).await;
    let Ok(Message::Blocks(Blocks { blocks })) = decode(&answer.expect("served"), 1 << 24) else {
        panic!("not blocks");
    };
    assert_eq!(blocks.len(), 2);
    let range = GetCertificates { epoch: Epoch::ZERO, lo: View::new(1), hi: View::MAX };
    let answer = liar.ask(validator(2), &Message::GetCertificates(range)).await;
    let Ok(Message::Certificates(Certificates { certificates })) = decode(&answer.expect("served"), 1 << 24)
    else {
        panic!("not certificates");
    };
    assert!(!certificates.is_empty());
    // Nothing to give is told at once.
    let unknown = GetBlocks { newest: Hash::from_bytes([5; 32]), above: Height::MAX };
    assert_eq!(liar.ask(validator(2), &Message::GetBlocks(unknown)).await, Err(RequestError::Busy));

    let view = View::new(cluster.handle(0).consensus.status().view.get() + 8);
    let place = reader.authorities().expect("a state").set.index_of(&validator(LIAR as u64));
    let signer = AuthorityIndex::new(u8::try_from(place.expect("an authority")).expect("few"));
    let vote = Vote {
        subject: Subject::nullify(Epoch::ZERO, view),
        signer,
        signature: Signature::from_bytes([9; 64]),
    };
    liar.is_shown_out(validator(0), encode(&Message::Vote(vote)), "the end after a bad vote").await;
    let rubbish = liar.network.request(validator(1), vec![0xff; 100]).await;
    assert!(rubbish.is_err(), "{rubbish:?}");
    let by = validator(1);
    liar.wait(
        "the end after a request that is none",
        |event| matches!(event, NetworkEvent::PeerDisconnected { peer } if *peer == by),
    )
    .await;
    assert_goes_on(&cluster, 1).await;
    liar.network.shutdown().await;
    cluster.stop().await;
}
