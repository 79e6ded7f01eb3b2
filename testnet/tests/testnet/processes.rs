//! Goal: validators are kept running, lose nothing that was final, and never outlive the testnet.
//! Method: real processes that are killed by their ids.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evchain_node::rpc::{NodeApiClient, RpcClient, TransactionKey};
use evchain_node::wallet::{DEFAULT_WAIT, Sender};
use evchain_protocol::primitives::Amount;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_testnet::cluster::{Cluster, Incident, Participant, Validator};
use serde_json::Value;

use crate::support::{cluster, is_alive, node_bin, testnet_bin, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_final_is_lost_when_all_validators_crash() {
    let dir = tempfile::tempdir().expect("a folder");
    let payee = Participant { name: "payee".to_owned(), ..Participant::bank() };
    let mut cluster = cluster(dir.path(), &[Participant::bank(), payee], Some(Duration::from_secs(1))).await;
    let rpc = RpcClient::connect(&cluster.endpoints(0)).await.expect("a validator answers");
    let sender = Sender::new(rpc.clone(), cluster.files().wallet("bank").expect("a wallet").main_key());
    let to = cluster.files().wallet("payee").expect("a wallet").main_key().public_key();
    let mut finals = Vec::new();
    for amount in 1..=10 {
        let action = Action::Transfer(Transfer { to, amount: Amount::new(amount) });
        finals.push(sender.send(action, DEFAULT_WAIT).await.expect("a transfer is final"));
    }
    let balance = rpc.account(to).await.expect("an account").account.balance;
    for validator in cluster.validators() {
        validator.kill().await;
    }
    wait_for_restarts(&mut cluster, 4).await;
    let last = finals.last().expect("transfers").height;
    cluster.wait_for_height(last.next().expect("a height"), PATIENCE).await.expect("the chain goes on");
    for validator in cluster.validators() {
        let rpc = cluster.client_of(validator).await.expect("the validator answers");
        for sent in &finals {
            let found = rpc.transaction(TransactionKey::Id(sent.transaction)).await.expect("it is there");
            assert_eq!(found.finality.map(|place| place.block), Some(sent.block));
        }
        assert_eq!(rpc.account(to).await.expect("an account").account.balance, balance);
    }
    cluster.stop().await;
}

async fn wait_for_restarts(cluster: &mut Cluster, count: usize) {
    let mut restarted = 0;
    while restarted < count {
        let incident =
            tokio::time::timeout(PATIENCE, cluster.next_incident()).await.expect("an incident in time");
        restarted += usize::from(matches!(incident, Some(Incident::Restarted { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_validators_are_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = cluster(dir.path(), &[], None).await;
    let pids: Vec<u64> = cluster.validators().iter().filter_map(Validator::pid).map(u64::from).collect();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    cluster.stop().await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn validators_end_with_the_testnet_however_it_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut testnet = up(dir.path());
    let pids = pids(&mut testnet);
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    // By its id, and so that it cannot clean up.
    testnet.kill().expect("the testnet is killed");
    testnet.wait().expect("the testnet has ended");
    wait_until("the validators end", PATIENCE, || !pids.iter().any(|pid| is_alive(*pid)));
}

fn up(dir: &Path) -> Child {
    node_bin();
    Command::new(testnet_bin())
        .args(["up", "--json", "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// The processes that the testnet lists, in its one line.
fn pids(testnet: &mut Child) -> Vec<u64> {
    let mut line = String::new();
    let stdout = testnet.stdout.take().expect("an output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let listing: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let validators = listing["validators"].as_array().expect("validators");
    validators.iter().filter_map(|validator| validator["pid"].as_u64()).collect()
}
