//! Consensus frames between authorities: one stream in each direction for each pair, opened by
//! its sender and kept open.
//!
//! Every link is a task that owns its queue, so nothing waits for a slow authority, and the
//! swarm's task is not on the path of a frame.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use futures::{AsyncReadExt, StreamExt};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::config::NetworkLimits;
use super::event::ConsensusFrame;
use super::frame::{FrameError, FrameReader, write_frame};
use super::identity::{key_of_peer, peer_of_key};
use super::limits::{Admit, PeerRates, Rate};
use super::metrics::NetworkMetrics;
use super::peers::Backoff;
use super::start::Shared;
use super::swarm::Misbehaviour;

/// Where frames for each other authority go.
pub(super) type LinkTable = Arc<BTreeMap<PublicKey, mpsc::Sender<Arc<[u8]>>>>;

/// The current authorities, shared with whoever must know.
pub(super) type AuthoritySet = Arc<BTreeSet<PublicKey>>;

/// How long opening a stream to a connected authority may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// From a frame's first byte to its last.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The outbound links.
pub(super) struct AuthorityLinks {
    local_key: PublicKey,
    control: Control,
    protocol: StreamProtocol,
    limits: Arc<NetworkLimits>,
    metrics: NetworkMetrics,
    authorities: watch::Sender<AuthoritySet>,
    table: watch::Sender<LinkTable>,
    links: BTreeMap<PublicKey, Link>,
}

struct Link {
    frames: mpsc::Sender<Arc<[u8]>>,
    is_connected: watch::Sender<bool>,
    /// Ends with the link.
    _task: AbortOnDropHandle<()>,
}

impl AuthorityLinks {
    pub(super) fn new(
        local_key: PublicKey,
        control: Control,
        protocol: StreamProtocol,
        shared: &Shared,
    ) -> Self {
        Self {
            local_key,
            control,
            protocol,
            limits: Arc::clone(&shared.limits),
            metrics: shared.metrics.clone(),
            authorities: watch::Sender::default(),
            table: watch::Sender::default(),
            links: BTreeMap::new(),
        }
    }

    pub(super) fn table(&self) -> watch::Receiver<LinkTable> {
        self.table.subscribe()
    }

    pub(super) fn watch_authorities(&self) -> watch::Receiver<AuthoritySet> {
        self.authorities.subscribe()
    }

    pub(super) fn is_authority(&self, key: &PublicKey) -> bool {
        self.authorities.borrow().contains(key)
    }

    /// Opens links to new authorities and ends those to former ones.
    pub(super) fn set_authorities(
        &mut self,
        authorities: BTreeSet<PublicKey>,
        is_connected: impl Fn(&PeerId) -> bool,
    ) {
        let takes_part = authorities.contains(&self.local_key);
        self.links.retain(|key, _| takes_part && authorities.contains(key));
        for key in authorities.iter().filter(|key| takes_part && **key != self.local_key) {
            match peer_of_key(key) {
                Ok(peer) if !self.links.contains_key(key) => {
                    let link = self.start_link(*key, peer, is_connected(&peer));
                    self.links.insert(*key, link);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(authority = %key, %error, "no link to this authority"),
            }
        }
        let table = self.links.iter().map(|(key, link)| (*key, link.frames.clone())).collect();
        self.table.send_replace(Arc::new(table));
        self.authorities.send_replace(Arc::new(authorities));
    }

    /// How many links there are, open or not.
    pub(super) fn count(&self) -> usize {
        self.links.len()
    }

    /// Tells the peer's link, if it has one, whether there is a connection to open a stream on.
    pub(super) fn set_connected(&self, key: &PublicKey, is_connected: bool) {
        if let Some(link) = self.links.get(key) {
            link.is_connected.send_replace(is_connected);
        }
    }

    fn start_link(&self, key: PublicKey, peer: PeerId, is_connected: bool) -> Link {
        let (frames, inbox) = mpsc::channel(self.limits.consensus_send_queue.max(1));
        let (is_connected, connection) = watch::channel(is_connected);
        let task = LinkTask {
            key,
            peer,
            control: self.control.clone(),
            protocol: self.protocol.clone(),
            queue: FrameQueue::new(&self.limits, self.metrics.clone()),
            inbox,
            connection,
            backoff: Backoff::new(&self.limits),
            metrics: self.metrics.clone(),
        };
        Link { frames, is_connected, _task: AbortOnDropHandle::new(tokio::spawn(task.run())) }
    }
}

/// One outbound link: its queue and, most of the time, its stream.
struct LinkTask {
    key: PublicKey,
    peer: PeerId,
    control: Control,
    protocol: StreamProtocol,
    queue: FrameQueue,
    inbox: mpsc::Receiver<Arc<[u8]>>,
    connection: watch::Receiver<bool>,
    backoff: Backoff,
    metrics: NetworkMetrics,
}

impl LinkTask {
    /// Runs until the authority leaves the set. Frames are taken in at every point, so that the
    /// queue, which drops the oldest, is the only place where they wait.
    async fn run(mut self) {
        loop {
            let connection = &mut self.connection;
            let connected = async { connection.wait_for(|is| *is).await.is_ok() };
            if self.queue.fill_while(&mut self.inbox, connected).await != Some(true) {
                return;
            }
            let opening = timeout(OPEN_TIMEOUT, self.control.open_stream(self.peer, self.protocol.clone()));
            let Some(opened) = self.queue.fill_while(&mut self.inbox, opening).await else { return };
            match opened {
                Ok(Ok(stream)) => {
                    tracing::debug!(authority = %self.key, "consensus stream open");
                    let _open = OpenLink::new(&self.metrics);
                    let Some(reason) = self.send_all(stream).await else { return };
                    tracing::debug!(authority = %self.key, reason, "consensus stream ended");
                }
                Ok(Err(error)) => {
                    tracing::debug!(authority = %self.key, %error, "consensus stream not opened");
                }
                Err(_) => tracing::debug!(authority = %self.key, "opening a consensus stream timed out"),
            }
            let pause = self.backoff.next_pause();
            if self.queue.fill_while(&mut self.inbox, sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Sends what is queued and what comes, until the stream fails, or the authority leaves the
    /// set (`None`).
    async fn send_all(&mut self, stream: Stream) -> Option<&'static str> {
        let (mut from_remote, mut to_remote) = stream.split();
        let mut unexpected = [0; 1];
        let mut ended = from_remote.read(&mut unexpected);
        loop {
            while let Some(frame) = self.queue.pop() {
                let writing = timeout(FRAME_TIMEOUT, write_frame(&mut to_remote, &frame));
                match self.queue.fill_while(&mut self.inbox, writing).await? {
                    Ok(Ok(())) => {
                        self.backoff.reset();
                        self.metrics.sent("consensus", frame.len());
                    }
                    Ok(Err(_)) => return Some("write failed"),
                    Err(_) => return Some("the authority does not read"),
                }
            }
            tokio::select! {
                frame = self.inbox.recv() => self.queue.push(frame?),
                // Nobody writes in this direction: the end, or a peer that breaks the protocol.
                _ = &mut ended => return Some("closed by the authority"),
            }
        }
    }
}

/// Frames for one authority, oldest first, bounded in number and bytes.
struct FrameQueue {
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    max_frames: usize,
    max_bytes: usize,
    metrics: NetworkMetrics,
}

impl FrameQueue {
    fn new(limits: &NetworkLimits, metrics: NetworkMetrics) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            max_frames: limits.consensus_send_queue.max(1),
            // One frame always fits.
            max_bytes: limits.consensus_send_queue_bytes.max(limits.max_consensus_frame_bytes),
            metrics,
        }
    }

    fn push(&mut self, frame: Arc<[u8]>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.frames.len() > self.max_frames || self.bytes > self.max_bytes {
            if self.pop().is_some() {
                self.metrics.dropped("consensus_send_queue");
            }
        }
    }

    fn pop(&mut self) -> Option<Arc<[u8]>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Takes in frames until the future is done; `None` when no more frames can come.
    async fn fill_while<F: Future>(
        &mut self,
        inbox: &mut mpsc::Receiver<Arc<[u8]>>,
        future: F,
    ) -> Option<F::Output> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                frame = inbox.recv() => self.push(frame?),
            }
        }
    }
}

/// Counts an open link while it lives, also when its task is aborted.
struct OpenLink(NetworkMetrics);

impl OpenLink {
    fn new(metrics: &NetworkMetrics) -> Self {
        metrics.authority_links.inc();
        Self(metrics.clone())
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.0.authority_links.dec();
    }
}

/// Accepts the streams of the other authorities and reads their frames.
pub(super) struct AuthorityAcceptor {
    incoming: IncomingStreams,
    authorities: watch::Receiver<AuthoritySet>,
    /// The reader of each authority's newest stream; an older one may hang on a dead connection.
    readers: BTreeMap<PublicKey, AbortOnDropHandle<()>>,
    rates: PeerRates,
    frames: mpsc::Sender<ConsensusFrame>,
    shared: Shared,
}

impl AuthorityAcceptor {
    pub(super) fn new(
        incoming: IncomingStreams,
        authorities: watch::Receiver<AuthoritySet>,
        frames: mpsc::Sender<ConsensusFrame>,
        shared: Shared,
    ) -> Self {
        let rates = PeerRates::new(shared.limits.stream_rate);
        Self { incoming, authorities, readers: BTreeMap::new(), rates, frames, shared }
    }

    /// Runs until the swarm is gone.
    pub(super) async fn run(mut self) {
        let budget = self.shared.limits.consensus_receive_queue_bytes;
        let budget = Arc::new(Semaphore::new(budget.max(self.shared.limits.max_consensus_frame_bytes)));
        loop {
            tokio::select! {
                stream = self.incoming.next() => match stream {
                    Some((peer, stream)) => self.accept(peer, stream, &budget),
                    None => break,
                },
                changed = self.authorities.changed() => match changed {
                    Ok(()) => self.end_former_authorities(),
                    Err(_) => break,
                },
            }
        }
    }

    fn accept(&mut self, peer: PeerId, stream: Stream, budget: &Arc<Semaphore>) {
        let Ok(from) = key_of_peer(&peer) else { return };
        let admitted = self.rates.admit(&peer, Instant::now());
        if admitted == Admit::Disconnect {
            // A full queue: the next stream reports it again.
            let _ = self.shared.misbehaviours.try_send(Misbehaviour { peer, reason: "consensus_streams" });
        }
        if admitted != Admit::Yes {
            self.shared.metrics.dropped("consensus_stream_rate");
            tracing::debug!(peer = %from, "closing a consensus stream: too many were opened");
            return;
        }
        if !self.authorities.borrow().contains(&from) {
            self.shared.metrics.dropped("consensus_not_authority");
            tracing::debug!(peer = %from, "closing a consensus stream: not an authority");
            return;
        }
        let reader = Reader {
            peer,
            from,
            stream: FrameReader::new(stream, self.shared.limits.max_consensus_frame_bytes, FRAME_TIMEOUT),
            frames: self.frames.clone(),
            budget: Arc::clone(budget),
            shared: self.shared.clone(),
        };
        self.readers.insert(from, AbortOnDropHandle::new(tokio::spawn(reader.run())));
    }

    fn end_former_authorities(&mut self) {
        let authorities = self.authorities.borrow_and_update();
        self.readers.retain(|key, _| authorities.contains(key));
    }
}

/// Reads one authority's frames. While the node does not take them, the stream is not read.
struct Reader {
    peer: PeerId,
    from: PublicKey,
    stream: FrameReader<Stream>,
    frames: mpsc::Sender<ConsensusFrame>,
    /// Bytes of frames, of all authorities, that may wait for the node.
    budget: Arc<Semaphore>,
    shared: Shared,
}

impl Reader {
    async fn run(mut self) {
        if let Some(reason) = self.read_all().await {
            // An error means that the network has stopped.
            let _ = self.shared.misbehaviours.send(Misbehaviour { peer: self.peer, reason }).await;
        }
    }

    /// Reads until the stream ends, and says what was wrong if its sender is to blame.
    async fn read_all(&mut self) -> Option<&'static str> {
        let mut rate = Rate::new(self.shared.limits.consensus_rate, Instant::now());
        loop {
            let bytes = match self.stream.next().await {
                Ok(bytes) => bytes?,
                Err(error) => {
                    tracing::debug!(authority = %self.from, %error, "consensus stream failed");
                    return matches!(error, FrameError::TooLarge { .. }).then_some("consensus_oversize");
                }
            };
            self.shared.metrics.received("consensus", bytes.len());
            match rate.admit(Instant::now()) {
                Admit::Yes => {}
                Admit::Drop => {
                    self.shared.metrics.dropped("consensus_rate");
                    continue;
                }
                Admit::Disconnect => return Some("consensus_flood"),
            }
            let share = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let share = Arc::clone(&self.budget).acquire_many_owned(share).await.ok()?;
            self.frames.send(ConsensusFrame::new(self.from, bytes, share)).await.ok()?;
        }
    }
}
