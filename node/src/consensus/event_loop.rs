use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_consensus::block::Block;
use evchain_consensus::epochs::Epochs;
use evchain_consensus::input::{Execution, Input, Moment, Now};
use evchain_consensus::message::{MAX_MESSAGE_BYTES, Message};
use evchain_consensus::output::{HaltReason, Output};
use evchain_protocol::codec;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::finality::{Certificate, Subject};
use evchain_protocol::primitives::{Epoch, Height, View};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, block_in_place};
use tracing::{debug, error, warn};

use super::log::{ConsensusLog, frame, records_of};
use super::proposer::Proposer;
use super::turn::EpochTurn;
use super::voting::VotingError;
use crate::chain::{ChainHandle, ChainReader};
use crate::clock;
use crate::evidence::EvidenceBook;
use crate::network::{GossipId, NetworkHandle, SyncResponder, Verdict};
use crate::store::{Durability, StoreError};

/// Inputs that wait for the engine; above, their senders are held back.
const INBOX: usize = 1_024;
/// Inputs that share one synced write.
const MAX_INPUTS_PER_TURN: usize = 64;

/// Something for the engine.
#[derive(Debug)]
pub enum Inbound {
    /// A frame from an authority's stream.
    Frame {
        /// The authority.
        from: PublicKey,
        /// The encoded message.
        bytes: Vec<u8>,
    },
    /// A finalization from gossip.
    Finalization {
        /// Who passed it on.
        from: PublicKey,
        /// The encoded certificate.
        bytes: Vec<u8>,
        /// For the verdict.
        id: GossipId,
    },
    /// A request for catching up.
    Request {
        /// Who asks.
        from: PublicKey,
        /// The encoded message.
        bytes: Vec<u8>,
        /// Where the answer goes.
        responder: SyncResponder,
    },
    /// An input from the node's own tasks.
    Own(Input),
    /// The chain has written everything up to the block that was finalized here.
    Written {
        /// The finalization's epoch and view.
        place: (Epoch, View),
        /// The block is the last of that epoch.
        ends_epoch: bool,
    },
}

/// Hands inputs to the event loop.
#[derive(Debug, Clone)]
pub struct ConsensusHandle {
    inbox: mpsc::Sender<Inbound>,
    status: watch::Receiver<ConsensusStatus>,
}

/// Where the engine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusStatus {
    /// The current epoch.
    pub epoch: Epoch,
    /// The number of its authorities.
    pub authorities: usize,
    /// The current view.
    pub view: View,
    /// The last committed height, as the engine knows it.
    pub height: Height,
    /// The leader of the current view.
    pub leader: Option<PublicKey>,
    /// Whether this node signs votes in this epoch.
    pub votes: bool,
}

impl ConsensusHandle {
    /// Hands over an input; waits while the inbox is full. Lost once the loop has ended, which
    /// ends the node.
    pub async fn deliver(&self, inbound: Inbound) {
        let _ = self.inbox.send(inbound).await;
    }

    /// Where the engine stands.
    pub fn status(&self) -> ConsensusStatus {
        *self.status.borrow()
    }
}

/// Why the event loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Halted {
    /// The engine cannot go on.
    #[error("the consensus stopped: {0}")]
    Engine(HaltReason),
    /// The log could not be written; no vote was sent that is not on disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the key may vote on could not be noted.
    #[error(transparent)]
    Vote(#[from] VotingError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// The task that owns the engine.
pub struct EventLoop {
    engine: Epochs,
    log: ConsensusLog,
    chain: ChainHandle,
    network: NetworkHandle,
    proposer: Proposer,
    turn: EpochTurn,
    evidence: EvidenceBook,
    started: Instant,
    inbox: mpsc::Receiver<Inbound>,
    handle: ConsensusHandle,
    status: watch::Sender<ConsensusStatus>,
    builds: BTreeMap<(Epoch, View), AbortHandle>,
}

impl EventLoop {
    /// The loop around an engine that was recovered from this log.
    pub fn new(
        engine: Epochs,
        log: ConsensusLog,
        chain: ChainHandle,
        network: NetworkHandle,
        proposer: Proposer,
        turn: EpochTurn,
        evidence: EvidenceBook,
    ) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        let initial = status_of(&engine);
        let (status, status_receiver) = watch::channel(initial);
        let handle = ConsensusHandle { inbox: sender, status: status_receiver };
        Self {
            engine,
            log,
            chain,
            network,
            proposer,
            turn,
            evidence,
            started: Instant::now(),
            inbox,
            handle,
            status,
            builds: BTreeMap::new(),
        }
    }

    /// Hands inputs to this loop.
    pub fn handle(&self) -> ConsensusHandle {
        self.handle.clone()
    }

    /// Runs until the engine halts or the store fails.
    pub async fn run(mut self) -> Halted {
        let mut outputs = Vec::new();
        self.step(Input::Start, &mut outputs);
        loop {
            if let Err(halted) = self.carry_out(std::mem::take(&mut outputs), None).await {
                return halted;
            }
            self.publish_status();
            let Some(first) = self.next_inbound().await else { return Halted::ShuttingDown };
            if let Err(halted) = self.take_turn(first, &mut outputs).await {
                return halted;
            }
        }
    }

    /// The next input; a tick when the engine's deadline comes first.
    async fn next_inbound(&mut self) -> Option<Inbound> {
        let deadline =
            self.engine.next_deadline().map(|moment| self.started + Duration::from_millis(moment.get()));
        let Some(deadline) = deadline else { return self.inbox.recv().await };
        tokio::select! {
            biased;
            inbound = self.inbox.recv() => inbound,
            () = tokio::time::sleep_until(deadline.into()) => Some(Inbound::Own(Input::Tick)),
        }
    }

    /// Takes this input and those that came meanwhile, so that they share one synced write.
    async fn take_turn(&mut self, first: Inbound, outputs: &mut Vec<Output>) -> Result<(), Halted> {
        let mut next = Some(first);
        for _ in 0..MAX_INPUTS_PER_TURN {
            let Some(inbound) = next.take() else { break };
            self.take(inbound, outputs).await?;
            next = self.inbox.try_recv().ok();
        }
        match next {
            Some(inbound) => self.take(inbound, outputs).await,
            None => Ok(()),
        }
    }

    async fn take(&mut self, inbound: Inbound, outputs: &mut Vec<Output>) -> Result<(), Halted> {
        match inbound {
            Inbound::Own(input) => self.step(input, outputs),
            Inbound::Written { place, ends_epoch } => {
                self.log.prune(place)?;
                if ends_epoch {
                    let next = self.turn.next(&mut self.log, &mut self.proposer).await?;
                    self.step(Input::NextEpoch(next), outputs);
                }
            }
            Inbound::Frame { from, bytes } => match codec::decode(&bytes, MAX_MESSAGE_BYTES) {
                Ok(message) => self.step(Input::Message { from, message }, outputs),
                Err(error) => {
                    warn!(%from, %error, "consensus: an authority sent a frame that is no message");
                }
            },
            Inbound::Finalization { from, bytes, id } => self.take_finalization(from, &bytes, id, outputs),
            Inbound::Request { from, bytes, responder } => {
                // What came before must be carried out first: the answer may depend on it.
                self.carry_out(std::mem::take(outputs), None).await?;
                self.take_request(from, &bytes, responder).await?;
            }
        }
        Ok(())
    }

    fn take_finalization(&mut self, from: PublicKey, bytes: &[u8], id: GossipId, outputs: &mut Vec<Output>) {
        let verdict = match codec::decode::<Arc<Certificate>>(bytes, MAX_MESSAGE_BYTES) {
            Ok(certificate) => {
                let (epoch, view) = certificate.subject.place();
                // Older ones are dropped and those of later epochs are kept, both without a look at them.
                let is_looked_at = epoch == self.engine.epoch() && view >= self.engine.tip().view;
                let before = outputs.len();
                self.step(Input::Message { from, message: Message::Certificate(certificate) }, outputs);
                let mut outcome = outputs.iter().skip(before);
                let is_bad = outcome.any(|output| matches!(output, Output::Reject { .. }));
                match (is_bad, is_looked_at) {
                    (true, _) => Verdict::Reject,
                    // Whoever passes on a bad one is blamed for it (W4).
                    (false, false) => Verdict::Ignore,
                    (false, true) => Verdict::Accept,
                }
            }
            Err(_) => Verdict::Reject,
        };
        // A lost verdict only means that this message is not forwarded from here.
        let _ = self.network.judge(id, verdict);
    }

    async fn take_request(
        &mut self,
        from: PublicKey,
        bytes: &[u8],
        responder: SyncResponder,
    ) -> Result<(), Halted> {
        match codec::decode(bytes, MAX_MESSAGE_BYTES) {
            Ok(Message::GetFinalized(request)) => {
                let read =
                    move |chain: &ChainReader| Ok(chain.finalized_above(request)?.map(Message::Finalized));
                self.serve(from, Some(responder), read);
                Ok(())
            }
            Ok(message @ (Message::GetBlocks(_) | Message::GetCertificates(_))) => {
                let mut outputs = Vec::new();
                self.step(Input::Message { from, message }, &mut outputs);
                self.carry_out(outputs, Some((from, responder))).await
            }
            Ok(_) | Err(_) => {
                debug!(%from, "consensus: a request that asks for nothing known");
                Ok(())
            }
        }
    }

    fn step(&mut self, input: Input, outputs: &mut Vec<Output>) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Now { monotonic: Moment::new(elapsed), wall: clock::now() };
        self.engine.step(now, input, outputs);
    }

    /// Carries out a turn's outputs in order, with everything durable before the first message
    /// leaves (`consensus/docs/protocol.md`, D). `answer_to` is a peer whose request this turn answers.
    async fn carry_out(
        &mut self,
        outputs: Vec<Output>,
        mut answer_to: Option<(PublicKey, SyncResponder)>,
    ) -> Result<(), Halted> {
        if outputs.is_empty() {
            return Ok(());
        }
        self.make_durable(&outputs)?;
        for output in outputs {
            match output {
                Output::Persist(_) => {}
                Output::Send { to, message } => match answer_to.take_if(|(asker, _)| *asker == to) {
                    Some((_, responder)) => responder.respond(codec::encode(&message)),
                    None => self.send(to, &message),
                },
                Output::Broadcast(message) => self.broadcast(&message),
                Output::Build(request) => {
                    let place = (request.epoch, request.view);
                    let build = self.proposer.start(request, self.handle.clone());
                    self.builds.insert(place, build);
                }
                Output::CancelBuild { epoch, view } => {
                    let later = self.builds.split_off(&(epoch, View::new(view.get().saturating_add(1))));
                    for (_, build) in std::mem::replace(&mut self.builds, later) {
                        build.abort();
                    }
                }
                Output::Execute(block) => self.execute(block),
                Output::Commit { blocks, finalization, ends_epoch } => {
                    let place = finalization.subject.place();
                    let receipt = self.chain.commit(blocks, finalization).await;
                    let handle = self.handle.clone();
                    tokio::spawn(async move {
                        if receipt.await.is_ok() {
                            handle.deliver(Inbound::Written { place, ends_epoch }).await;
                        }
                    });
                }
                Output::ServeBlocks { to, request } => {
                    let responder =
                        answer_to.take_if(|(asker, _)| *asker == to).map(|(_, responder)| responder);
                    self.serve(to, responder, move |chain| {
                        Ok(chain.blocks_below(request)?.map(Message::Blocks))
                    });
                }
                Output::ServeFinalized { to, request } => {
                    let responder =
                        answer_to.take_if(|(asker, _)| *asker == to).map(|(_, responder)| responder);
                    self.serve(to, responder, move |chain| {
                        Ok(chain.finalized_above(request)?.map(Message::Finalized))
                    });
                }
                Output::ServeBoundary { to, epoch } => {
                    let responder =
                        answer_to.take_if(|(asker, _)| *asker == to).map(|(_, responder)| responder);
                    self.serve(to, responder, move |chain| {
                        Ok(chain.boundary_of(epoch)?.map(|end| Message::Certificate(Arc::new(end))))
                    });
                }
                Output::Reject { from, reason } => {
                    warn!(%from, %reason, "consensus: a peer sent what no honest node sends");
                }
                Output::Evidence(evidence) => block_in_place(|| self.evidence.add(&evidence))?,
                Output::Halt(reason) => return Err(Halted::Engine(self.log.note_halt(reason))),
            }
        }
        Ok(())
    }

    fn execute(&self, block: Arc<Block>) {
        let (chain, handle) = (self.chain.clone(), self.handle.clone());
        tokio::spawn(async move {
            let hash = block.hash();
            let outcome = chain.execute(block).await;
            if let Execution::Failed(reason) = &outcome {
                warn!(block = %hash, reason, "consensus: execution failed");
            }
            handle.deliver(Inbound::Own(Input::Executed { block: hash, outcome })).await;
        });
    }

    /// One write for all of a turn's records, synced if anything is said after it.
    fn make_durable(&mut self, outputs: &[Output]) -> Result<(), Halted> {
        let speaks =
            outputs.iter().any(|output| matches!(output, Output::Send { .. } | Output::Broadcast(_)));
        let records = records_of(outputs);
        match (records.is_empty(), speaks) {
            (false, true) => block_in_place(|| self.log.append(&records, Durability::Synced)),
            (false, false) => self.log.append(&records, Durability::Buffered),
            (true, true) => block_in_place(|| self.log.sync()),
            (true, false) => Ok(()),
        }?;
        Ok(self.turn.right.reserve(&records).map_err(VotingError::from)?)
    }

    /// Questions go by request and response, which has room for large answers and works for
    /// observers too; everything else goes by the authorities' streams.
    fn send(&self, to: PublicKey, message: &Message) {
        match message {
            Message::GetBlocks(_) | Message::GetCertificates(_) | Message::GetFinalized(_) => {
                let (network, handle, bytes) =
                    (self.network.clone(), self.handle.clone(), codec::encode(message));
                let is_for_chain = matches!(message, Message::GetFinalized(_));
                tokio::spawn(async move {
                    match network.request(to, bytes).await {
                        Ok(bytes) => handle.deliver(Inbound::Frame { from: to, bytes }).await,
                        // The engine asks another peer when no answer comes.
                        Err(error) => {
                            debug!(%to, %error, "consensus: no answer");
                            if is_for_chain {
                                handle.deliver(Inbound::Own(Input::Unanswered { from: to })).await;
                            }
                        }
                    }
                });
            }
            _ => answer(&self.network, to, None, message),
        }
    }

    fn broadcast(&self, message: &Message) {
        if let Err(error) = self.network.broadcast_to_authorities(&frame(message)) {
            warn!(%error, "consensus: a message could not be sent");
        }
        if let Message::Certificate(certificate) = message
            && matches!(certificate.subject, Subject::Finalize(_))
        {
            // Observers that miss one learn of the next.
            let _ = self.network.publish_finalization(codec::encode(certificate));
        }
    }

    /// Answers a peer with what is read from the store, beside the loop.
    fn serve(
        &self,
        to: PublicKey,
        responder: Option<SyncResponder>,
        read: impl FnOnce(&ChainReader) -> Result<Option<Message>, StoreError> + Send + 'static,
    ) {
        let (chain, network) = (self.chain.reader().clone(), self.network.clone());
        tokio::task::spawn_blocking(move || match read(&chain) {
            Ok(Some(message)) => answer(&network, to, responder, &message),
            Ok(None) => {}
            Err(error) => error!(%error, "consensus: a peer's request could not be answered"),
        });
    }

    fn publish_status(&self) {
        let now = status_of(&self.engine);
        self.status.send_if_modified(|status| {
            let changed = *status != now;
            *status = now;
            changed
        });
    }
}

fn status_of(engine: &Epochs) -> ConsensusStatus {
    ConsensusStatus {
        epoch: engine.epoch(),
        authorities: engine.committee().len(),
        view: engine.view(),
        height: engine.tip().height,
        leader: engine.leader(),
        votes: engine.is_voting(),
    }
}

/// Answers by the request's own way back, or else by the authority's stream.
fn answer(network: &NetworkHandle, to: PublicKey, responder: Option<SyncResponder>, message: &Message) {
    match responder {
        Some(responder) => responder.respond(codec::encode(message)),
        None => {
            if let Err(error) = network.send_to_authority(&to, frame(message)) {
                debug!(%to, %error, "consensus: a message could not be sent");
            }
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        for build in self.builds.values() {
            build.abort();
        }
    }
}
