//! A producer at work: its record, its bids, its sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::TxRef;
use evchain_protocol::sealed::MAX_SEALED_CONTACT_BYTES;
use evchain_protocol::session::{
    Margins, Message, PaymentKind, ProducerOutput, ProducerPolicy, ProducerRecord, ProducerSession,
    RejectReason,
};
use evchain_protocol::state::auction::{MAX_CONTACT_BYTES, Place, Station};
use evchain_protocol::text::Text;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::station::RecordStation;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::bidder::Bidder;
use super::config::{ProducerConfig, ProducerReport};
use super::customers::{self, Customers};
use super::greet::{Facts, Greeted, Greeter};
use super::guarding::Guarding;
use super::recover::{Interrupted, last_word, recover, unfinished_sales};
use super::session::Driver;
use super::slots::Slots;
use super::tariff::Mobility;
use crate::agents::address::reachable;
use crate::agents::chain::asking::Asking;
use crate::agents::chain::blocks::Blocks;
use crate::agents::chain::finality::FinalityMeter;
use crate::agents::chain::nodes::{Nodes, Signer};
use crate::agents::chain::settle::Settlements;
use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Observer, Warning};
use crate::agents::journal::{self, Journal};
use crate::agents::line::Line;
use crate::agents::meter::Meter;
use crate::agents::report::{Phase, SessionReport};
use crate::clock;
use crate::network::{GuestKeys, Guests, Service, SessionEndpoint, SessionStream};
use crate::rpc::{NodeApiClient, RpcClient};

/// Connections of one session that wait to be taken up.
const CONNECTIONS: usize = 4;
/// How much longer than a receipt may take the sessions get to end when the agent is stopped.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Sells energy until `stop` is cancelled. Sessions that run then are stopped and settled as far as
/// they are in a few seconds; what is left goes on with the next start. Dropping the future is like
/// a crash: nothing is lost either.
///
/// # Errors
/// [`AgentError`] where the agent cannot start, or its journals cannot be written.
pub async fn run(
    config: ProducerConfig,
    rpc: RpcClient,
    key: KeyPair,
    observer: Observer,
    stop: CancellationToken,
) -> Result<ProducerReport, AgentError> {
    config.tariff.check().map_err(|error| AgentError::Settings(error.to_string()))?;
    let nodes = Nodes::new(rpc.clone(), Arc::clone(&observer));
    check_account(&nodes, key.public_key()).await?;
    let params =
        nodes.need("ask for the chain's parameters", |rpc| async move { rpc.params().await }).await?;
    let (guests, keys) = watch::channel(GuestKeys::default());
    let (endpoint, sessions) = SessionEndpoint::start_for(
        Service::Charging,
        Some(config.listen.clone()),
        nodes.chain(),
        &key,
        customers::limits(),
        Some(Guests { keys, strangers: customers::STRANGERS }),
    )?;
    let guarding = Guarding::start(config.watchtower.as_ref(), &nodes, &key)?;
    let contact = contact(&config, &endpoint).await?;
    let listening = AgentEvent::Listening { contact: contact.as_str().to_owned() };
    let signer = Arc::new(Signer::new(nodes, key));
    let place = announce(&config, &signer, contact).await?;
    let meter = FinalityMeter::of_recent_blocks(&signer.nodes).await?;
    let blocks = Blocks::follow(rpc.clone(), Arc::clone(&observer), meter);
    let bidder = bidder(&config, &params, &signer, &blocks, rpc, place).await?;
    let finality = blocks.finality(&params);
    let (margins, obstacle) = match Margins::choose(&params, finality, config.leads) {
        Ok(margins) => (margins, None),
        Err(error) => (Margins::at_best(&params, finality), Some(AgentError::margins(finality, &error))),
    };
    let customers = Customers::new(signer.nodes.clone(), signer.address(), blocks.reader(), guests);
    let overbooked = config.tariff.overbooked();
    let greeter = Greeter::new(signer.nodes.clone(), signer.address(), overbooked, customers.expected());
    let mut producer = Producer {
        customers,
        greeter,
        policy: config.policy(margins),
        folder: config.state_dir.join("sessions"),
        config,
        signer,
        blocks,
        guarding,
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
        greeting: JoinSet::new(),
        // Its own, so that it can end its sessions without telling the caller's other agents.
        stop: stop.child_token(),
        report: ProducerReport::default(),
    };
    producer.resume()?;
    if let Some(error) = obstacle {
        return producer.settle_only(error, &stop).await;
    }
    observer(&listening);
    producer.work(bidder, sessions).await?;
    // The endpoint lives as long as its sessions.
    drop(endpoint);
    Ok(producer.report)
}

/// A key that cannot bid is told so at once and not with the first request.
async fn check_account(nodes: &Nodes, key: PublicKey) -> Result<(), AgentError> {
    match nodes.account(key).await? {
        Some(account) if account.standing.is_producer() => Ok(()),
        _ => Err(AgentError::Settings(format!(
            "{key} is not admitted as a producer: an authority admits it by `evchain tx admit`"
        ))),
    }
}

/// Where consumers reach this agent.
async fn contact(
    config: &ProducerConfig,
    endpoint: &SessionEndpoint,
) -> Result<Text<MAX_CONTACT_BYTES>, AgentError> {
    let address = reachable(&config.listen, config.advertise.as_ref(), endpoint).await?;
    Text::new(address.to_string())
        .map_err(|error| AgentError::Settings(format!("the session's address cannot be a contact: {error}")))
}

/// Brings the station's record up to date. For a vehicle, gives what its bids tell the consumers.
async fn announce(
    config: &ProducerConfig,
    signer: &Signer,
    contact: Text<MAX_CONTACT_BYTES>,
) -> Result<Option<Place>, AgentError> {
    let tariff = &config.tariff;
    if tariff.mobility == Mobility::Vehicle {
        // The consumer knows the peer by the bid's sender, and there is no room to say it again.
        let address = contact.as_str().split("/p2p/").next().unwrap_or_default();
        let contact = Text::new(address).map_err(|error| AgentError::Settings(error.to_string()))?;
        if address.len() > MAX_SEALED_CONTACT_BYTES {
            return Err(AgentError::Settings(format!(
                "a vehicle's address has at most {MAX_SEALED_CONTACT_BYTES} bytes, and {address} is longer"
            )));
        }
        return Ok(Some(Place { position: tariff.position, contact }));
    }
    let station = Station {
        region: tariff.region,
        position: tariff.position,
        power_w: tariff.power_w,
        connectors: tariff.connectors,
        contact,
    };
    let own = signer.address();
    let found =
        signer.nodes.ask("ask for the own station", |rpc| async move { rpc.station(own).await }).await?;
    if found.is_none_or(|info| info.station != station) {
        signer.send(Phase::Exploration, &Action::RecordStation(RecordStation { station })).await?;
    }
    Ok(None)
}

async fn bidder(
    config: &ProducerConfig,
    params: &Params,
    signer: &Arc<Signer>,
    blocks: &Blocks,
    rpc: RpcClient,
    place: Option<Place>,
) -> Result<Bidder, AgentError> {
    let news = blocks.reader();
    Ok(Bidder {
        requests: rpc.follow_requests(Some(config.tariff.region)).await?,
        tariff: config.tariff.clone(),
        speed: config.speed,
        place,
        max_installments: params.max_installments,
        signer: Arc::clone(signer),
        news,
        slots: Slots::new(&config.tariff),
        answered: BTreeSet::new(),
        standing: BTreeMap::new(),
        waiting: BTreeMap::new(),
        bids: 0,
    })
}

/// The sessions of a producer.
struct Producer {
    config: ProducerConfig,
    policy: ProducerPolicy,
    folder: PathBuf,
    signer: Arc<Signer>,
    blocks: Blocks,
    guarding: Guarding,
    /// By payment: the consumer, and where its new connections go.
    running: BTreeMap<TxRef, Running>,
    tasks: JoinSet<(TxRef, Result<SessionReport, AgentError>)>,
    customers: Customers,
    greeter: Greeter,
    /// Connections that have not said what they want. As many as the endpoint lets in.
    greeting: JoinSet<Option<Greeted>>,
    stop: CancellationToken,
    report: ProducerReport,
}

struct Running {
    consumer: PublicKey,
    connections: mpsc::Sender<Greeted>,
    /// Whether it needs its connector no more.
    unplugged: CancellationToken,
}

impl Producer {
    /// Bids and serves until told to stop.
    async fn work(
        &mut self,
        mut bidder: Bidder,
        mut sessions: mpsc::Receiver<SessionStream>,
    ) -> Result<(), AgentError> {
        let stop = self.stop.clone();
        let mut bidding = AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = bidder.run() => outcome,
                () = stop.cancelled() => Ok(()),
            };
            outcome.map(|()| bidder.bids)
        }));
        loop {
            tokio::select! {
                // When told to stop, or when it cannot go on.
                bids = &mut bidding => {
                    self.report.bids = bids.unwrap_or_else(|error| Err(task_failed(&error)))?;
                    return self.wind_up().await;
                }
                stream = sessions.recv() => match stream {
                    Some(stream) => drop(self.greeting.spawn(self.greeter.clone().greet(stream))),
                    None => return Err(crate::network::SessionError::Stopped.into()),
                },
                Some(greeted) = self.greeting.join_next() => {
                    if let Ok(Some(greeted)) = greeted {
                        self.welcome(greeted)?;
                    }
                }
                Some(ended) = self.tasks.join_next() => self.ended(ended)?,
                () = self.customers.follow() => {}
            }
        }
    }

    /// Ends the sessions that were interrupted and sells nothing: what is sold could not be collected in
    /// time. Where that takes long it goes on until the caller stops it, since the next start could do no
    /// better.
    async fn settle_only(
        mut self,
        error: AgentError,
        stopped: &CancellationToken,
    ) -> Result<ProducerReport, AgentError> {
        if !self.tasks.is_empty() {
            let reason = format!("settling what was interrupted, and selling nothing: {error}");
            self.signer.nodes.warn(Warning::Trouble { reason });
        }
        self.stop.cancel();
        tokio::select! {
            settled = self.settle_all() => settled?,
            () = stopped.cancelled() => {}
        }
        self.wind_up().await?;
        if self.report.unfinished > 0 {
            let reason = format!("sessions that are not settled yet: {}", self.report.unfinished);
            self.signer.nodes.warn(Warning::Trouble { reason });
        }
        Err(error)
    }

    /// Lets all sessions end, however long they take. Cancel safe.
    async fn settle_all(&mut self) -> Result<(), AgentError> {
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended)?;
        }
        Ok(())
    }

    /// Lets the sessions end, which were told to stop, as far as they can soon.
    async fn wind_up(&mut self) -> Result<(), AgentError> {
        let grace = STOP_GRACE + Duration::from_millis(self.policy.answer_timeout.get());
        let deadline = tokio::time::Instant::now() + grace;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
            self.ended(ended)?;
        }
        self.report.unfinished = self.running.len() as u64;
        Ok(())
    }

    /// Goes on with every session that was interrupted.
    fn resume(&mut self) -> Result<(), AgentError> {
        for path in unfinished_sales(&self.folder)? {
            match recover(&path, &self.signer.key, self.policy) {
                Ok(Some(Interrupted { session, journal, out })) => {
                    self.signer.nodes.observe(&AgentEvent::Resumed { payment: session.terms().payment });
                    self.start(session, journal, None, out);
                }
                Ok(None) => {}
                // Another producer with the same folder.
                Err(error @ AgentError::OtherKey { .. }) => {
                    self.signer.nodes.warn(Warning::Trouble { reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes up a new connection: for a new session, or for one that runs.
    fn welcome(&mut self, greeted: Greeted) -> Result<(), AgentError> {
        let Some(payment) = greeted.payment() else { return Ok(()) };
        let remote = greeted.stream.remote();
        if let Some(running) = self.running.get(&payment) {
            if running.consumer == remote {
                // A full queue: the consumer connects again.
                let _ = running.connections.try_send(greeted);
            }
            return Ok(());
        }
        match (greeted.message, greeted.facts) {
            (Message::Open(open), Some(Facts { chain: mut facts, params, sold_out })) => {
                // Single locks name no request: one session for each consumer's key (O8).
                let name = match open.kind {
                    PaymentKind::Single => remote.to_string(),
                    _ => payment.to_string(),
                };
                facts.served = journal::is_known(&self.folder, &name);
                if sold_out && !facts.served {
                    self.refuse(payment, RejectReason::SoldOut, greeted.stream);
                    return Ok(());
                }
                let charging = self.running.values().filter(|it| !it.unplugged.is_cancelled()).count();
                if charging >= usize::from(self.config.tariff.connectors) && !facts.served {
                    // Without an answer the consumer tries again, and a connector may be free then.
                    tracing::info!(%payment, consumer = %remote, "producer: no connector is free");
                    return Ok(());
                }
                let policy = match self.margins(&params) {
                    Ok(margins) => self.config.policy(margins),
                    Err(error) => {
                        self.signer.nodes.warn(Warning::Trouble { reason: error.to_string() });
                        self.refuse(payment, RejectReason::ChainTooSlow, greeted.stream);
                        return Ok(());
                    }
                };
                let mut out = Vec::new();
                let key = self.signer.key.clone();
                match ProducerSession::open(key, remote, &open, &facts, policy, clock::now(), &mut out) {
                    Ok(session) => {
                        let journal = Journal::create(&self.folder, &name)?;
                        self.start(session, journal, Some(greeted.stream), out);
                    }
                    Err(reason) => self.refuse(payment, reason, greeted.stream),
                }
            }
            (Message::Resume(resume), _) => {
                let message = last_word(&self.folder, remote, resume, &self.signer.key, self.policy);
                say(greeted.stream, message);
            }
            _ => {}
        }
        Ok(())
    }

    /// With what leads sessions are safe, as the chain is now.
    fn margins(&self, params: &Params) -> Result<Margins, AgentError> {
        let finality = self.blocks.finality(params);
        Margins::choose(params, finality, self.config.leads)
            .map_err(|error| AgentError::margins(finality, &error))
    }

    fn refuse(&self, payment: TxRef, reason: RejectReason, stream: SessionStream) {
        self.signer.nodes.observe(&AgentEvent::Refused { payment, reason });
        say(stream, Message::Reject(reason));
    }

    fn start(
        &mut self,
        session: ProducerSession,
        journal: Journal<ProducerRecord>,
        stream: Option<SessionStream>,
        first: Vec<ProducerOutput>,
    ) {
        let (connections, queue) = mpsc::channel(CONNECTIONS);
        let terms = *session.terms();
        let unplugged = CancellationToken::new();
        let running = Running { consumer: terms.consumer, connections, unplugged: unplugged.clone() };
        self.running.insert(terms.payment, running);
        self.customers.serves(terms.consumer);
        let driver = Driver {
            meter: Meter::new(self.config.tariff.power_w, self.config.speed, session.outcome().energy),
            session,
            signer: Arc::clone(&self.signer),
            journal,
            line: stream.map(Line::over),
            connections: queue,
            news: self.blocks.reader(),
            guarding: self.guarding.clone(),
            stop: self.stop.clone(),
            unplugged,
            settling: Settlements::default(),
            looking: Asking::default(),
            has_looked: false,
            accepted: None,
            transactions: Vec::new(),
        };
        self.tasks.spawn(async move { (terms.payment, driver.run(first).await) });
    }

    fn ended(
        &mut self,
        ended: Result<(TxRef, Result<SessionReport, AgentError>), tokio::task::JoinError>,
    ) -> Result<(), AgentError> {
        let (payment, outcome) = ended.map_err(|error| task_failed(&error))?;
        self.running.remove(&payment);
        self.report.sessions += 1;
        match outcome {
            Ok(_) => Ok(()),
            // Without a journal nothing may be promised.
            Err(error @ AgentError::Journal { .. }) => Err(error),
            Err(error) => {
                let reason = format!("the session of {payment} failed: {error}");
                self.signer.nodes.warn(Warning::Trouble { reason });
                Ok(())
            }
        }
    }
}

/// Says one thing and hangs up.
fn say(mut stream: SessionStream, message: Message) {
    // Bounded by the endpoint's number of sessions and by the timeout of a send.
    tokio::spawn(async move {
        if stream.send(&message.encode()).await.is_ok() {
            stream.close().await;
        }
    });
}

fn task_failed(error: &tokio::task::JoinError) -> AgentError {
    AgentError::Task(error.to_string())
}
