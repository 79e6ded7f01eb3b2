//! Goal: nothing that clients or strangers send moves money, stops a validator or gets a vague answer.
//! Method: four real validators; the node's command line as an honest person would use it, with wrong
//! input; random bytes on every port. After each, every balance must be what it was.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use evchain_node::rpc::{NodeApiClient, RpcClient};
use evchain_node::wallet::Wallet;
use evchain_protocol::crypto::{Hash, PublicKey, Purpose};
use evchain_protocol::primitives::{Amount, Height};
use evchain_protocol::state::account::Roles;
use evchain_testnet::cluster::{Cluster, Participant};
use serde_json::Value;

use crate::support::{cluster, node_bin, shown};

const USAGE: i32 = 2;
const REJECTED: i32 = 3;
const NOT_FOUND: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// A running chain, and people with wallets.
struct World {
    dir: tempfile::TempDir,
    cluster: Cluster,
    rpc: RpcClient,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let person = |name: &str, roles| Participant { name: name.to_owned(), roles, ..Participant::bank() };
        let people = [
            person("consumer", Roles::CONSUMER),
            person("producer", Roles::PRODUCER),
            person("other", Roles::PRODUCER.with(Roles::CONSUMER)),
        ];
        let cluster = cluster(dir.path(), &people, None).await;
        let rpc = RpcClient::connect(&cluster.endpoints(0)).await.expect("a validator answers");
        Self { dir, cluster, rpc }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    fn wallet(&self, name: &str) -> PathBuf {
        self.cluster.files().wallet_path(name)
    }

    fn key(&self, name: &str) -> PublicKey {
        Wallet::open(&self.wallet(name)).expect("a wallet").main_key().public_key()
    }

    /// Runs the node's command line as this person.
    fn run(&self, command: &str, person: &str, arguments: &[&str]) -> Output {
        let rpc = self.cluster.validators()[0].rpc.to_string();
        Command::new(node_bin())
            .arg(command)
            .args(arguments)
            .args(["--rpc", &rpc, "--wallet"])
            .arg(self.wallet(person))
            .output()
            .expect("the program runs")
    }

    /// Sends what must succeed, and gives the reference that it made.
    fn send(&self, person: &str, arguments: &[&str]) -> String {
        let output = self.run("tx", person, &[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        let sent: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        sent["ref"].as_str().expect("a reference").to_owned()
    }

    /// Sends what must be refused with this code and words, and moves nothing.
    async fn refused(&self, person: &str, arguments: &[&str], code: i32, words: &str) {
        let before = self.balances().await;
        let output = self.run("tx", person, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", shown(&output));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains(words), "{arguments:?}: {message}");
        assert_eq!(self.balances().await, before, "{arguments:?} moved money");
    }

    async fn balances(&self) -> BTreeMap<&'static str, Amount> {
        let mut balances = BTreeMap::new();
        for name in ["consumer", "producer", "other"] {
            let account = self.rpc.account(self.key(name)).await.expect("an account");
            balances.insert(name, account.account.balance);
        }
        balances
    }

    /// A request with a bid by `producer`, for a window far enough away.
    fn request_with_bid(&self, updates: bool) -> String {
        let mut arguments = request("+10m", "+70m").to_vec();
        if updates {
            arguments.push("--updates");
        }
        let request = self.send("consumer", &arguments);
        let place = ["--position", "47.8,13.0", "--contact", "here"];
        self.send("producer", &[&["bid", &request, "5"][..], &place].concat());
        request
    }
}

/// The arguments that ask for energy in this window.
const fn request<'a>(start: &'a str, end: &'a str) -> [&'a str; 11] {
    ["request", "--region", "463", "--energy", "10kWh", "--start", start, "--end", end, "--bids-until", "+5m"]
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_is_refused_and_moves_no_money() {
    let world = World::new().await;
    transfers(&world).await;
    bids_and_commitments(&world).await;
    claims(&world).await;
    channels(&world).await;
    world.cluster.stop().await;
}

async fn transfers(world: &World) {
    let to = world.key("producer").to_string();
    world.refused("consumer", &["transfer", &to, "99999999"], REJECTED, "balance").await;
    let stranger = world.dir.path().join("wallets/stranger.json");
    Wallet::create(&stranger).expect("a wallet");
    world.refused("stranger", &["transfer", &to, "1"], NOT_FOUND, "no account").await;
    world.refused("producer", &request("+10m", "+20m"), REJECTED, "consumer").await;
    world
        .refused(
            "consumer",
            &request("2099-01-01T00:00:00.05Z", "2099-01-01T01:00:00Z"),
            USAGE,
            "whole tenths of a second",
        )
        .await;
}

async fn bids_and_commitments(world: &World) {
    let request = world.request_with_bid(true);
    let place = ["--position", "47.8,13.0"];
    let bid = |price: &'static str| [&["bid", &request, price][..], &place].concat();
    world.refused("producer", &bid("6"), REJECTED, "not below the earlier").await;
    world.refused("producer", &bid("5"), REJECTED, "not below the earlier").await;

    let late = world.send(
        "other",
        &[
            "request",
            "--region",
            "463",
            "--energy",
            "1kWh",
            "--start",
            "+1m",
            "--end",
            "+2m",
            "--bids-until",
            "+2s",
        ],
    );
    sleep(Duration::from_secs(4));
    world
        .refused(
            "producer",
            &[&["bid", &late, "1"][..], &place].concat(),
            REJECTED,
            "bids for this request ended",
        )
        .await;

    let producer = world.key("producer").to_string();
    let opening = world.file("opening-0.json");
    world
        .refused(
            "consumer",
            &["commit", &late, "--producer", &producer, "--opening", &opening],
            USAGE,
            "not the newest request",
        )
        .await;
    let commit = |opening: &str| {
        ["commit", &request, "--producer", &producer, "--opening", opening].map(str::to_owned).to_vec()
    };
    let first = commit(&world.file("opening-1.json"));
    world.send("consumer", &first.iter().map(String::as_str).collect::<Vec<_>>());
    let second = commit(&world.file("opening-2.json"));
    world
        .refused(
            "consumer",
            &second.iter().map(String::as_str).collect::<Vec<_>>(),
            REJECTED,
            "has a commitment",
        )
        .await;
    world
        .refused("other", &[&["bid", &request, "1"][..], &place].concat(), REJECTED, "has a commitment")
        .await;
}

async fn claims(world: &World) {
    let payee = world.key("producer").to_string();
    let (secret, wrong) = (world.file("secret.json"), "00".repeat(32));
    let lock =
        |deadline: &'static str| vec!["lock", &payee, "3", "--secret", &secret, "--deadline", deadline];
    let open = world.send("consumer", &lock("+10m"));
    world
        .refused("producer", &["claim", &open, "--preimage", &wrong], REJECTED, "does not fit the lock")
        .await;
    world.refused("other", &["claim", &open, "--secret", &secret], REJECTED, "can claim this").await;

    let short = world.send("consumer", &lock("+3s"));
    sleep(Duration::from_secs(5));
    // The deadline has returned the money and ended the lock.
    world
        .refused("producer", &["claim", &short, "--secret", &secret], NOT_FOUND, "its deadline has passed")
        .await;
    world.send("producer", &["claim", &open, "--secret", &secret]);
}

async fn channels(world: &World) {
    let request = world.request_with_bid(false);
    let opening = world.file("opening-3.json");
    let producer = world.key("producer").to_string();
    world.send("consumer", &["commit", &request, "--producer", &producer, "--opening", &opening]);
    let channel =
        world.send("consumer", &["channel-open", &request, "--opening", &opening, "--installments", "10"]);

    let old = sign(world, &channel, "consumer", "2", false);
    let new = sign(world, &channel, "consumer", "5", false);
    let by_itself = sign(world, &channel, "producer", "10", true);
    let not_closing = sign(world, &channel, "producer", "2", false);
    world
        .refused(
            "producer",
            &["channel-close", "--state", &by_itself],
            REJECTED,
            "the state is not signed by",
        )
        .await;
    world
        .refused("consumer", &["channel-close", "--state", &not_closing], REJECTED, "signed as closing")
        .await;
    world.refused("other", &["channel-close", "--state", &new], REJECTED, "not a party").await;

    world.send("producer", &["channel-force-close", &channel, "--state", &new]);
    world.refused("producer", &["channel-close", "--state", &old], REJECTED, "one with 5 was posted").await;
    world
        .refused("producer", &["channel-challenge", "--state", &old], REJECTED, "not more than the posted")
        .await;
}

/// A channel's state that this person signed, in a file.
fn sign(world: &World, channel: &str, person: &str, released: &str, closing: bool) -> String {
    let mut arguments = vec!["sign", channel, "--released", released];
    if closing {
        arguments.push("--closing");
    }
    let output = world.run("channel-state", person, &arguments);
    assert!(output.status.success(), "{}", shown(&output));
    let file = world.file(&format!("state-{person}-{released}.json"));
    std::fs::write(&file, output.stdout).expect("written");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_stops_nobody() {
    let world = World::new().await;
    let before = world.balances().await;
    for validator in world.cluster.validators() {
        let rpc = validator.rpc.to_string().replace("http://", "");
        let port = validator.p2p.split('/').nth(4).expect("a port");
        for seed in 0..20_u8 {
            throw(&rpc, &garbage(seed));
            throw(&format!("127.0.0.1:{port}"), &garbage(seed));
        }
        throw(&rpc, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{\"a\":");
        throw(&rpc, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n[");
    }
    let tip = world.rpc.status().await.expect("a status").height;
    let later = Height::new(tip.get() + 3);
    world.cluster.wait_for_height(later, PATIENCE).await.expect("every validator goes on");
    assert!(world.cluster.validators().iter().all(|validator| validator.pid().is_some()));
    assert_eq!(world.balances().await, before);
    world.cluster.stop().await;
}

/// Bytes that look random and are the same for each seed: from a few to some ten thousand.
fn garbage(seed: u8) -> Vec<u8> {
    let length = 1_usize << (seed % 11);
    let block = |index: usize| Hash::of(Purpose::Genesis, &[&[seed][..], &index.to_le_bytes()].concat());
    (0..length).flat_map(|index| block(index).as_bytes().to_vec()).collect()
}

/// Sends bytes and reads what comes for a moment. That the other side hangs up is its right.
fn throw(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 1024]);
}
