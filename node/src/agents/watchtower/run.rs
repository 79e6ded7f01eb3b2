//! Drives the tower's machine: carries out its outputs in order, and feeds it what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{Amount, TxRef};
use evchain_protocol::session::{
    GuardRecord, WatchInput, WatchMessage, WatchOutput, WatchRecord, Watchtower,
};
use evchain_protocol::state::channel::{Channel, CoSignedState, PostedState};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clients::{Asked, Clients, limits, strangers};
use super::config::{WatchConfig, WatchReport};
use super::posts::{BATCH, Outcomes, Posted, channel, look_up, post_all};
use crate::agents::address::reachable;
use crate::agents::chain::blocks::{Blocks, News, NewsReader};
use crate::agents::chain::finality::FinalityMeter;
use crate::agents::chain::nodes::Nodes;
use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Observer, Warning};
use crate::agents::journal::{self, Journal};
use crate::agents::timing::{sleep_until, until};
use crate::clock;
use crate::network::{GuestKeys, Guests, Service, SessionEndpoint, SessionStream};
use crate::rpc::{BlockNotice, NodeApiClient, RpcClient};

/// The journal's name in the state folder.
const JOURNAL: &str = "watchtower";
/// The journal is written anew when so many of its records say nothing any more.
const STALE_RECORDS: usize = 4_096;
/// Questions that wait for the tower, of all clients.
const QUESTIONS: usize = 64;
/// Channels that are looked up at the same time for keys that have none under guard.
const LOOKUPS: usize = 64;
/// How often the chain is asked for every channel, whatever the news told.
const LOOK: Duration = Duration::from_mins(1);
/// How long posts under way get when the tower is stopped.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// The bytes of a signed `post`.
const POST_BYTES: u64 = 246;

/// Guards channels until `stop` is cancelled. Dropping the future is like a crash: nothing is lost.
///
/// # Errors
/// [`AgentError`] where the tower cannot start, or its journal cannot be written.
pub async fn run(
    config: WatchConfig,
    rpc: RpcClient,
    key: KeyPair,
    observer: Observer,
    stop: CancellationToken,
) -> Result<WatchReport, AgentError> {
    let nodes = Nodes::new(rpc.clone(), Arc::clone(&observer));
    check_money(&nodes, key.public_key()).await?;
    let (journal, records) = open_journal(&config)?;
    let machine = Watchtower::recover(nodes.chain(), config.policy, &records)
        .map_err(|source| AgentError::Damaged { path: journal.path().to_owned(), source })?;
    let journal = journal.replace(&machine.records())?;
    let expected = config.allow.clone().unwrap_or_else(|| producers(&machine));
    let (expected, keys) = watch::channel(Arc::new(expected));
    let (endpoint, streams) = SessionEndpoint::start_for(
        Service::Watching,
        Some(config.listen.clone()),
        nodes.chain(),
        &key,
        limits(config.max_streams),
        Some(Guests { keys, strangers: strangers(config.max_streams) }),
    )?;
    let address = reachable(&config.listen, config.advertise.as_ref(), &endpoint).await?.to_string();
    let meter = FinalityMeter::of_recent_blocks(&nodes).await?;
    // Each was on the final chain: a node that is below it cannot tell that it has ended. Not before, since
    // from then on such a node is asked for nothing, and the tower must not wait for it to take states.
    machine.guards().keys().for_each(|name| nodes.saw(name.height()));
    let blocks = Blocks::follow(rpc, Arc::clone(&observer), meter);
    let (clients, asked) = Clients::new(config.max_streams, config.allow.clone(), QUESTIONS);
    let mut tower = Tower {
        written: machine.records().len(),
        machine,
        journal: Some(journal),
        nodes,
        key: Arc::new(key),
        news: blocks.reader(),
        expected,
        works_for_all: config.allow.is_none(),
        clients,
        asked,
        lookups: JoinSet::new(),
        looks: JoinSet::new(),
        is_looking: false,
        look_again: false,
        due: BTreeMap::new(),
        posts: JoinSet::new(),
        report: WatchReport::default(),
    };
    observer(&AgentEvent::Watching { address, channels: tower.machine.guards().len() });
    tower.work(streams, stop).await?;
    // It lives as long as its clients.
    drop(endpoint);
    Ok(tower.report)
}

/// A tower that could not pay for a post guards nothing, and is told so at once.
async fn check_money(nodes: &Nodes, key: PublicKey) -> Result<(), AgentError> {
    let params =
        nodes.need("ask for the chain's parameters", |rpc| async move { rpc.params().await }).await?;
    let by_length = params.fee_per_byte.get().saturating_mul(POST_BYTES);
    let fee = params.fee_flat.saturating_add(Amount::new(by_length));
    let reason = match nodes.account(key).await? {
        Some(account) if account.balance >= fee => return Ok(()),
        Some(account) => format!("{key} has EUR {}, and one post costs EUR {fee}", account.balance),
        None => format!("{key} has no account, and one post costs EUR {fee}"),
    };
    Err(AgentError::Settings(format!("{reason}: send it money for fees by `evchain tx transfer`")))
}

fn open_journal(config: &WatchConfig) -> Result<(Journal<WatchRecord>, Vec<WatchRecord>), AgentError> {
    match journal::unfinished(&config.state_dir)?
        .iter()
        .find(|path| path.file_stem() == Some(JOURNAL.as_ref()))
    {
        Some(path) => Journal::open(path),
        None => Ok((Journal::create(&config.state_dir, JOURNAL)?, Vec::new())),
    }
}

/// What the chain has of some channels under guard, or of all.
struct Looked {
    is_all: bool,
    found: Vec<(TxRef, Result<Option<Channel>, AgentError>)>,
}

struct Tower {
    machine: Watchtower,
    /// Always there, but while it is written anew.
    journal: Option<Journal<WatchRecord>>,
    /// Records in the journal.
    written: usize,
    nodes: Nodes,
    key: Arc<KeyPair>,
    news: NewsReader,
    /// For whom it works by name, which does not change, or else whose channels are under guard.
    expected: watch::Sender<GuestKeys>,
    works_for_all: bool,
    clients: Clients,
    asked: mpsc::Receiver<Asked>,
    /// Channels that are looked up for the first time, at most [`LOOKUPS`] for those who are not expected.
    lookups: JoinSet<(Asked, Result<Option<Channel>, AgentError>)>,
    /// A look at all channels under guard, and one at each channel that was looked up.
    looks: JoinSet<Looked>,
    /// Whether a look at all is under way, and another is to follow.
    is_looking: bool,
    look_again: bool,
    /// What is to be posted after those under way.
    due: BTreeMap<TxRef, CoSignedState>,
    /// At most one batch: the key's nonces are its own.
    posts: JoinSet<Outcomes>,
    report: WatchReport,
}

impl Tower {
    async fn work(
        &mut self,
        mut streams: mpsc::Receiver<SessionStream>,
        stop: CancellationToken,
    ) -> Result<(), AgentError> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            let deadline = self.machine.deadline().map(|at| Instant::now() + until(at));
            tokio::select! {
                stream = streams.recv() => match stream {
                    Some(stream) => self.clients.take(stream, &self.expected.borrow()),
                    None => return Err(crate::network::SessionError::Stopped.into()),
                },
                Some(()) = self.clients.closed() => {}
                Some(asked) = self.asked.recv() => self.ask(asked).await?,
                Some(found) = self.lookups.join_next() => {
                    if let Ok((asked, found)) = found {
                        self.found(asked, found).await?;
                    }
                }
                news = self.news.next() => match news {
                    News::Block(block) => self.take_block(&block).await?,
                    News::Gap => self.look(),
                },
                _ = look.tick() => self.look(),
                Some(looked) = self.looks.join_next() => {
                    if let Ok(looked) = looked {
                        self.looked(looked).await?;
                    }
                }
                Some(posted) = self.posts.join_next() => {
                    self.posted(posted.unwrap_or_default()).await?;
                }
                () = sleep_until(deadline) => self.step(&WatchInput::Timeout, None).await?,
                () = stop.cancelled() => break,
            }
            self.start_posts();
        }
        let all_posted = async { while self.posts.join_next().await.is_some() {} };
        // What is not final then is posted again at the next start.
        let _ = tokio::time::timeout(STOP_GRACE, all_posted).await;
        self.report.guarded = self.machine.guards().len() as u64;
        Ok(())
    }

    /// A channel that is guarded already needs no look at the chain.
    async fn ask(&mut self, asked: Asked) -> Result<(), AgentError> {
        let name = asked.state.state.channel;
        self.clients.heard(asked.client);
        if self.machine.guards().contains_key(&name) {
            return self.guard(asked, None).await;
        }
        if self.lookups.len() >= LOOKUPS && !self.expected.borrow().contains(&asked.from) {
            // Left without answer, it comes again.
            return Ok(());
        }
        let nodes = self.nodes.clone();
        self.lookups.spawn(async move { (asked, look_up(&nodes, name).await) });
        Ok(())
    }

    /// A channel was looked up for the first time.
    async fn found(
        &mut self,
        asked: Asked,
        found: Result<Option<Channel>, AgentError>,
    ) -> Result<(), AgentError> {
        let name = asked.state.state.channel;
        let found = match found {
            Ok(found) => found,
            // The client is left without answer, and comes again.
            Err(error) => {
                self.trouble("look up", name, &error);
                return Ok(());
            }
        };
        if found.is_some() {
            // Never for a name that the chain does not have: a client could invent any height.
            self.nodes.saw(name.height());
        }
        self.guard(asked, found).await?;
        if self.machine.guards().contains_key(&name) {
            // A block may have come between the answer and the guard.
            self.look_at(vec![name], false);
        }
        Ok(())
    }

    async fn guard(&mut self, asked: Asked, found: Option<Channel>) -> Result<(), AgentError> {
        let Asked { from, state, answer, .. } = asked;
        self.step(&WatchInput::Guard { from, state, found }, Some(answer)).await
    }

    /// Looks at every channel under guard, and once more where a look is under way, which may have
    /// passed by what changed.
    fn look(&mut self) {
        if std::mem::replace(&mut self.is_looking, true) {
            self.look_again = true;
            return;
        }
        self.look_at(self.machine.guards().keys().copied().collect(), true);
    }

    /// Asks for these channels. Everything else goes on meanwhile: the node may be away.
    fn look_at(&mut self, names: Vec<TxRef>, is_all: bool) {
        let nodes = self.nodes.clone();
        self.looks.spawn(async move {
            let mut found = Vec::new();
            for name in names {
                found.push((name, channel(&nodes, name).await));
            }
            Looked { is_all, found }
        });
    }

    async fn looked(&mut self, looked: Looked) -> Result<(), AgentError> {
        let mut failed = None;
        for (name, found) in looked.found {
            match found {
                Ok(found) => self.step(&WatchInput::Found(name, found), None).await?,
                // Guarded as before, and looked at again.
                Err(error) => failed = Some((name, error)),
            }
        }
        if let Some((name, error)) = failed {
            self.trouble("look at", name, &error);
        }
        if looked.is_all {
            self.is_looking = false;
            if std::mem::take(&mut self.look_again) {
                self.look();
            }
        }
        Ok(())
    }

    async fn take_block(&mut self, block: &BlockNotice) -> Result<(), AgentError> {
        self.nodes.saw(block.header.height);
        for record in &block.events {
            let (name, posted) = match record.event {
                Event::ChannelPosted { channel, released, until, by } => {
                    (channel, Some(PostedState { released, until, by }))
                }
                Event::ChannelClosed { channel, .. } | Event::ChannelCancelled { channel, .. } => {
                    (channel, None)
                }
                _ => continue,
            };
            let Some(guard) = self.machine.guards().get(&name) else { continue };
            let found = posted.map(|posted| Channel { posted: Some(posted), ..*guard.channel() });
            self.step(&WatchInput::Found(name, found), None).await?;
        }
        self.step(&WatchInput::ChainTime(block.header.time_ms), None).await
    }

    async fn posted(&mut self, outcomes: Outcomes) -> Result<(), AgentError> {
        let mut failed = None;
        for (name, posted) in outcomes {
            let input = match posted {
                Ok(Posted { sent, found }) => {
                    self.report.posted += u64::from(sent);
                    WatchInput::Found(name, found)
                }
                Err(error) => {
                    failed = Some((name, error));
                    WatchInput::Failed(name)
                }
            };
            self.step(&input, None).await?;
        }
        if let Some((name, error)) = failed {
            self.trouble("post the state of", name, &error);
        }
        Ok(())
    }

    /// Tells the user of one channel, where several have the same trouble.
    fn trouble(&self, action: &str, name: TxRef, error: &AgentError) {
        let reason = format!("cannot {action} {name}: {error}");
        self.nodes.warn(Warning::Trouble { reason });
    }

    /// Gives the machine an input and carries out its outputs in their order. Records that follow each
    /// other share one sync.
    async fn step(
        &mut self,
        input: &WatchInput,
        mut asker: Option<oneshot::Sender<WatchMessage>>,
    ) -> Result<(), AgentError> {
        let mut out = Vec::new();
        let before = self.machine.guards().len();
        self.machine.step(clock::now(), input, &mut out);
        self.report.taken += u64::from(self.machine.guards().len() > before);
        let mut records = Vec::new();
        for output in out {
            if !matches!(output, WatchOutput::Persist(_)) {
                self.write(&std::mem::take(&mut records)).await?;
            }
            match output {
                WatchOutput::Persist(record) => records.push(record),
                WatchOutput::Answer(answer) => {
                    if let Some(asker) = asker.take() {
                        // The client may have gone.
                        let _ = asker.send(answer);
                    }
                }
                WatchOutput::Post(state) => drop(self.due.insert(state.state.channel, state)),
            }
        }
        self.write(&records).await
    }

    async fn write(&mut self, records: &[WatchRecord]) -> Result<(), AgentError> {
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        journal.append_all(records).await?;
        self.written += records.len();
        let needed = self.machine.guards().len();
        if self.written > 2 * needed + STALE_RECORDS {
            let records = self.machine.records();
            journal = journal.replace(&records)?;
            self.written = records.len();
        }
        self.journal = Some(journal);
        for record in records {
            self.tell(record);
        }
        Ok(())
    }

    fn tell(&mut self, record: &WatchRecord) {
        let event = match record {
            WatchRecord::Guarded(GuardRecord { channel, state }) => {
                self.expect(|expected| expected.contains(&channel.producer));
                let (name, released) = (state.state.channel, state.state.released);
                AgentEvent::Guarding { channel: name, producer: channel.producer, released }
            }
            WatchRecord::Ended(name) => {
                self.report.ended += 1;
                self.expect(|_| false);
                AgentEvent::GuardEnded { channel: *name }
            }
            // `start_posts` tells.
            WatchRecord::Posted(_) => return,
        };
        self.nodes.observe(&event);
    }

    /// Tells the endpoint whose channels are under guard, unless it knows.
    fn expect(&self, is_known: impl FnOnce(&GuestKeys) -> bool) {
        let is_known = !self.works_for_all || is_known(&self.expected.borrow());
        if !is_known {
            self.expected.send_replace(Arc::new(producers(&self.machine)));
        }
    }

    /// Posts as many as may be under way together, those first whose channels pay out first.
    fn start_posts(&mut self) {
        if self.due.is_empty() || !self.posts.is_empty() {
            return;
        }
        let guards = self.machine.guards();
        let mut due: Vec<_> = std::mem::take(&mut self.due)
            .into_iter()
            .filter_map(|(name, state)| Some((guards.get(&name)?.channel().due(), name, state)))
            .collect();
        due.sort_unstable_by_key(|(at, name, _)| (*at, *name));
        let later = due.split_off(due.len().min(BATCH));
        self.due = later.into_iter().map(|(_, name, state)| (name, state)).collect();
        let states: Vec<_> = due.into_iter().map(|(.., state)| state).collect();
        for state in &states {
            let (channel, released) = (state.state.channel, state.state.released);
            self.nodes.observe(&AgentEvent::Posting { channel, released });
        }
        let (nodes, key) = (self.nodes.clone(), Arc::clone(&self.key));
        self.posts.spawn(async move { post_all(&nodes, &key, states).await });
    }
}

/// Whose channels are under guard.
fn producers(machine: &Watchtower) -> BTreeSet<PublicKey> {
    machine.guards().values().map(|guard| guard.channel().producer).collect()
}
