//! A node for tests: it answers what it is told to, at the height that it is told to be at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evchain_protocol::block::Header;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey};
use evchain_protocol::primitives::{Amount, Epoch, Height, Nonce, Span, Timestamp, TxRef, View};
use evchain_protocol::state::account::{Account, Roles, Standing};
use evchain_protocol::transaction::SignedTransaction;
use jsonrpsee::RpcModule;
use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::server::{Server, ServerHandle};

use crate::agents::event::{AgentEvent, Observer, Warning};
use crate::rpc::{AccountInfo, BlockNotice, CallError, ChainInfo, Finality, RpcClient, Status};

/// How a stub answers.
#[derive(Debug, Clone)]
pub(in crate::agents) struct Script {
    pub(in crate::agents) height: u64,
    /// The account of everybody, and the nonce after what waits; none is found otherwise.
    pub(in crate::agents) account: Option<(u64, u64)>,
    /// What comes of the transactions that are sent, one after the other; then they become final.
    pub(in crate::agents) refusals: Vec<CallError>,
    /// The account's nonce from the next rejection on.
    pub(in crate::agents) nonce_after_rejection: Option<u64>,
    /// Whether it tells of blocks.
    pub(in crate::agents) tells: bool,
    /// The transactions that came.
    pub(in crate::agents) sent: Vec<SignedTransaction>,
}

pub(in crate::agents) struct StubNode {
    pub(in crate::agents) script: Arc<Mutex<Script>>,
    url: String,
    _server: ServerHandle,
}

fn chain() -> ChainId {
    ChainId(Hash::ZERO)
}

fn key() -> PublicKey {
    KeyPair::from_secret(&[1; 32]).public_key()
}

impl StubNode {
    pub(in crate::agents) async fn start(height: u64) -> Self {
        let script = Script {
            height,
            account: None,
            refusals: Vec::new(),
            nonce_after_rejection: None,
            tells: false,
            sent: Vec::new(),
        };
        let script = Arc::new(Mutex::new(script));
        let server = Server::builder().build("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", server.local_addr().expect("an address"));
        let running = server.start(module(&script));
        Self { script, url, _server: running }
    }

    pub(in crate::agents) fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().expect("no panic"));
    }

    pub(in crate::agents) fn sent(&self) -> Vec<SignedTransaction> {
        self.script.lock().expect("no panic").sent.clone()
    }
}

/// A client of these, in this order.
pub(in crate::agents) async fn client(nodes: &[&StubNode]) -> RpcClient {
    let endpoints: Vec<_> = nodes.iter().map(|node| node.url.parse().expect("a URL")).collect();
    RpcClient::connect(&endpoints).await.expect("they answer")
}

/// An observer, and the warnings that it was told.
pub(in crate::agents) fn warnings() -> (Observer, Arc<Mutex<Vec<Warning>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    let observer: Observer = Arc::new(move |event| {
        if let AgentEvent::Warned(warning) = event {
            kept.lock().expect("no panic").push(warning.clone());
        }
    });
    (observer, told)
}

fn module(script: &Arc<Mutex<Script>>) -> RpcModule<Mutex<Script>> {
    let mut module = RpcModule::from_arc(Arc::clone(script));
    let answers = [
        module
            .register_method("evchain_chain", |_, _, _| {
                let (name, genesis_time) = ("stub".to_owned(), Timestamp::ZERO);
                RpcResult::Ok(ChainInfo { id: chain(), name, genesis_time, treasury: key() })
            })
            .map(drop),
        module.register_method("evchain_status", |_, script, _| RpcResult::Ok(status(script))).map(drop),
        module.register_method("evchain_account", |_, script, _| account(script)).map(drop),
        module
            .register_method("evchain_transaction", |_, _, _| -> RpcResult<()> {
                Err(CallError::NotFound("no such transaction".to_owned()).into())
            })
            .map(drop),
        module
            .register_method("evchain_submitAndWait", |params, script, _| {
                take(params.parse::<(String, u64)>()?.0, script)
            })
            .map(drop),
        module
            .register_subscription(
                "evchain_subscribeBlocks",
                "evchain_block",
                "evchain_unsubscribeBlocks",
                |_, pending, script, _| tell(pending, script),
            )
            .map(drop),
    ];
    assert!(answers.into_iter().all(|registered| registered.is_ok()));
    module
}

fn status(script: &Mutex<Script>) -> Status {
    let height = script.lock().expect("no panic").height;
    Status {
        chain: chain(),
        name: "stub".to_owned(),
        height: Height::new(height),
        block: Hash::ZERO,
        time: Timestamp::ZERO,
        tip_age_ms: Span::ZERO,
        syncing: false,
        epoch: Epoch::ZERO,
        view: View::ZERO,
        leader: None,
        votes: false,
        node: key(),
        peers: 0,
        waiting_transactions: 0,
        waiting_bytes: 0,
        version: String::new(),
    }
}

fn account(script: &Mutex<Script>) -> RpcResult<AccountInfo> {
    let Some((nonce, next)) = script.lock().expect("no panic").account else {
        return Err(CallError::NotFound("no such account".to_owned()).into());
    };
    let mut account = Account::new(Amount::new(1_000), Standing::Admitted(Roles::NONE));
    account.nonce = Nonce::new(nonce);
    Ok(AccountInfo { address: key(), account, next_nonce: Nonce::new(next) })
}

fn take(encoded: String, script: &Mutex<Script>) -> RpcResult<Finality> {
    let signed = SignedTransaction::from_bytes(&hex::decode(encoded).expect("hexadecimal"));
    let signed = signed.expect("a transaction");
    let mut script = script.lock().expect("no panic");
    let (id, height) = (signed.id(), Height::new(script.height));
    script.sent.push(signed);
    if !script.refusals.is_empty() {
        let refusal = script.refusals.remove(0);
        if let (CallError::Rejected { .. }, Some(nonce)) = (&refusal, script.nonce_after_rejection) {
            script.account = Some((nonce, nonce));
        }
        return Err(refusal.into());
    }
    Ok(Finality {
        transaction: id,
        place: TxRef::MIN,
        height,
        index: 0,
        block: Hash::ZERO,
        time: Timestamp::ZERO,
        fee: Amount::ZERO,
        bytes: 0,
        events: Vec::new(),
    })
}

async fn tell(pending: jsonrpsee::PendingSubscriptionSink, script: Arc<Mutex<Script>>) -> SubscriptionResult {
    let sink = pending.accept().await?;
    while !sink.is_closed() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Script { height, tells, .. } = script.lock().expect("no panic").clone();
        if tells {
            sink.send(serde_json::value::to_raw_value(&notice(height))?).await?;
        }
    }
    Ok(())
}

fn notice(height: u64) -> BlockNotice {
    let header = Header {
        chain: chain(),
        epoch: Epoch::ZERO,
        height: Height::new(height),
        view: View::ZERO,
        parent_hash: Hash::ZERO,
        parent_view: View::ZERO,
        proposer: key(),
        time_ms: Timestamp::ZERO,
        tx_root: Hash::ZERO,
        event_root: Hash::ZERO,
        state_root: Hash::ZERO,
        just_root: Hash::ZERO,
        authority_root: Hash::ZERO,
        next_authority_root: Hash::ZERO,
    };
    BlockNotice { block: header.hash(), header, transactions: Vec::new(), events: Vec::new() }
}
