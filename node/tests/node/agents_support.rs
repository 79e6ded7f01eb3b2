//! One real node, and agents that know it by its RPC alone.

#![allow(dead_code, unreachable_pub)] // each test uses its part

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evchain_node::agents::consumer::{self, ChargeOrder, ConsumerConfig};
use evchain_node::agents::producer::{
    self, Mobility, ProducerConfig, ProducerReport, ProducerTariff, Reservation,
};
use evchain_node::agents::sessions::{self, EntryState, SessionEntry};
use evchain_node::agents::watchtower::{self, WatchConfig, WatchReport};
use evchain_node::agents::{AgentError, AgentEvent, ChargeReport, Observer, SessionReport};
use evchain_node::clock;
use evchain_node::mempool::PoolLimits;
use evchain_node::network::{Multiaddr, NetworkConfig};
use evchain_node::node::{Node, NodeConfig};
use evchain_node::rpc::{NodeApiClient, RpcClient, RpcConfig, RpcServer};
use evchain_node::wallet::Wallet;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::genesis::{Genesis, GenesisAccount};
use evchain_protocol::params::Params;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Nonce, Position, RegionId, Span, Window};
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Weights};
use evchain_protocol::session::pricing::{Pricing, Tariff};
use evchain_protocol::session::{ConsumerPolicy, PaymentKind, WantedLeads};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::PaymentKinds;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, Transaction};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::sync::CancellationToken;

/// What is not there after this time is missing.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// What everybody has at the start.
pub const START: Amount = Amount::new(1_000_000);
pub const REGION: RegionId = RegionId::new(17);

/// The outcome of a future that is expected to come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub fn key(seed: u8) -> KeyPair {
    KeyPair::from_secret(&[seed; 32])
}

/// A chain with one authority, whose node runs in this process.
pub struct World {
    pub folder: TempDir,
    pub wallet: Wallet,
    genesis: Genesis,
    rpc_config: RpcConfig,
    running: Option<Running>,
}

struct Running {
    server: RpcServer,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.server.stop().await;
        self.stop.send(()).expect("the node waits for it");
        self.task.await.expect("the node ends in order");
    }
}

/// To be stopped before its test ends.
pub struct BlankNode(Running);

impl BlankNode {
    pub async fn rpc(&self) -> RpcClient {
        connect(&format!("http://{}", self.0.server.address())).await
    }

    pub async fn stop(self) {
        self.0.stop().await;
    }
}

async fn connect(url: &str) -> RpcClient {
    let endpoint = url.parse().expect("an endpoint");
    RpcClient::connect(&[endpoint]).await.expect("the node answers")
}

impl Drop for World {
    /// A database that is still open when the process ends makes RocksDB abort it.
    fn drop(&mut self) {
        if self.running.is_some() && !std::thread::panicking() {
            block_in_place(|| Handle::current().block_on(self.stop_node()));
        }
    }
}

impl World {
    /// A consumer with a wallet, and producers with these seeds.
    pub async fn start(producers: &[u8], fee_flat: u64) -> Self {
        Self::start_with(producers, fee_flat, |_| {}).await
    }

    /// The same with other parameters.
    pub async fn start_with(producers: &[u8], fee_flat: u64, change: impl FnOnce(&mut Params)) -> Self {
        // With RUST_LOG=debug a failure tells its story. Fails where another test did it already.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).try_init();
        let folder = tempfile::tempdir().expect("a folder");
        let wallet = Wallet::create(&folder.path().join("wallet.json")).expect("a wallet");
        let account = |key: PublicKey, roles| GenesisAccount { key, balance: START, roles };
        let mut accounts = vec![account(wallet.main_key().public_key(), Roles::CONSUMER)];
        accounts.extend(producers.iter().map(|seed| account(key(*seed).public_key(), Roles::PRODUCER)));
        let mut genesis = Genesis {
            name: "agents".to_owned().try_into().expect("a name"),
            time: clock::now(),
            treasury: key(200).public_key(),
            authorities: List::new(vec![key(200).public_key()]).expect("one authority"),
            params: Params {
                state_tree_depth: 8,
                hop_bound: Span::new(200),
                idle_interval: Span::new(100),
                min_block_interval: Span::new(20),
                claim_margin: Span::new(8_000),
                min_challenge: Span::new(1_000),
                fee_flat: Amount::new(fee_flat),
                ..Params::default()
            },
            accounts: List::new(accounts).expect("few accounts"),
        };
        change(&mut genesis.params);
        let rpc_config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..RpcConfig::default() };
        let mut world = Self { folder, wallet, genesis, rpc_config, running: None };
        world.start_node().await;
        world
    }

    /// Starts the node on what it kept; its RPC has the same address each time.
    pub async fn start_node(&mut self) {
        let running = self.run_node("node", key(200), self.rpc_config.clone()).await;
        self.rpc_config.listen = running.server.address();
        self.running = Some(running);
    }

    /// A node that has no block yet, and nobody to get one from: like one that has just begun to catch up.
    pub async fn start_blank_node(&self) -> BlankNode {
        let rpc_config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..self.rpc_config.clone() };
        BlankNode(self.run_node("blank", key(201), rpc_config).await)
    }

    async fn run_node(&self, name: &str, key: KeyPair, rpc_config: RpcConfig) -> Running {
        let data_dir = self.folder.path().join(name);
        std::fs::create_dir_all(&data_dir).expect("a folder");
        let config = NodeConfig {
            key_file: data_dir.join("key"),
            data_dir,
            genesis: self.genesis.clone(),
            key,
            network: NetworkConfig {
                listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
                ..NetworkConfig::default()
            },
            pool: PoolLimits::default(),
            observe: false,
            vote_without_log: false,
        };
        let node = Node::start(config, &mut Registry::default()).await.expect("the node starts");
        let server = RpcServer::start(rpc_config, node.handle(), Registry::default()).await.expect("the RPC");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            node.run_until(async move { drop(stopped.await) })
                .await
                .expect("the node runs until it is stopped");
        });
        Running { server, stop, task }
    }

    pub async fn stop_node(&mut self) {
        self.running.take().expect("the node runs").stop().await;
    }

    pub fn rpc_url(&self) -> String {
        format!("http://{}", self.rpc_config.listen)
    }

    pub async fn rpc(&self) -> RpcClient {
        connect(&self.rpc_url()).await
    }

    pub async fn balance(&self, key: PublicKey) -> Amount {
        self.rpc().await.account(key).await.expect("an account").account.balance
    }

    pub async fn consumer_balance(&self) -> Amount {
        self.balance(self.wallet.main_key().public_key()).await
    }

    /// Where an agent keeps its journals.
    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until nobody holds an agent's journals: a killed process lets go of them at once, an aborted
    /// task only after the write that it was at.
    async fn wait_for_journals(&self, name: &str) {
        wait_until_free(&self.state_dir(name).join("sessions")).await;
    }

    /// Starts a producer's agent and waits until it takes sessions.
    pub async fn produce(&self, seed: u8, tariff: ProducerTariff) -> Producing {
        self.produce_at(seed, tariff, "/ip4/127.0.0.1/tcp/0".parse().expect("an address")).await
    }

    /// The same, at this address.
    pub async fn produce_at(&self, seed: u8, tariff: ProducerTariff, listen: Multiaddr) -> Producing {
        let listen: Multiaddr = listen.iter().take(2).collect();
        let producing = self.spawn_producer(seed, |dir| ProducerConfig::new(tariff, dir, listen)).await;
        producing
            .events
            .wait("a listening producer", |event| matches!(event, AgentEvent::Listening { .. }))
            .await;
        producing
    }

    /// A producer that cannot sell, and why; it listens at any address.
    pub async fn produce_in_vain(
        &self,
        seed: u8,
        tariff: ProducerTariff,
        leads: WantedLeads,
    ) -> (AgentError, Events) {
        let listen = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        let config = |dir| ProducerConfig { leads, ..ProducerConfig::new(tariff, dir, listen) };
        let Producing { events, stop, task } = self.spawn_producer(seed, config).await;
        let ended = soon("the producer's end", task).await.expect("no panic");
        assert!(!stop.is_cancelled(), "that is the caller's to do");
        (ended.expect_err("it cannot sell"), events)
    }

    async fn spawn_producer(&self, seed: u8, config: impl FnOnce(PathBuf) -> ProducerConfig) -> Producing {
        let (events, stop) = (Events::default(), CancellationToken::new());
        let name = format!("producer-{seed}");
        self.wait_for_journals(&name).await;
        let config = ProducerConfig { speed: SPEED, ..config(self.state_dir(&name)) };
        let running = producer::run(config, self.rpc().await, key(seed), events.observer(), stop.clone());
        let task = tokio::spawn(running);
        Producing { events, stop, task }
    }

    /// Starts a producer's agent with a watchtower and waits until it takes sessions.
    pub async fn produce_guarded(&self, seed: u8, tariff: ProducerTariff, tower: &Multiaddr) -> Producing {
        let listen = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        let watchtower = Some(tower.clone());
        let config = |dir| ProducerConfig { watchtower, ..ProducerConfig::new(tariff, dir, listen) };
        let producing = self.spawn_producer(seed, config).await;
        producing
            .events
            .wait("a listening producer", |event| matches!(event, AgentEvent::Listening { .. }))
            .await;
        producing
    }

    /// Starts a watchtower and waits until it takes channels under guard.
    pub async fn watch(&self, seed: u8, change: impl FnOnce(&mut WatchConfig)) -> Watching {
        self.watch_at(seed, self.rpc().await, change).await
    }

    /// The same, at another node.
    pub async fn watch_at(
        &self,
        seed: u8,
        rpc: RpcClient,
        change: impl FnOnce(&mut WatchConfig),
    ) -> Watching {
        let (events, stop) = (Events::default(), CancellationToken::new());
        let state_dir = self.state_dir(&format!("tower-{seed}"));
        wait_until_free(&state_dir).await;
        let mut config = WatchConfig::new(state_dir, "/ip4/127.0.0.1/tcp/0".parse().expect("an address"));
        change(&mut config);
        let running = watchtower::run(config, rpc, key(seed), events.observer(), stop.clone());
        let task = tokio::spawn(running);
        events.wait("a watching tower", |event| matches!(event, AgentEvent::Watching { .. })).await;
        let address = events.told().into_iter().find_map(|event| match event {
            AgentEvent::Watching { address, .. } => address.parse().ok(),
            _ => None,
        });
        Watching { events, stop, task, address: address.expect("an address") }
    }

    pub fn consumer_config(&self) -> ConsumerConfig {
        let policy = ConsumerPolicy { close_grace: Span::new(3_000), ..ConsumerPolicy::default() };
        ConsumerConfig { speed: SPEED, policy, ..ConsumerConfig::new(self.state_dir("consumer")) }
    }

    /// Charges in the background.
    pub async fn charge(&self, order: ChargeOrder) -> Charging {
        self.charge_observed(order, |_| {}).await
    }

    /// The same; the agent goes on with what it tells when `observe` has returned.
    pub async fn charge_observed(
        &self,
        order: ChargeOrder,
        observe: impl Fn(&AgentEvent) + Send + Sync + 'static,
    ) -> Charging {
        let (events, stop) = (Events::default(), CancellationToken::new());
        let (rpc, config) = (self.rpc().await, self.consumer_config());
        let (told, token) = (events.observer(), stop.clone());
        let observer: Observer = Arc::new(move |event| {
            told(event);
            observe(event);
        });
        let wallet = Wallet::open(self.wallet.path()).expect("the wallet");
        let task = tokio::spawn(async move {
            Box::pin(consumer::run(&config, &order, rpc, &wallet, observer, token)).await
        });
        Charging { events, stop, task }
    }

    /// The only session of an agent that was killed.
    pub async fn interrupted(&self, name: &str) -> SessionEntry {
        self.wait_for_journals(name).await;
        let mut entries = sessions::list(&self.state_dir(name)).expect("a list");
        let entry = entries.pop().expect("a session");
        assert!(entries.is_empty() && entry.state == EntryState::Interrupted, "{entry:?}, {entries:?}");
        entry
    }

    /// The file of the only interrupted session of an agent.
    pub async fn journal(&self, name: &str) -> PathBuf {
        let entry = self.interrupted(name).await;
        self.state_dir(name).join("sessions").join(entry.name).with_extension("journal")
    }

    /// Ends a sale that was interrupted.
    pub async fn abort_sale(&self, seed: u8, name: &str) -> Option<SessionReport> {
        self.try_abort_sale(seed, key(seed), name).await.expect("it ends")
    }

    /// The same, with some key.
    pub async fn try_abort_sale(
        &self,
        seed: u8,
        key: KeyPair,
        name: &str,
    ) -> Result<Option<SessionReport>, AgentError> {
        let (dir, events) = (self.state_dir(&format!("producer-{seed}")), Events::default());
        let aborted = producer::abort(&dir, name, self.rpc().await, key, events.observer());
        soon("the sale's end", aborted).await
    }

    /// Brings a transfer to the chain.
    pub async fn transfer(&self, from: &KeyPair, to: PublicKey, amount: Amount) {
        self.submit(from, Action::Transfer(Transfer { to, amount })).await;
    }

    /// Brings an action to the chain.
    pub async fn submit(&self, sender: &KeyPair, action: Action) {
        submit(&self.rpc().await, sender, action).await;
    }

    /// Ends a charge that was interrupted.
    pub async fn abort_charge(&self, name: &str) -> Option<ChargeReport> {
        let (config, events, stop) = (self.consumer_config(), Events::default(), CancellationToken::new());
        stop.cancel();
        let rpc = self.rpc().await;
        let aborted = consumer::resume_named(&config, name, rpc, &self.wallet, events.observer(), stop);
        soon("the charge's end", aborted).await.expect("it ends")
    }

    /// Goes on with what was interrupted.
    pub async fn resume_charges(&self) -> Vec<ChargeReport> {
        self.try_resume_charges().await.into_iter().map(|charge| charge.expect("it ends")).collect()
    }

    /// Goes on with what was interrupted, of which some may fail.
    pub async fn try_resume_charges(&self) -> Vec<Result<ChargeReport, AgentError>> {
        self.wait_for_journals("consumer").await;
        let (config, events) = (self.consumer_config(), Events::default());
        let resumed = consumer::resume(
            &config,
            self.rpc().await,
            &self.wallet,
            events.observer(),
            CancellationToken::new(),
        );
        soon("the resumed charges", resumed).await.expect("they go on")
    }
}

/// Brings an action to the chain.
pub async fn submit(rpc: &RpcClient, sender: &KeyPair, action: Action) {
    let account = rpc.account(sender.public_key()).await;
    let nonce = account.map_or(Nonce::ZERO, |account| account.next_nonce);
    let signed = Transaction { sender: sender.public_key(), nonce, action }.sign(sender, rpc.chain_id());
    rpc.submit_and_wait(hex::encode(signed.to_bytes()), 10_000).await.expect("final");
}

async fn wait_until_free(folder: &Path) {
    soon("the journals", async {
        while !are_free(folder) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Whether nobody holds a file in this folder, if there is one.
fn are_free(folder: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(folder) else { return true };
    files.into_iter().all(|entry| {
        let file = File::open(entry.expect("an entry").path()).expect("a file");
        file.try_lock().is_ok()
    })
}

/// 22 kW for a second are 6 Wh; with this a second is an hour.
pub const SPEED: u32 = 3_600;

pub struct Producing {
    pub events: Events,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<ProducerReport, AgentError>>,
}

impl Producing {
    /// Where it takes sessions.
    pub fn contact(&self) -> Multiaddr {
        let contact = self.events.told().into_iter().find_map(|event| match event {
            AgentEvent::Listening { contact } => contact.parse().ok(),
            _ => None,
        });
        contact.expect("it listens")
    }

    pub async fn finish(self) -> ProducerReport {
        self.stop.cancel();
        soon("the producer's end", self.task).await.expect("no panic").expect("an orderly end")
    }

    /// As kill -9: nothing is said and nothing is written any more.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("it was aborted").is_cancelled());
    }
}

pub struct Watching {
    pub events: Events,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<WatchReport, AgentError>>,
    /// Where producers reach it.
    pub address: Multiaddr,
}

impl Watching {
    pub async fn finish(self) -> WatchReport {
        self.stop.cancel();
        soon("the tower's end", self.task).await.expect("no panic").expect("an orderly end")
    }

    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("it was aborted").is_cancelled());
    }

    /// Installments of the newest state that it holds.
    pub fn held(&self) -> u32 {
        let held = self.events.told().into_iter().filter_map(|event| match event {
            AgentEvent::Guarding { released, .. } => Some(released),
            _ => None,
        });
        held.max().unwrap_or(0)
    }
}

pub struct Charging {
    pub events: Events,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<ChargeReport, AgentError>>,
}

impl Charging {
    pub async fn report(self) -> ChargeReport {
        soon("the charge's end", self.task).await.expect("no panic").expect("a report")
    }

    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("it was aborted").is_cancelled());
    }
}

/// What an agent has told so far.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<AgentEvent>>>);

impl Events {
    pub fn observer(&self) -> Observer {
        let told = Arc::clone(&self.0);
        Arc::new(move |event| {
            tracing::info!(?event, "agent");
            told.lock().expect("no panic").push(event.clone());
        })
    }

    pub fn told(&self) -> Vec<AgentEvent> {
        self.0.lock().expect("no panic").clone()
    }

    pub async fn wait(&self, what: &str, is_it: impl Fn(&AgentEvent) -> bool) {
        soon(what, async {
            while !self.told().iter().any(&is_it) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until so many installments are delivered.
    pub async fn wait_delivered(&self, index: u32) {
        let delivered =
            |event: &AgentEvent| matches!(event, AgentEvent::Delivered { index: k, .. } if *k >= index);
        self.wait("a delivery", delivered).await;
    }
}

pub fn position(latitude_e7: i32) -> Position {
    Position { latitude_e7, longitude_e7: 130_000_000 }
}

pub fn tariff(cents_per_kwh: u64) -> ProducerTariff {
    ProducerTariff {
        region: REGION,
        position: position(478_000_000),
        mobility: Mobility::Station,
        power_w: 22_000,
        connectors: 2,
        energy: None,
        reservation: Reservation::Exclusive,
        pricing: Pricing::Fixed(Tariff {
            price_per_kwh: Amount::new(cents_per_kwh * 100),
            flat: Amount::ZERO,
        }),
        max_updates: 0,
        kinds: PaymentKinds::ALL,
        max_installments: InstallmentCount::new(100).expect("a number"),
        cancel_lead: None,
        early_tolerance: Span::ZERO,
    }
}

/// 44 kWh, two seconds of simulated power, in a window that starts soon.
pub fn order(kind: PaymentKind, installments: u32) -> ChargeOrder {
    order_from(kind, installments, 5_000, 6_000)
}

pub fn order_from(kind: PaymentKind, installments: u32, from_ms: u64, length_ms: u64) -> ChargeOrder {
    let start = clock::now().saturating_after(Span::new(from_ms)).ceil_to_tick();
    let window = Window { start, end: start.saturating_after(Span::new(length_ms)) };
    let choice = Choice {
        price_per_km: Amount::new(1_000),
        weights: Weights::default(),
        max_distance: Distance::new(100_000),
        max_price: Amount::new(500_000),
        max_doubt: Doubt::MAX,
    };
    ChargeOrder {
        kinds: vec![kind],
        installments: InstallmentCount::new(installments).expect("a number"),
        bidding: Span::new(1_000),
        min_stations: 2,
        ..ChargeOrder::new(REGION, window, Energy::new(44_000), position(478_100_000), choice)
    }
}
