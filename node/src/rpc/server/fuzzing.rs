//! What a client's message meets first, as an entry for the fuzz targets of `fuzz/`: the rest of the crate does not
//! use it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::KeyPair;
use evchain_protocol::genesis::{Genesis, GenesisAccount};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Timestamp};
use evchain_protocol::state::account::Roles;
use jsonrpsee::server::{BoundedSubscriptions, MethodSink};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::budget::Charge;
use super::calls::{Calls, Session};
use super::hosts::Hosts;
use super::rpc_server::{RpcConfig, methods};
use super::subscriptions::Outbox;
use crate::mempool::PoolLimits;
use crate::network::NetworkConfig;
use crate::node::{Node, NodeConfig};
use crate::rpc::types::MAX_RESPONSE_BYTES;

/// How long a call that waits for finality is waited for: its caller then hangs up.
const PATIENCE: Duration = Duration::from_millis(50);
/// JSON-RPC 2.0, 5.1: the node failed, which no message may bring about.
const INTERNAL_ERROR: i64 = -32_603;
/// Replies and items of subscriptions that are kept; nobody reads them.
const UNREAD: usize = 16;

/// The dispatch of calls to a node's methods, without the network before it.
pub struct Desk {
    calls: Calls,
    methods: Vec<&'static str>,
    hosts: Arc<Hosts>,
    runtime: Runtime,
    _node: Node,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// Starts a node that follows a chain of one authority with nothing but its first block, in an empty folder.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn open(folder: &Path) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let key = KeyPair::from_secret(&[1; 32]);
        let account =
            GenesisAccount { key: key.public_key(), balance: Amount::new(1_000), roles: Roles::CONSUMER };
        let config = NodeConfig {
            data_dir: folder.to_owned(),
            genesis: Genesis {
                name: "fuzz".to_owned().try_into().expect("a name"),
                time: Timestamp::new(1_700_000_000_000),
                treasury: key.public_key(),
                authorities: List::new(vec![key.public_key()]).expect("one authority"),
                params: Params { state_tree_depth: 8, ..Params::default() },
                accounts: List::new(vec![account]).expect("one account"),
            },
            key,
            key_file: folder.join("key"),
            network: NetworkConfig::default(),
            pool: PoolLimits::default(),
            observe: true,
            vote_without_log: false,
            after_halt: false,
            trust: Vec::new(),
        };
        let node = runtime.block_on(Node::start(config, &mut Registry::default())).expect("the node starts");
        let config = RpcConfig::default();
        let table = methods(node.handle()).expect("the methods' names differ");
        let mut names: Vec<&'static str> = table.method_names().collect();
        names.sort_unstable();
        let calls = Calls::new(table, config.max_batch as usize);
        Self { calls, methods: names, hosts: Hosts::new(&config), runtime, _node: node }
    }

    /// Takes a message of a WebSocket: a text that begins as JSON does, or else a byte that chooses the method and
    /// its parameters. Each message has one answer or none, which is given, and none makes the node fail.
    ///
    /// # Panics
    /// Where that does not hold.
    pub fn take(&self, data: &[u8]) -> Option<Value> {
        let (first, rest) = data.split_first()?;
        if matches!(first, b'{' | b'[') {
            return self.answer(data);
        }
        let method = self.methods[usize::from(*first) % self.methods.len()];
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":"#);
        self.answer(&[call.as_bytes(), rest, b"}"].concat())
    }

    fn answer(&self, message: &[u8]) -> Option<Value> {
        let caller = self.hosts.enter(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("there is one connection");
        let caller = Arc::new(caller);
        let (replies, _replies) = mpsc::channel(UNREAD);
        let (items, _items) = mpsc::channel(UNREAD);
        let session = Session {
            replies: MethodSink::new(replies),
            subscriptions: BoundedSubscriptions::new(1),
            outbox: Outbox::new(Arc::clone(&caller), items),
        };
        let answer = self.runtime.block_on(async {
            timeout(PATIENCE, self.calls.answer(message, Charge::default(), &caller, Some(&session))).await
        });
        let answer = answer.ok()??;
        assert!(answer.json.len() <= MAX_RESPONSE_BYTES as usize, "an answer has a limit");
        let said: Value = serde_json::from_str(&answer.json).expect("an answer is JSON");
        for one in said.as_array().map_or(std::slice::from_ref(&said), Vec::as_slice) {
            assert_ne!(one["error"]["code"].as_i64(), Some(INTERNAL_ERROR), "the node failed: {one}");
        }
        Some(said)
    }
}
