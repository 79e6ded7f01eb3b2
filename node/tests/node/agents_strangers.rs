//! Goal: a vehicle that has paid charges, and a producer is guarded, whatever strangers hold.
//! Method: a real node and real agents; strangers with a fresh key each take every connection and stream that
//! they are given, hold them silently or with lies, and come again at once, all from the host of the honest.

use std::time::Duration;

use evchain_node::agents::{AgentEvent, ChargeOutcome};
use evchain_node::network::{Multiaddr, NetworkLimits, Service, SessionEndpoint, key_in};
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::{ChainId, KeyPair, Preimage, PublicKey};
use evchain_protocol::primitives::{Amount, Height, TxRef};
use evchain_protocol::session::{Message, Open, PaymentKind, Resume};
use tokio::task::JoinSet;

use crate::agents_support::{START, World, key, order_from, tariff};

/// How long a stranger stays with what it holds.
const STAY: Duration = Duration::from_hours(1);

/// What strangers say first.
#[derive(Clone, Copy)]
enum Says {
    Nothing,
    /// That they have paid, in a block to come.
    Paid,
    /// That they were served before.
    Served,
}

impl Says {
    fn message(self, own: &KeyPair, producer: PublicKey) -> Option<Vec<u8>> {
        let name = |height| TxRef::new(Height::new(height), 0).expect("a name");
        let message = match self {
            Self::Nothing => return None,
            Self::Paid => Message::Open(Open {
                opening: Opening {
                    request: name(1),
                    price: Amount::new(1),
                    consumer: own.public_key(),
                    producer,
                    secret: Preimage::from_bytes([1; 32]),
                },
                kind: PaymentKind::Channel,
                payment: name(u64::from(u32::MAX)),
            }),
            Self::Served => Message::Resume(Resume { payment: name(2), released: 1, delivered: 1 }),
        };
        Some(message.encode())
    }
}

const ALL: [Says; 3] = [Says::Nothing, Says::Paid, Says::Served];

/// How many strangers come, and how. Above the rate of their host they would only keep each other out.
#[derive(Clone, Copy)]
struct Crowd {
    keys: u16,
    /// What they say first, in turn.
    says: &'static [Says],
    /// That each tries to hold.
    streams: usize,
    /// Between attempts.
    pause: Duration,
}

/// Strangers, until they are dropped.
fn strangers(crowd: &Crowd, service: Service, chain: ChainId, at: &Multiaddr) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (peer, pause) = (key_in(at).expect("a key"), crowd.pause);
    for number in 0..crowd.keys {
        let mut secret = [77; 32];
        secret[..2].copy_from_slice(&number.to_le_bytes());
        let own = KeyPair::from_secret(&secret);
        let says = crowd.says[usize::from(number) % crowd.says.len()];
        let first = says.message(&own, peer);
        let (endpoint, _) = SessionEndpoint::start(service, None, chain, &own, NetworkLimits::default())
            .expect("an endpoint");
        for _ in 0..crowd.streams {
            let (endpoint, at, first) = (endpoint.clone(), at.clone(), first.clone());
            tasks.spawn(async move {
                loop {
                    if let Ok(mut stream) = endpoint.open_session(peer, vec![at.clone()]).await {
                        if let Some(first) = &first {
                            let _ = stream.send(first).await;
                        }
                        while stream.receive(STAY).await.is_ok() {}
                    }
                    tokio::time::sleep(pause).await;
                }
            });
        }
    }
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vehicle_that_has_paid_charges_whatever_strangers_hold() {
    let world = World::start(&[1], 0).await;
    let chain = world.rpc().await.chain_id();
    // 16 of them could hold every place that one key after the other is given.
    let holds = Crowd { keys: 40, says: &ALL, streams: 4, pause: Duration::from_millis(300) };
    // They hold no session for long, and whatever looks strangers are given.
    let is_looked_at = Crowd { says: &[Says::Served], pause: Duration::from_millis(100), ..holds };
    let rounds =
        [(PaymentKind::Channel, holds), (PaymentKind::Chain, holds), (PaymentKind::Channel, is_looked_at)];
    for (kind, crowd) in rounds {
        let before = world.consumer_balance().await;
        let seller = world.produce(1, tariff(40)).await;
        let strangers = strangers(&crowd, Service::Charging, chain, &seller.contact());
        // They have every place that is left to them before the vehicle asks.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let report = world.charge(order_from(kind, 5, 5_000, 6_000)).await.report().await;
        assert_eq!(report.outcome, ChargeOutcome::Charged, "{kind:?}: {report:#?}");
        assert_eq!(world.consumer_balance().await, before.saturating_sub(report.paid));
        drop(strangers);
        assert_eq!(seller.finish().await.sessions, 1, "strangers have begun none");
    }
    // Thrice 44 kWh at 0.40 a kWh.
    assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(Amount::new(3 * 176_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_producer_is_guarded_whatever_strangers_hold() {
    const TOWER: u8 = 9;
    let world = World::start(&[1, TOWER], 10).await;
    // So few streams that the strangers could hold every connection, of which there are 160.
    let tower = world.watch(TOWER, |config| config.max_streams = 64).await;
    let crowd = Crowd { keys: 170, says: &ALL, streams: 1, pause: Duration::from_secs(6) };
    let strangers = strangers(&crowd, Service::Watching, world.rpc().await.chain_id(), &tower.address);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seller = world.produce_guarded(1, tariff(40), &tower.address).await;
    let charging = world.charge(order_from(PaymentKind::Channel, 8, 5_000, 12_000)).await;
    let is_told = |event: &AgentEvent| matches!(event, AgentEvent::Guarded { .. });
    seller.events.wait("a guarded state", is_told).await;
    let report = charging.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    drop(strangers);
    seller.finish().await;
    tower.finish().await;
}
