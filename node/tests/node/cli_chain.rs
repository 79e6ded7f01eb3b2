//! Goal: a person can go through every kind of transaction and query by hand, and is told why where
//! the ledger refuses.
//! Method: the real binary as a validator and as its clients; `Driver` runs one command after the other.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use evchain_node::wallet::Wallet;
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::{Evidence, Subject, Vote};
use evchain_protocol::primitives::{Epoch, View};
use serde_json::Value;

/// A running validator of a new chain and the wallets of its participants.
struct Driver {
    folder: tempfile::TempDir,
    node: Child,
    rpc: String,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

impl Driver {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = |line: &str| run(folder.path(), line);
        for wallet in ["authority", "consumer", "producer"] {
            assert!(run(&format!("keys new --wallet {wallet}.json")).status.success());
        }
        let address = |wallet: &str| {
            let output = run(&format!("keys address --wallet {wallet}.json"));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        std::fs::write(
            folder.path().join("params.json"),
            r#"{"state_tree_depth": 8, "idle_interval": 200, "fee_flat": 0}"#,
        )
        .unwrap();
        let genesis = run(&format!(
            "genesis new --name by-hand --params params.json --authority {} --account {}:1000:consumer --account {}:10:producer",
            address("authority"),
            address("consumer"),
            address("producer")
        ));
        assert!(genesis.status.success(), "{}", String::from_utf8_lossy(&genesis.stderr));
        let mut node = Command::new(env!("CARGO_BIN_EXE_evchain"))
            .args(
                "start --genesis genesis.json --wallet authority.json --data data --rpc 127.0.0.1:0"
                    .split(' '),
            )
            .args("--listen /ip4/127.0.0.1/tcp/0 --json --stop-with-stdin".split(' '))
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stdout = BufReader::new(node.stdout.take().unwrap());
        while !ready.ends_with("}\n") {
            assert!(stdout.read_line(&mut ready).unwrap() > 0, "the node ended: {}", log(folder.path()));
        }
        let ready: Value = serde_json::from_str(&ready).unwrap();
        assert_eq!(ready["votes"], true);
        let rpc = ready["rpc"].as_str().unwrap().to_owned();
        Self { folder, node, rpc }
    }

    fn address(&self, wallet: &str) -> String {
        self.text(&format!("keys address --wallet {wallet}.json")).trim().to_owned()
    }

    fn run(&self, line: &str) -> Output {
        let asks = ["tx", "query", "channel-state", "authority"];
        let rpc = if asks.iter().any(|command| line.starts_with(command)) {
            format!(" --rpc {}", self.rpc)
        } else {
            String::new()
        };
        run(self.folder.path(), &format!("{line}{rpc}"))
    }

    fn text(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.text(&format!("{line} --json"))).unwrap()
    }

    /// The reference of what a wallet's transaction made.
    fn tx(&self, wallet: &str, line: &str) -> String {
        self.json(&format!("tx {line} --wallet {wallet}.json"))["ref"].as_str().unwrap().to_owned()
    }

    fn refused(&self, line: &str, code: i32, reason: &str) {
        let output = self.run(line);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {message}");
        assert!(message.contains(reason), "{line}: {message}");
    }

    fn balance(&self, wallet: &str) -> u64 {
        self.json(&format!("query account {}", self.address(wallet)))["balance"].as_u64().unwrap()
    }

    /// A request with one bid of 8.40 that the consumer has committed to.
    fn decided(&self, name: &str) -> String {
        let request = self
            .tx("consumer", "request --region 5020 --energy 20kWh --start +1h --end +2h --bids-until +10m");
        self.tx("producer", &format!("bid {request} 8.40 --max-installments 10 --cancel-by +30m"));
        let bids = self.text(&format!("query bids {request}"));
        assert!(bids.contains("0 of 0 completed, doubt 250 per mille"), "{bids}");
        let producer = self.address("producer");
        self.tx("consumer", &format!("commit {request} --producer {producer} --opening {name}.json"));
        request
    }
}

fn run(folder: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evchain"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

#[test]
fn a_person_pays_in_each_way() {
    let driver = Driver::start();
    let producer = driver.address("producer");
    driver.tx(
        "producer",
        "station --region 5020 --position 47.8095,13.055 --power 22kW --connectors 2 --contact desk",
    );
    assert_eq!(driver.json("query stations --region 5020").as_array().map(Vec::len), Some(1));

    // Installments along a hash chain.
    let request = driver.decided("o1");
    assert_eq!(
        driver.json("query requests --open").as_array().map(Vec::len),
        Some(0),
        "one that is decided takes no bids"
    );
    assert_eq!(driver.json(&format!("query bids {request}"))[0]["price"], 84_000);
    let payment = driver.tx(
        "consumer",
        &format!("lock-installments {request} --opening o1.json --secret c1.json --installments 10"),
    );
    let before = driver.balance("producer");
    driver.tx("producer", &format!("claim {payment} --secret c1.json --installment 3"));
    assert_eq!(driver.balance("producer") - before, 4 * 8_400);
    driver.refused(
        &format!("tx claim {payment} --secret c1.json --installment 2 --wallet producer.json"),
        3,
        "rejected by the ledger",
    );
    driver.refused(&format!("tx cancel {payment} --wallet consumer.json"), 3, "rejected by the ledger");

    // Installments with hashes of their own, cancelled in time.
    let request = driver.decided("o2");
    let payment = driver.tx(
        "consumer",
        &format!(
            "lock-installments {request} --opening o2.json --secret h2.json --locks hashes --installments 3"
        ),
    );
    assert_eq!(driver.json(&format!("query payments --party {producer}")).as_array().map(Vec::len), Some(2));
    let before = driver.balance("consumer");
    driver.tx("consumer", &format!("cancel {payment}"));
    assert_eq!(driver.balance("consumer") - before, 84_000);

    // A channel: closed by the payee with the payer's newest state.
    let request = driver.decided("o3");
    let channel =
        driver.tx("consumer", &format!("channel-open {request} --opening o3.json --installments 10"));
    let sign = |who: &str, released: u32, file: &str| {
        let state =
            driver.text(&format!("channel-state sign {channel} --released {released} --wallet {who}.json"));
        std::fs::write(driver.folder.path().join(file), state).unwrap();
    };
    for (who, released, file) in [
        ("consumer", 4, "s4.json"),
        ("consumer", 5, "s5.json"),
        ("producer", 5, "p5.json"),
        ("consumer", 7, "s7.json"),
    ] {
        sign(who, released, file);
    }
    driver.tx("consumer", &format!("channel-force-close {channel}"));
    let before = driver.balance("producer");
    driver.tx("producer", "channel-challenge --state s4.json");
    // With both signatures it takes no party to post; here the payer pays the fee.
    driver.tx("consumer", "channel-post --consumer-state s5.json --producer-state p5.json");
    driver.tx("producer", "channel-close --state s7.json");
    assert_eq!(driver.balance("producer") - before, 7 * 8_400);
    check_record(&driver.json(&format!("query record {producer}")));
}

/// Of a payment under way, a payment cancelled, and a channel with 7 of 10 released: only that is settled. In
/// it the producer answered with 4, and the consumer knew of 5.
fn check_record(record: &Value) {
    assert_eq!((&record["broken_off"], &record["completed"]), (&1.into(), &0.into()), "{record}");
    assert_eq!((&record["installments_paid"], &record["shortfall"]), (&7.into(), &334.into()), "{record}");
    assert_eq!((&record["doubt"], &record["disputes_lost"]), (&389.into(), &1.into()), "{record}");
}

#[test]
fn a_person_is_warned_where_region_or_bids_give_the_choice_away() {
    let driver = Driver::start();
    // What a transaction made, and what was said beside it.
    let said = |line: &str| {
        let output = driver.run(&format!("tx {line} --json --wallet consumer.json"));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {message}");
        let sent: Value = serde_json::from_slice(&output.stdout).expect("the answer alone is on stdout");
        (sent["ref"].as_str().expect("a reference").to_owned(), message)
    };
    let producer = driver.address("producer");
    let ask = "request --region 7 --energy 20kWh --start +1h --end +2h --bids-until +10m";
    driver.tx("producer", "station --region 7 --position 47.8,13 --power 22kW --contact desk");
    let (request, few) = said(ask);
    assert!(few.contains("warning: stations in region 7: 1, fewer than 3"), "{few}");
    driver.tx("producer", &format!("bid {request} 8.40"));
    let (_, single) = said(&format!("commit {request} --producer {producer} --opening o1.json"));
    assert!(single.contains(&format!("warning: request {request} has one bid only")), "{single}");

    driver.text("keys new --wallet other.json");
    driver.tx("authority", &format!("admit {} --roles producer", driver.address("other")));
    let (request, enough) = said(&format!("{ask} --min-stations 1"));
    assert_eq!(enough, "");
    driver.tx("producer", &format!("bid {request} 8.40"));
    driver.tx("other", &format!("bid {request} 8.50 --position 47.9,13"));
    let (_, hidden) = said(&format!("commit {request} --producer {producer} --opening o2.json"));
    assert_eq!(hidden, "");
}

#[test]
fn a_person_locks_money_and_says_who_may_take_part() {
    let driver = Driver::start();
    let (consumer, producer) = (driver.address("consumer"), driver.address("producer"));
    // A single lock, and money to a new key.
    let lock = driver.tx("consumer", &format!("lock {producer} 2.50 --secret r.json --deadline +1h"));
    assert_eq!(driver.json(&format!("query locks --party {consumer}"))[0]["ref"], lock.as_str());
    driver.tx("producer", &format!("claim {lock} --secret r.json"));
    let fresh = driver.json("keys fresh --wallet consumer.json")["address"].as_str().unwrap().to_owned();
    driver.tx("consumer", &format!("transfer {fresh} 1"));
    let sponsored = driver.json(&format!("query account {fresh}"));
    assert_eq!(sponsored["standing"]["sponsored"], consumer.as_str());

    // Who may take part.
    assert_eq!(sponsored["withdraw_to"], consumer.as_str());
    driver.refused(
        &format!("tx admit {fresh} --roles auditor --wallet authority.json"),
        3,
        "would lose a role",
    );
    let admit = format!("admit {fresh} --roles auditor,consumer");
    let place = format!("tx {admit} --withdraw-to {producer} --wallet authority.json");
    driver.refused(&place, 3, "has an account already");
    driver.tx("authority", &admit);
    driver.refused("tx withdraw --key 1 --wallet consumer.json", 2, "is not revoked");
    let revoked = driver.json(&format!("tx revoke {fresh} --withdraw-to {producer} --wallet authority.json"));
    assert_eq!(
        (&revoked["vote"]["outcome"], &revoked["vote"]["proposal"]),
        (&"passed".into(), &revoked["ref"])
    );
    let text = driver.text(&format!("query account {fresh}"));
    assert!(text.contains("revoked") && text.contains(&producer), "{text}");
    driver.refused(&format!("tx transfer {consumer} 0.5 --key 1 --wallet consumer.json"), 3, "revoked");
    let before = driver.balance("producer");
    let withdrawn = driver.text("tx withdraw --key 1 --wallet consumer.json");
    assert!(withdrawn.contains("withdrawn") && withdrawn.contains("0.0000 EUR"), "{withdrawn}");
    assert_eq!(driver.balance("producer") - before, 10_000);
    let back = driver.text(&format!("tx set-roles {fresh} --roles consumer --wallet authority.json"));
    assert!(back.contains("has passed and is in effect"), "{back}");
    assert_eq!(driver.json(&format!("query account {fresh}"))["standing"]["admitted"][0], "consumer");
    driver.refused(&format!("tx revoke {consumer} --wallet authority.json"), 3, "has to name one");
    driver.refused(&format!("tx transfer {producer} 5000 --wallet consumer.json"), 3, "does not cover");
    driver.refused(&format!("tx claim {lock} --secret r.json --wallet producer.json"), 4, "settled");
    driver.refused(&format!("tx revoke {producer} --wallet consumer.json"), 3, "not an authority");
}

#[test]
fn wrong_input_is_refused_and_moves_no_money() {
    let driver = Driver::start();
    let (consumer, producer) = (driver.address("consumer"), driver.address("producer"));
    driver.text("keys new --wallet stranger.json");
    driver.tx("producer", "station --region 7 --position 47.8,13 --power 22kW --connectors 2 --contact desk");

    let request = driver
        .tx("consumer", "request --region 7 --energy 20kWh --start +1h --end +2h --bids-until +2s --updates");
    driver.tx("producer", &format!("bid {request} 8.40 --max-installments 10"));
    driver.refused(
        &format!("tx bid {request} 8.41 --max-installments 10 --wallet producer.json"),
        3,
        "not below the earlier",
    );
    std::thread::sleep(std::time::Duration::from_secs(2));
    driver.refused(
        &format!("tx bid {request} 8.30 --max-installments 10 --wallet producer.json"),
        3,
        "bids for this request ended",
    );
    driver.tx("consumer", &format!("commit {request} --producer {producer} --opening o.json"));
    driver.refused(
        &format!("tx commit {request} --producer {producer} --opening o2.json --wallet consumer.json"),
        3,
        "has a commitment already",
    );
    let channel =
        driver.tx("consumer", &format!("channel-open {request} --opening o.json --installments 10"));
    let late = driver.tx("consumer", &format!("lock {producer} 2.50 --secret r.json --deadline +1s"));
    let lock = driver.tx("consumer", &format!("lock {producer} 2.50 --secret s.json --deadline +1h"));
    std::thread::sleep(std::time::Duration::from_secs(2));
    let sign = |wallet: &str, released: u32, file: &str| {
        let line = format!("channel-state sign {channel} --released {released} --wallet {wallet}.json");
        std::fs::write(driver.folder.path().join(file), driver.text(&line)).unwrap();
    };
    sign("consumer", 4, "old.json");
    sign("consumer", 7, "new.json");
    sign("producer", 9, "own.json");
    driver.tx("producer", &format!("channel-force-close {channel} --state new.json"));

    let before = (driver.balance("consumer"), driver.balance("producer"));
    let wrong = "ab".repeat(32);
    for (line, code, reason) in [
        (format!("tx transfer {producer} 5000 --wallet consumer.json"), 3, "does not cover"),
        (format!("tx transfer {producer} 1 --wallet stranger.json"), 4, "has no account"),
        (format!("tx claim {lock} --preimage {wrong} --wallet producer.json"), 3, "preimage"),
        (format!("tx claim {lock} --secret s.json --wallet consumer.json"), 3, "can claim this"),
        (format!("tx claim {late} --secret r.json --wallet producer.json"), 4, "deadline has passed"),
        ("tx channel-close --state old.json --wallet producer.json".to_owned(), 3, "one with 7 was posted"),
        ("tx channel-challenge --state old.json --wallet producer.json".to_owned(), 3, "not more than"),
        ("tx channel-close --state own.json --wallet producer.json".to_owned(), 3, "is not signed by"),
        (format!("channel-state sign {channel} --released 11 --wallet consumer.json"), 2, "10 installments"),
        (format!("channel-state sign {channel} --released 1 --wallet stranger.json"), 2, "no party"),
        ("channel-state sign 1-99 --released 1 --wallet consumer.json".to_owned(), 4, "no channel"),
    ] {
        driver.refused(&line, code, reason);
    }
    assert_eq!((driver.balance("consumer"), driver.balance("producer")), before);
    assert_eq!(driver.json(&format!("query locks --party {consumer}")).as_array().map(Vec::len), Some(1));
}

#[test]
fn queries_answer_in_text_and_in_json_and_the_node_ends_with_its_parent() {
    let mut driver = Driver::start();
    let producer = driver.address("producer");
    let sent = driver.json(&format!("tx transfer {producer} 1 --no-wait --wallet consumer.json"));
    let id = sent["transaction"].as_str().unwrap().to_owned();
    let waited = driver.json(&format!("query wait {id}"));
    let (place, height) = (waited["ref"].as_str().unwrap(), waited["height"].as_u64().unwrap());
    for query in [
        "status",
        "chain",
        "genesis",
        "header",
        "block latest",
        "stations",
        "requests",
        "locks",
        "payments",
        "channels",
        "params",
        "authorities",
        "peers",
        "proof params",
        "proof authorities --genesis genesis.json",
        &format!("block {height}"),
        &format!("events {height}"),
        &format!("finalization {height}"),
        &format!("tx {place}"),
        &format!("tx {id}"),
        &format!("account {producer}"),
        &format!("record {producer}"),
        &format!("proof account/{producer}"),
    ] {
        let text = driver.text(&format!("query {query}"));
        assert!(!text.trim().is_empty(), "{query} says nothing");
        assert!(!text.contains("_e7") && !text.contains("{\""), "{query} shows raw data: {text}");
        driver.json(&format!("query {query}"));
    }
    driver.refused("query tx 1-9", 4, "1-9");
    driver.refused(&format!("query station {producer}"), 4, "no station record");
    driver.text("keys new --wallet stranger.json");
    driver.refused(&format!("query record {}", driver.address("stranger")), 4, "has no account");
    driver.refused(
        &format!("query wait {} --timeout 1s", "0".repeat(64)),
        4,
        "no new transaction in its place",
    );

    drop(driver.node.stdin.take());
    let status = driver.node.wait().unwrap();
    assert!(status.success(), "{}", log(driver.folder.path()));
    starts_by_a_file_again(driver.folder.path(), height);
}

/// What was final is there again after a restart, by a config file this time.
fn starts_by_a_file_again(folder: &Path, height: u64) {
    std::fs::write(
        folder.join("node.toml"),
        "genesis = \"genesis.json\"\nwallet = \"authority.json\"\ndata = \"data\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nrpc = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let mut node = Command::new(env!("CARGO_BIN_EXE_evchain"))
        .args("start --config node.toml --json --stop-with-stdin".split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut stdout = BufReader::new(node.stdout.take().unwrap());
    while !ready.ends_with("}\n") {
        assert!(stdout.read_line(&mut ready).unwrap() > 0, "the node ended");
    }
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert!(ready["height"].as_u64().unwrap() >= height);
    drop(node.stdin.take());
    assert!(node.wait().unwrap().success());
}

#[test]
fn authorities_decide_and_answer_for_what_they_sign() {
    let driver = Driver::start();
    let newcomer = driver.address("consumer");
    driver.refused(&format!("tx propose-add {newcomer} --wallet consumer.json"), 3, "is not an authority");
    driver.refused("tx propose-param depth 3 --wallet authority.json", 2, "no parameter that can change");
    driver.refused("tx propose-param max_bids many --wallet authority.json", 2, "no value for max_bids");
    driver.refused("tx propose-param max_bids 0 --wallet authority.json", 3, "must be 1 to");
    let said = driver.text(&format!("tx propose-add {newcomer} --wallet authority.json"));
    assert!(
        said.contains("has 1 of the 1 approvals that it needs, and takes effect at the epoch's end"),
        "{said}"
    );
    let proposal = driver.json("query proposals")[0]["ref"].as_str().unwrap().to_owned();
    driver.refused(&format!("tx approve {proposal} --wallet authority.json"), 3, "has approved");
    let second = driver.tx("authority", "propose-param evidence_removes false");
    let open = driver.json("query proposals");
    assert_eq!((&open[0]["ref"], &open[1]["ref"]), (&Value::from(proposal), &Value::from(second)));
    assert_eq!((&open[0]["passes"], &open[0]["change"]["add_authority"]), (&true.into(), &newcomer.into()));

    assert_eq!(driver.json("query evidence").as_array().map(Vec::len), Some(0));
    std::fs::write(driver.folder.path().join("evidence.json"), driver.evidence()).unwrap();
    let report = driver.tx("consumer", "report --evidence evidence.json");
    let known = driver.json("query evidence");
    assert_eq!((&known[0]["offence"], &known[0]["evidence"]), (&"double_finalize".into(), &report.into()));
    driver.refused("tx report --evidence evidence.json --wallet producer.json", 3, "is known from");
    let list = driver.json("authority list");
    assert_eq!((&list[0]["offences"], list.as_array().map(Vec::len)), (&1.into(), Some(1)));
    assert!(driver.text("authority list").contains("1 votes decide"));
}

impl Driver {
    /// Two votes of the authority that exclude each other, as JSON.
    fn evidence(&self) -> String {
        let wallet = Wallet::open(&self.folder.path().join("authority.json")).unwrap();
        let (key, chain) = (wallet.main_key(), self.json("query chain")["id"].clone());
        let chain = serde_json::from_value(chain).unwrap();
        let vote = |number| {
            let subject = Subject::finalize(Epoch::ZERO, View::new(1), Hash::from_bytes([number; 32]));
            let signature = key.sign(subject.purpose(), chain, &subject.signed_bytes());
            Vote { subject, signer: AuthorityIndex::new(0), signature }
        };
        serde_json::to_string(&Evidence::of_votes(vote(1), vote(2)).unwrap()).unwrap()
    }
}
