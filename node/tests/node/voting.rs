//! Goal: a validator whose database is an older copy, or whose record beside the key is gone, signs nothing that
//! could contradict what it has signed, and one that has stopped for good starts only when its operator says so.
//! Method: real validators in long epochs; databases and records are copied, put back and removed between two
//! starts. What each combination of record and database comes to is a table in the unit tests.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use evchain_consensus::input::Input;
use evchain_consensus::message::Message;
use evchain_node::consensus::{Halted, VIEWS_RESERVED};
use evchain_node::node::NodeError;
use evchain_node::store::tables::{VOTER, Voter};
use evchain_node::store::{Batch, Durability, Store};
use evchain_node::wallet::{Recorded, VotingRecord};
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::{Certificate, Subject};
use evchain_protocol::primitives::{Height, Span, View};

use crate::common::{Cluster, key};

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

fn put_back(copy: &Path, database: &Path) {
    fs::remove_dir_all(database).expect("a database");
    copy_folder(copy, database);
}

fn votes(cluster: &Cluster, index: usize) -> bool {
    cluster.handle(index).consensus.status().votes
}

/// How often the node has started with its key, as its database says.
fn starts(database: &Path) -> Voter {
    let store = Store::open(database).expect("a database");
    store.get(&VOTER, &()).expect("it is readable").expect("it has voted")
}

/// Waits until the chain is this much higher at all nodes that run.
async fn grows(cluster: &Cluster, blocks: u64) {
    let tip = cluster.handle(0).chain.reader().tip().height;
    let until = tip.saturating_add(Height::new(blocks));
    cluster.wait_until_all(|node| node.chain.reader().tip().height >= until).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_same_epoch_is_noticed_and_follows_without_a_vote() {
    let mut cluster = Cluster::start(4).await;
    let (database, copy) = (cluster.folder(3).join("db"), cluster.folder(3).join("copy"));
    grows(&cluster, 3).await;
    cluster.stop_one(3).await;
    copy_folder(&database, &copy);
    cluster.restart(3).await;
    assert!(votes(&cluster, 3), "its own database");
    grows(&cluster, 3).await;
    cluster.stop_one(3).await;

    put_back(&copy, &database);
    cluster.restart(3).await;
    assert!(!votes(&cluster, 3), "a copy from before its last start");
    grows(&cluster, 3).await;
    assert!(!votes(&cluster, 3), "it follows, and the epoch is the same");
    cluster.stop_one(3).await;
    cluster.restart(3).await;
    assert!(!votes(&cluster, 3), "the copy has caught up, and lacks what it lacked");
    cluster.stop_one(3).await;
    cluster.try_restart(3, |config| config.vote_without_log = true).await.expect("it starts");
    assert!(votes(&cluster, 3), "its operator says that all that it signed is final");
    cluster.assert_one_history();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_made_while_the_node_ran_is_noticed() {
    let mut cluster = Cluster::start_with(1, |params| params.idle_interval = Span::new(50)).await;
    let (database, copy) = (cluster.folder(0).join("db"), cluster.folder(0).join("copy"));
    grows(&cluster, 3).await;
    cluster.stop_one(0).await;
    copy_folder(&database, &copy);
    cluster.restart(0).await;
    grows(&cluster, 3 * VIEWS_RESERVED.get()).await;
    cluster.stop_one(0).await;

    // As if it had been copied at the beginning of that run.
    let voter = starts(&database);
    let mut batch = Batch::default();
    batch.put(&VOTER, &(), &voter);
    Store::open(&copy).expect("a database").write(batch, Durability::Synced).expect("it is writable");
    put_back(&copy, &database);
    cluster.restart(0).await;
    assert!(!votes(&cluster, 0));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_its_record_does_not_vote_and_a_new_one_does() {
    let mut cluster = Cluster::start(1).await;
    assert!(votes(&cluster, 0), "a new key in the first epoch of a chain");
    grows(&cluster, 2).await;
    cluster.stop_one(0).await;
    let record = VotingRecord::beside(&cluster.folder(0).join("key"));
    fs::remove_file(record.path()).expect("a record");
    cluster.restart(0).await;
    assert!(!votes(&cluster, 0), "nobody knows what it has signed");
    cluster.stop_one(0).await;

    cluster.wipe(0);
    fs::remove_file(record.path()).expect("a record");
    cluster.restart(0).await;
    assert!(!votes(&cluster, 0), "and not with a new database either");
    cluster.stop().await;
}

/// Killed between its two notes of a start, the database is one start ahead of the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_was_killed_between_its_notes_votes_the_next_time() {
    let mut cluster = Cluster::start(1).await;
    grows(&cluster, 2).await;
    let record = VotingRecord::beside(&cluster.folder(0).join("key"));
    let before = fs::read(record.path()).expect("a record");
    cluster.stop_one(0).await;
    for _ in 0..3 {
        cluster.restart(0).await;
        assert!(votes(&cluster, 0));
        cluster.stop_one(0).await;
        fs::write(record.path(), &before).expect("the record of the start before");
    }
    cluster.restart(0).await;
    assert!(votes(&cluster, 0));
    let chain = cluster.handle(0).chain.reader().chain();
    let Ok(Recorded::Votes(now)) = record.read(chain) else { panic!("a record of this chain") };
    grows(&cluster, 1).await;
    cluster.stop_one(0).await;
    assert_eq!(starts(&cluster.folder(0).join("db")).starts, now.starts);
    cluster.stop().await;
}

/// Two finalizations of one view, signed by the only authority.
fn conflict(cluster: &Cluster) -> [Message; 2] {
    let status = cluster.handle(0).consensus.status();
    let chain = cluster.handle(0).chain.reader().chain();
    let view = View::new(status.view.get() + 1_000);
    [1, 2].map(|byte| {
        let subject = Subject::finalize(status.epoch, view, Hash::from_bytes([byte; Hash::LEN]));
        let signature = key(0).sign(subject.purpose(), chain, &subject.signed_bytes());
        Message::Certificate(Arc::new(Certificate {
            subject,
            signers: [AuthorityIndex::new(0)].into_iter().collect(),
            signatures: List::new(vec![signature]).expect("one signature"),
        }))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_is_remembered_until_the_operator_says_go_on() {
    let mut cluster = Cluster::start(1).await;
    grows(&cluster, 2).await;
    let from = key(0).public_key();
    for message in conflict(&cluster) {
        cluster.handle(0).consensus.deliver(Input::Message { from, message }).await;
    }
    let end = cluster.end_of(0).await;
    let NodeError::Halted(Halted::Engine(reason)) = &end else { panic!("not halted but {end}") };
    let reason = reason.to_string();

    for _ in 0..2 {
        let refused = cluster.try_restart(0, |_| {}).await.expect_err("it was not told to go on");
        assert!(
            matches!(&refused, NodeError::HaltedBefore { reason: again, .. } if *again == reason),
            "{refused}"
        );
        assert!(refused.to_string().contains("--after-halt"), "{refused}");
        let refused = cluster.try_restart(0, |config| config.observe = true).await;
        assert!(matches!(refused, Err(NodeError::HaltedBefore { .. })), "nor does it follow");
    }
    cluster.try_restart(0, |config| config.after_halt = true).await.expect("it was told to go on");
    assert!(votes(&cluster, 0));
    cluster.stop_one(0).await;
    cluster.restart(0).await;
    cluster.stop().await;
}
