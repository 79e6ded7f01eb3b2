use std::time::Duration;

use evchain_node::rpc::RpcClient;
use evchain_node::wallet::Sender;
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::primitives::{Amount, Nonce};
use evchain_protocol::state::account::Roles;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::transfer::Transfer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{ChainFiles, Participant};
use crate::fault::error::FaultError;
use crate::report::{LatencyFigures, Samples};

/// Honest clients, each with an account.
const CLIENTS: usize = 25;
/// What all of them send, in transfers a second.
pub(super) const RATE: u32 = 100;
/// How long a client waits at one validator before it asks the next.
const TRY: Duration = Duration::from_secs(3);
/// The pause after a validator did not help.
const PAUSE: Duration = Duration::from_millis(20);
/// What a client has: EUR 1,000.
const MONEY: Amount = Amount::new(10_000_000);
/// Transfers that wait to be counted.
const UNCOUNTED: usize = 1 << 16;

/// Honest clients that pay at a fixed rate, whatever becomes of it: a transfer that is late does not make
/// the next one late, and its time counts from when it was due.
#[derive(Debug)]
pub(super) struct Honest {
    stop: CancellationToken,
    clients: JoinSet<()>,
    arriving: mpsc::Receiver<Done>,
    done: Vec<Done>,
}

/// A transfer that became final.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    /// When it was to be sent.
    pub(super) due: Instant,
    /// When its sender knew that it is final.
    pub(super) known: Instant,
}

/// What honest clients got in a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    /// Transfers that became final.
    pub(super) finals: u64,
    /// Transfers that were due and are not final yet.
    pub(super) missing: u64,
    /// How long it was.
    pub(super) length: Duration,
    /// From when those that are final were due until their senders knew.
    pub(super) latency: Option<LatencyFigures>,
}

/// The accounts of the honest clients.
pub(super) fn honest() -> impl Iterator<Item = Participant> {
    let names = (1..=CLIENTS).map(name).chain([SHOP.to_owned()]);
    names.map(|name| Participant { name, roles: Roles::CONSUMER, balance: MONEY })
}

impl Honest {
    /// Begins to pay through these validators, each client through another one first.
    pub(super) async fn start(files: &ChainFiles, clients: &[RpcClient]) -> Result<Self, FaultError> {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let (done, arriving) = mpsc::channel(UNCOUNTED);
        let shop_key = files.wallet(SHOP)?.main_key().public_key();
        let begun = Instant::now();
        for number in 0..CLIENTS {
            let key = files.wallet(&name(number + 1))?.main_key();
            let payer = Payer::new(&key, clients, number, shop_key);
            let nonce = payer.sender().next_nonce().await?;
            let first = begun + Duration::from_secs(1) * u32::try_from(number).unwrap_or(0) / RATE;
            tasks.spawn(payer.run(nonce, first, done.clone(), stop.clone()));
        }
        Ok(Self { stop, clients: tasks, arriving, done: Vec::new() })
    }

    /// What became of the transfers between two moments. Those that were due then and are not final yet
    /// have no time, so this is asked once they are.
    pub(super) fn service(&mut self, from: Instant, to: Instant) -> Service {
        while let Ok(done) = self.arriving.try_recv() {
            self.done.push(done);
        }
        let within = |moment: Instant| (from..to).contains(&moment);
        let finals = self.done.iter().filter(|done| within(done.known)).count() as u64;
        let mut samples = Samples::default();
        for done in self.done.iter().filter(|done| within(done.due)) {
            samples.add(u64::try_from((done.known - done.due).as_millis()).unwrap_or(u64::MAX));
        }
        let length = to - from;
        let due = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).saturating_mul(RATE.into()) / 1_000;
        let latency = samples.figures();
        // Each client may have one at either end, since the moments lie anywhere between two of them.
        let counted = latency.map_or(0, |latency| latency.count as u64) + CLIENTS as u64;
        Service { finals, missing: due.saturating_sub(counted), length, latency }
    }

    /// Ends the clients once their transfers under way are final.
    pub(super) async fn finish(mut self) -> Result<(), FaultError> {
        self.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        Ok(())
    }
}

const SHOP: &str = "shop";

fn name(number: usize) -> String {
    format!("client-{number}")
}

struct Payer {
    senders: Vec<Sender>,
    current: usize,
    to: PublicKey,
}

impl Payer {
    fn new(key: &KeyPair, clients: &[RpcClient], first: usize, to: PublicKey) -> Self {
        let senders = clients.iter().map(|client| Sender::new(client.clone(), key.clone())).collect();
        Self { senders, current: first, to }
    }

    fn sender(&self) -> &Sender {
        &self.senders[self.current % self.senders.len()]
    }

    async fn run(
        mut self,
        first: Nonce,
        first_due: Instant,
        done: mpsc::Sender<Done>,
        stop: CancellationToken,
    ) {
        let period = Duration::from_secs(1) * u32::try_from(CLIENTS).unwrap_or(1) / RATE;
        let (mut nonce, mut due) = (first, first_due);
        while !stop.is_cancelled() {
            tokio::time::sleep_until(due).await;
            let action = Action::Transfer(Transfer { to: self.to, amount: Amount::new(1) });
            let signed = self.sender().sign(nonce, action);
            while self.sender().send_signed(&signed, TRY).await.is_err() {
                if stop.is_cancelled() {
                    return;
                }
                self.current += 1;
                tokio::time::sleep(PAUSE).await;
            }
            if done.send(Done { due, known: Instant::now() }).await.is_err() {
                return;
            }
            let Ok(next) = nonce.next() else { return };
            (nonce, due) = (next, due + period);
        }
    }
}
