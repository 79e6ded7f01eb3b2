//! Goal: `evchain watch` collects what a producer that never comes back was paid, and nothing more.
//! Method: a real node, real agents and a real tower in one process; the producer's agent is killed in the
//! middle of a session by channel, and the consumer posts the initial state, or nobody posts anything.

use std::collections::BTreeSet;
use std::time::Duration;

use evchain_node::agents::watchtower::{self, WatchConfig};
use evchain_node::agents::{AgentError, AgentEvent, ChargeOutcome, Warning, sessions};
use evchain_node::network::{NetworkLimits, Service, SessionEndpoint, SessionError, SessionStream};
use evchain_protocol::crypto::{KeyPair, PublicKey, Signature};
use evchain_protocol::primitives::{Amount, Span, TxRef};
use evchain_protocol::session::{GuardRefusal, Guarded, PaymentKind, Refused, WatchMessage};
use evchain_protocol::state::channel::{ChannelState, CoSignedState};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::channel::ForceCloseChannel;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agents_support::{Events, PATIENCE, START, Watching, World, key, order_from, soon, tariff};

const FEE: u64 = 10;
/// One of 8 installments of 44 kWh at 40 cents.
const INSTALLMENT: u64 = 22_000;
const TOWER: u8 = 9;
/// How long the node is away; its database is closed by then.
const AWAY: Duration = Duration::from_secs(1);

async fn world(challenge_ms: u64) -> World {
    World::start_with(&[1, TOWER], FEE, |params| params.min_challenge = Span::new(challenge_ms)).await
}

/// A channel under guard whose two sides are gone.
struct Deserted {
    channel: TxRef,
    consumer: KeyPair,
    /// The newest state that the tower has.
    held: u32,
    producer_had: Amount,
}

/// A session of 8 installments whose two agents are killed after some.
async fn deserted(world: &World, tower: &Watching, length_ms: u64) -> Deserted {
    let seller = world.produce_guarded(1, tariff(40), &tower.address).await;
    let charging = world.charge(order_from(PaymentKind::Channel, 8, 5_000, length_ms)).await;
    let is_some =
        |event: &AgentEvent| matches!(event, AgentEvent::Guarded { released, .. } if *released >= 4);
    seller.events.wait("a guarded state", is_some).await;
    seller.kill().await;
    charging.kill().await;
    let entry = world.interrupted("consumer").await;
    let fresh = entry.consumer.expect("it has asked");
    let consumer = (1..9).map(|index| world.wallet.key(index)).find(|key| key.public_key() == fresh);
    Deserted {
        channel: entry.payment.expect("it has paid"),
        consumer: consumer.expect("a key of the wallet"),
        held: tower.held(),
        producer_had: world.balance(key(1).public_key()).await,
    }
}

async fn wait_for_end(tower: &Watching, ended: TxRef) {
    let is_end =
        |event: &AgentEvent| matches!(event, AgentEvent::GuardEnded { channel } if *channel == ended);
    tower.events.wait("the channel's end", is_end).await;
}

fn has_posted(tower: &Watching, state: u32) -> bool {
    let is_post =
        |event: &AgentEvent| matches!(event, AgentEvent::Posting { released, .. } if *released == state);
    tower.events.told().iter().any(is_post)
}

async fn tower_balance(world: &World) -> Amount {
    world.balance(key(TOWER).public_key()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tower_answers_an_older_state_though_it_was_killed_itself() {
    tokio::join!(answer_an_older_state(false), answer_an_older_state(true));
}

/// The tower is up when the older state comes, or was killed and finds it when it is started again.
async fn answer_an_older_state(is_killed: bool) {
    let world = world(6_000).await;
    let mut tower = world.watch(TOWER, |_| {}).await;
    let Deserted { channel, consumer, held, producer_had } = deserted(&world, &tower, 12_000).await;
    let initial = Action::ForceCloseChannel(ForceCloseChannel { channel, state: None });
    if is_killed {
        tower.kill().await;
        world.submit(&consumer, initial).await;
        tower = world.watch(TOWER, |_| {}).await;
    } else {
        world.submit(&consumer, initial).await;
    }
    wait_for_end(&tower, channel).await;

    assert!(held >= 4 && has_posted(&tower, held), "{held}");
    let paid = Amount::new(INSTALLMENT * u64::from(held));
    assert_eq!(world.balance(key(1).public_key()).await, producer_had.saturating_add(paid));
    assert_eq!(tower_balance(&world).await, START.saturating_sub(Amount::new(FEE)), "one fee");
    let report = tower.finish().await;
    assert_eq!((report.posted, report.ended, report.guarded), (1, 1, 0));
    // Nothing is left to guard, and the journal says so.
    let tower = world.watch(TOWER, |_| {}).await;
    assert_eq!(tower.finish().await.guarded, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tower_that_starts_at_a_node_that_is_behind_forgets_nothing() {
    let world = world(6_000).await;
    let tower = world.watch(TOWER, |_| {}).await;
    let Deserted { channel, consumer, held, .. } = deserted(&world, &tower, 12_000).await;
    tower.kill().await;
    let blank = world.start_blank_node().await;
    let tower = world.watch_at(TOWER, blank.rpc().await, |_| {}).await;
    // Long enough to look, and to believe that the channel has ended.
    tokio::time::sleep(AWAY).await;
    let report = tower.finish().await;
    assert_eq!((report.ended, report.guarded), (0, 1));
    blank.stop().await;

    let tower = world.watch(TOWER, |_| {}).await;
    world.submit(&consumer, Action::ForceCloseChannel(ForceCloseChannel { channel, state: None })).await;
    wait_for_end(&tower, channel).await;
    assert!(held >= 4 && has_posted(&tower, held), "{held}");
    tower.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tower_posts_before_the_deadline_what_nobody_closed_though_its_node_was_away() {
    let mut world = world(3_000).await;
    let tower = world.watch(TOWER, |_| {}).await;
    let Deserted { channel, held, producer_had, .. } = deserted(&world, &tower, 3_000).await;
    world.stop_node().await;
    tokio::time::sleep(AWAY).await;
    world.start_node().await;
    wait_for_end(&tower, channel).await;

    assert!(held >= 4 && has_posted(&tower, held), "{held}");
    let paid = Amount::new(INSTALLMENT * u64::from(held));
    assert_eq!(world.balance(key(1).public_key()).await, producer_had.saturating_add(paid));
    assert_eq!(tower_balance(&world).await, START.saturating_sub(Amount::new(FEE)), "one fee");
    let report = tower.finish().await;
    assert_eq!((report.taken, report.posted, report.ended, report.guarded), (1, 1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_does_not_need_its_tower_and_a_tower_not_every_client() {
    let world = world(1_000).await;
    let others: BTreeSet<PublicKey> = [key(7).public_key()].into();
    let tower = world.watch(TOWER, |config| config.allow = Some(others)).await;
    let seller = world.produce_guarded(1, tariff(40), &tower.address).await;
    let charging = world.charge(order_from(PaymentKind::Channel, 8, 4_000, 6_000)).await;
    let is_told = |event: &AgentEvent| matches!(event, AgentEvent::Warned(Warning::Trouble { reason }) if reason.contains("does not work for"));
    seller.events.wait("the tower's refusal", is_told).await;
    assert!(!tower.events.told().iter().any(|event| matches!(event, AgentEvent::Guarding { .. })));
    // From now on nobody listens at its address.
    tower.kill().await;
    let report = charging.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    seller.finish().await;
    assert_eq!(tower_balance(&world).await, START, "nothing was to be done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tower_without_money_says_so_at_once() {
    let world = world(1_000).await;
    let config =
        WatchConfig::new(world.state_dir("poor"), "/ip4/127.0.0.1/tcp/0".parse().expect("an address"));
    let (events, stop) = (Events::default(), CancellationToken::new());
    let running = watchtower::run(config, world.rpc().await, key(77), events.observer(), stop);
    let ended = soon("the tower's refusal", running).await;
    let Err(AgentError::Settings(reason)) = ended else { panic!("{ended:?}") };
    assert!(reason.contains("has no account") && reason.contains("evchain tx transfer"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tower_answers_for_several_channels_together() {
    let world = world(6_000).await;
    let tower = world.watch(TOWER, |_| {}).await;
    let seller = world.produce_guarded(1, tariff(40), &tower.address).await;
    let wanted = || {
        let mut order = order_from(PaymentKind::Channel, 8, 5_000, 12_000);
        // The main key funds both.
        order.choice.max_price = Amount::new(300_000);
        order
    };
    let (first, second) = (world.charge(wanted()).await, world.charge(wanted()).await);
    soon("two guarded channels", async {
        while guarded(&seller.events).len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    seller.kill().await;
    first.kill().await;
    second.kill().await;
    tower.kill().await;
    let entries = sessions::list(&world.state_dir("consumer")).expect("a list");
    let keys: Vec<KeyPair> = (1..9).map(|index| world.wallet.key(index)).collect();
    let mut channels = Vec::new();
    for entry in entries {
        let channel = entry.payment.expect("it has paid");
        let consumer = keys.iter().find(|key| Some(key.public_key()) == entry.consumer).expect("a key");
        world.submit(consumer, Action::ForceCloseChannel(ForceCloseChannel { channel, state: None })).await;
        channels.push(channel);
    }
    assert_eq!(channels.len(), 2);
    let tower = world.watch(TOWER, |_| {}).await;
    for channel in channels {
        wait_for_end(&tower, channel).await;
    }
    let report = tower.finish().await;
    assert_eq!((report.posted, report.ended, report.guarded), (2, 2, 0));
    assert_eq!(tower_balance(&world).await, START.saturating_sub(Amount::new(2 * FEE)), "one fee each");
}

/// The channels that a producer was told to be under guard.
fn guarded(events: &Events) -> BTreeSet<TxRef> {
    let told = events.told().into_iter();
    told.filter_map(|event| match event {
        AgentEvent::Guarded { payment, .. } => Some(payment),
        _ => None,
    })
    .collect()
}

/// An endpoint that speaks a tower's protocol.
async fn endpoint(world: &World, seed: u8) -> (SessionEndpoint, mpsc::Receiver<SessionStream>) {
    let listen = Some("/ip4/127.0.0.1/tcp/0".parse().expect("an address"));
    let (chain, limits) = (world.rpc().await.chain_id(), NetworkLimits::default());
    SessionEndpoint::start(Service::Watching, listen, chain, &key(seed), limits).expect("an endpoint")
}

async fn question(stream: &mut SessionStream) -> CoSignedState {
    let bytes = stream.receive(PATIENCE).await.expect("a question");
    let Ok(WatchMessage::Guard(state)) = WatchMessage::decode(&bytes) else { panic!("{bytes:?}") };
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refusal_that_may_pass_is_asked_again_without_a_further_installment() {
    let world = world(1_000).await;
    let (tower, mut streams) = endpoint(&world, TOWER).await;
    let address = tower.listen_addresses().await.expect("an address").remove(0);
    let seller = world.produce_guarded(1, tariff(40), &address).await;
    let charging = world.charge(order_from(PaymentKind::Channel, 8, 4_000, 12_000)).await;
    let mut stream = soon("a stream", streams.recv()).await.expect("a stream");
    let first = question(&mut stream).await;
    charging.kill().await;
    let channel = first.state.channel;
    let refused = WatchMessage::Refused(Refused { channel, reason: GuardRefusal::NoChannel });
    stream.send(&refused.encode()).await.expect("it is there");
    stream.close().await;
    let mut stream = soon("another stream", streams.recv()).await.expect("a stream");
    let again = question(&mut stream).await.state;
    assert_eq!(again.channel, channel);
    let guarded = WatchMessage::Guarded(Guarded { channel, released: again.released });
    stream.send(&guarded.encode()).await.expect("it is there");
    let is_told = |event: &AgentEvent| matches!(event, AgentEvent::Guarded { released, .. } if *released == again.released);
    seller.events.wait("the tower's answer", is_told).await;
    seller.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strangers_do_not_keep_a_producer_away() {
    let world = world(1_000).await;
    let tower = world.watch(TOWER, |config| config.max_streams = 2).await;
    let mut strangers = Vec::new();
    for seed in 50..53 {
        let (endpoint, _) = endpoint(&world, seed).await;
        let peer = key(TOWER).public_key();
        let stream = endpoint.open_session(peer, vec![tower.address.clone()]).await.expect("a stream");
        strangers.push((endpoint, stream));
    }
    let (_, first) = &mut strangers[0];
    let ended = first.receive(PATIENCE).await;
    assert!(
        matches!(ended, Err(SessionError::Closed | SessionError::Failed(_))),
        "the idlest goes: {ended:?}"
    );
    // Nonsense is answered once.
    let (_, last) = &mut strangers[2];
    let signature = Signature::from_bytes([0; 64]);
    let state = ChannelState { channel: TxRef::MAX, released: 2, closing: false };
    let nonsense = CoSignedState { state, consumer: signature, producer: signature };
    last.send(&WatchMessage::Guard(nonsense).encode()).await.expect("it is there");
    let refused = Refused { channel: TxRef::MAX, reason: GuardRefusal::NoChannel };
    let answer = last.receive(PATIENCE).await.expect("an answer");
    assert_eq!(WatchMessage::decode(&answer), Ok(WatchMessage::Refused(refused)));
    assert!(matches!(last.receive(PATIENCE).await, Err(SessionError::Closed)));

    let seller = world.produce_guarded(1, tariff(40), &tower.address).await;
    let charging = world.charge(order_from(PaymentKind::Channel, 8, 4_000, 6_000)).await;
    let is_told = |event: &AgentEvent| matches!(event, AgentEvent::Guarded { .. });
    seller.events.wait("a guarded state", is_told).await;
    let report = charging.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    seller.finish().await;
    tower.finish().await;
}
