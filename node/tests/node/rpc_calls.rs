//! Goal: the RPC answers truthfully, its errors have their documented codes, its client changes nodes,
//! and nothing that comes in on its port does harm.
//! Method: a validator in this process with a real RPC server, asked by the client and by raw bytes.

use std::time::Duration;

use evchain_node::rpc::{
    CallError, Endpoint, Followed, HexBytes, NodeApiClient, RpcClient, RpcConfig, RpcError, RpcServer,
    StateName, walk_to,
};
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{Amount, Epoch, Height};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common;
use crate::served::Served;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// Port 9 of this machine, where nobody listens.
const NOBODY: &str = "127.0.0.1:9";

impl Served {
    /// The answer to raw bytes, as far as the server says something before it closes or is silent.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.rpc.address()).await.unwrap();
        // The server may close while garbage is still on its way.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn post(&self, body: &str) -> String {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.rpc.address(),
            body.len()
        );
        self.raw((head + body).as_bytes()).await
    }
}

/// The JSON in an HTTP response.
fn body(response: &str) -> Value {
    let (_, body) =
        response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP response: {response:?}"));
    serde_json::from_str(body).unwrap_or_else(|error| panic!("no JSON, {error}: {response:?}"))
}

fn call_error<T: std::fmt::Debug>(answer: Result<T, jsonrpsee::core::client::Error>) -> CallError {
    match RpcError::from(answer.expect_err("an error is due")) {
        RpcError::Call(error) => error,
        other => panic!("another error is due: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_final_and_found_everywhere() {
    let served = Served::start(|_| ()).await;
    let client = served.client().await;
    let payee = common::key(900).public_key();
    let mut blocks = client.follow_blocks().await.unwrap();
    let mut payments = client.follow_payments(payee).await.unwrap();
    let finality = client.submit_and_wait(served.transfer(0, 25), 30_000).await.unwrap();

    let info = client.transaction(finality.place.into()).await.unwrap();
    assert_eq!(client.transaction(finality.transaction.into()).await.unwrap(), info);
    assert_eq!((info.id, info.finality.as_ref()), (finality.transaction, Some(&finality)));
    assert_eq!(info.signed.id(), finality.transaction);
    let block = client.block(format!("{}", finality.height).parse().unwrap()).await.unwrap();
    assert_eq!((block.block, block.transactions[0].id), (finality.block, finality.transaction));
    assert_eq!(client.header(block.block.to_string().parse().unwrap()).await.unwrap().header, block.header);
    let account = client.account(payee).await.unwrap();
    assert_eq!(account.account.balance, Amount::new(25));
    assert!(
        finality
            .events
            .iter()
            .any(|event| matches!(event, Event::Transferred { amount, .. } if amount.get() == 25))
    );

    let told = async {
        loop {
            if let Followed::Item(notice) = blocks.next().await
                && notice.header.height == finality.height
            {
                return notice;
            }
        }
    };
    let notice = tokio::time::timeout(PATIENCE, told).await.expect("the block is pushed");
    assert_eq!(notice.transactions[0].id, finality.transaction);
    let payment = tokio::time::timeout(PATIENCE, payments.next()).await.expect("the payment is pushed");
    assert!(matches!(payment, Followed::Item(notice) if notice.transaction == Some(finality.place)));

    // The same bytes again are the same transaction.
    assert_eq!(client.submit_and_wait(served.transfer(0, 25), 30_000).await.unwrap(), finality);
    assert_eq!(client.submit(served.transfer(0, 25)).await.unwrap(), finality.transaction);
    drop((blocks, payments));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_convinces_who_trusts_the_authorities_and_a_changed_one_nobody() {
    let served = Served::start(|_| ()).await;
    let client = served.client().await;
    client.submit_and_wait(served.transfer(0, 25), 30_000).await.unwrap();
    let block = served.cluster.genesis().build().unwrap();
    let light = walk_to(Epoch::ZERO, &block, &client).await.unwrap();
    assert!(client.epoch_step(Epoch::ZERO).await.is_err(), "the first epoch is not over");

    let name: StateName = format!("account/{}", common::key(900).public_key()).parse().unwrap();
    let proof = client.proof(name).await.unwrap();
    let (header, value) = proof.verify(&light).unwrap();
    assert_eq!(header.height, proof.height);
    assert_eq!(serde_json::to_value(value).unwrap()["account"]["balance"], 25);
    let absent: StateName = format!("account/{}", common::key(901).public_key()).parse().unwrap();
    assert!(client.proof(absent).await.unwrap().verify(&light).unwrap().1.is_none());

    let mut other_name = proof.clone();
    other_name.name = absent;
    let mut cut = proof.clone();
    cut.headers.clear();
    assert!(other_name.verify(&light).is_err());
    assert!(cut.verify(&light).is_err());
    let parts: [fn(&mut evchain_node::rpc::ProofInfo) -> &mut HexBytes; 3] =
        [|proof| &mut proof.proof, |proof| &mut proof.certificate, |proof| &mut proof.headers[0]];
    for part in parts {
        let len = part(&mut proof.clone()).0.len();
        for place in (0..len).step_by(len / 16 + 1) {
            let mut changed = proof.clone();
            part(&mut changed).0[place] ^= 1;
            assert!(changed.verify(&light).is_err(), "byte {place} can be changed");
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_codes() {
    let served = Served::start(|_| ()).await;
    let client = served.client().await;
    let rejected = call_error(client.submit(served.transfer(0, u64::MAX)).await);
    assert!(
        matches!(&rejected, CallError::Rejected { reason, .. } if reason == "not_covered"),
        "{rejected:?}"
    );
    let not_hex = call_error(client.submit("transaction".to_owned()).await);
    assert!(matches!(not_hex, CallError::InvalidInput(_)), "{not_hex:?}");
    let not_a_transaction = call_error(client.submit("00ff".to_owned()).await);
    assert!(matches!(not_a_transaction, CallError::InvalidInput(_)), "{not_a_transaction:?}");
    let mut unsigned = served.transfer(0, 1);
    unsigned.replace_range(unsigned.len() - 4.., "0000");
    let unsigned = call_error(client.submit(unsigned).await);
    assert!(matches!(unsigned, CallError::InvalidInput(_)), "{unsigned:?}");
    // A gap before it keeps it from any block.
    let early = call_error(client.submit_and_wait(served.transfer(5, 1), 100).await);
    assert!(matches!(early, CallError::TimedOut { waited_ms: 100, .. }), "{early:?}");
    let absent = call_error(client.account(common::key(901).public_key()).await);
    assert!(matches!(absent, CallError::NotFound(_)), "{absent:?}");
    let future = call_error(client.events(Height::new(1_000_000)).await);
    assert!(matches!(future, CallError::NotFound(_)), "{future:?}");

    let cases = [
        (json!({"jsonrpc": "2.0", "id": 1, "method": "evchain_lock", "params": ["7-7"]}), -32_012),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "evchain_lock", "params": ["seven"]}), -32_602),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "evchain_block", "params": {"block": -1}}), -32_602),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "evchain_submit", "params": ["zz"]}), -32_010),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "evchain_nothing"}), -32_601),
    ];
    for (call, code) in cases {
        let answer = body(&served.post(&call.to_string()).await);
        assert_eq!(answer["error"]["code"], code, "{call} -> {answer}");
    }
    let by_name =
        json!({"jsonrpc": "2.0", "id": 1, "method": "evchain_header", "params": {"block": "latest"}});
    assert!(body(&served.post(&by_name.to_string()).await)["result"]["block"].is_string());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_gets_an_error_or_a_closed_connection_and_does_no_harm() {
    let served = Served::start(|config| config.max_batch = 4).await;
    for broken in [
        "{",
        "[]",
        "[1,2]",
        "null",
        "\"evchain_status\"",
        "{\"jsonrpc\":\"1.0\"}",
        "\u{0}",
        &"[".repeat(100_000),
    ] {
        let answer = served.post(broken).await;
        let is_error = answer.starts_with("HTTP/1.1 4") || answer.contains("\"error\"");
        assert!(is_error, "{broken:.20} -> {answer}");
    }
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "evchain_chain"});
    let batch = |calls: usize| Value::from(vec![call.clone(); calls]).to_string();
    assert_eq!(body(&served.post(&batch(4)).await).as_array().map(Vec::len), Some(4));
    assert!(served.post(&batch(5)).await.contains("\"error\""));
    let too_large = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"evchain_submit\",\"params\":[\"{}\"]}}",
        "0".repeat(2_000_000)
    );
    let refusal = served.post(&too_large).await;
    assert!(
        refusal.is_empty() || refusal.starts_with("HTTP/1.1 4") || refusal.contains("\"error\""),
        "{refusal}"
    );

    let mut noise: Vec<u8> =
        (0..4_096_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..8 {
        assert!(!served.raw(&noise).await.contains("200 OK"));
        noise.rotate_left(511);
        noise[0] = noise[0].wrapping_add(1);
    }
    served
        .raw(b"GET /chat HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        .await;
    // The node is none the worse for it.
    let finality = served.client().await.submit_and_wait(served.transfer(0, 1), 30_000).await.unwrap();
    assert!(finality.height > Height::ZERO);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_subscriptions_above_the_limit_are_refused() {
    let served = Served::start(|config| (config.max_connections, config.max_subscriptions) = (4, 2)).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(served.rpc.address()).await.unwrap();
        // What was answered was accepted.
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    assert_eq!(served.raw(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await, "");
    held.clear();
    let health = async {
        loop {
            let answer =
                served.raw(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
            if answer.starts_with("HTTP/1.1 200") {
                return body(&answer);
            }
        }
    };
    let health = tokio::time::timeout(PATIENCE, health).await.expect("room again");
    assert_eq!(health["healthy"], true);

    let url = served.endpoint().ws_url();
    let connection = jsonrpsee::ws_client::WsClientBuilder::default().build(url).await.unwrap();
    let first = evchain_node::rpc::EventsApiClient::subscribe_blocks(&connection).await;
    let second = evchain_node::rpc::EventsApiClient::subscribe_blocks(&connection).await;
    assert!(first.is_ok() && second.is_ok());
    assert!(evchain_node::rpc::EventsApiClient::subscribe_blocks(&connection).await.is_err());
    drop((first, second, connection));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_at_the_next_node_and_so_do_its_subscriptions() {
    let served = Served::start(|_| ()).await;
    let nobody: Endpoint = NOBODY.parse().unwrap();
    let unreachable = RpcClient::connect(std::slice::from_ref(&nobody)).await.unwrap_err();
    assert!(matches!(&unreachable, RpcError::Unreachable(error) if error.tried.len() == 1), "{unreachable}");
    assert!(unreachable.to_string().contains(NOBODY), "{unreachable}");

    let second = RpcServer::start(
        RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..RpcConfig::default() },
        served.cluster.handle(0),
        Registry::default(),
    )
    .await
    .unwrap();
    let second_endpoint: Endpoint = second.address().to_string().parse().unwrap();
    let client = RpcClient::connect(&[nobody, second_endpoint.clone(), served.endpoint()]).await.unwrap();
    assert_eq!(client.current(), &second_endpoint);
    let mut blocks = client.follow_blocks().await.unwrap();
    let item = tokio::time::timeout(PATIENCE, blocks.next()).await.expect("a block");
    assert!(matches!(item, Followed::Item(_)));
    second.stop().await;

    assert!(client.status().await.is_ok());
    assert_eq!(client.current(), &served.endpoint());
    let resumed = async { while blocks.next().await != Followed::Resumed {} };
    tokio::time::timeout(PATIENCE, resumed).await.expect("the subscription goes on at the other node");
    assert!(matches!(tokio::time::timeout(PATIENCE, blocks.next()).await, Ok(Followed::Item(_))));
    drop(blocks);
    served.stop().await;
}
