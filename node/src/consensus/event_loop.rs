use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_consensus::block::Block;
use evchain_consensus::epochs::Epochs;
use evchain_consensus::input::{Execution, Input, Moment, Now};
use evchain_consensus::message::Message;
use evchain_consensus::output::{HaltReason, Output};
use evchain_protocol::codec;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::finality::{Certificate, Subject};
use evchain_protocol::primitives::{Epoch, View};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, block_in_place};
use tracing::{debug, warn};

use super::asking::{Answered, Asking, Outcome};
use super::blame::{Blame, Fault};
use super::inbox::{
    Asked, ConsensusHandle, ConsensusStatus, GossipedFinalization, Heard, Inbound, Inbox, Written,
};
use super::log::{ConsensusLog, frame, records_of};
use super::proposer::Proposer;
use super::question::Question;
use super::serving::{Answer, Serving, ToldBoundaries};
use super::turn::EpochTurn;
use super::verdict;
use super::voting::VotingError;
use crate::chain::ChainHandle;
use crate::clock;
use crate::evidence::EvidenceBook;
use crate::network::{NetworkHandle, Verdict};
use crate::store::{Durability, StoreError};

/// The largest finalization: 128 signatures and what they are of.
const MAX_FINALIZATION_BYTES: usize = 16 * 1024;
/// Inputs that share one synced write.
const MAX_INPUTS_PER_TURN: usize = 64;

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
    inbox: Inbox,
    handle: ConsensusHandle,
    status: watch::Sender<ConsensusStatus>,
    builds: BTreeMap<(Epoch, View), AbortHandle>,
    /// Commits that the chain is writing, in order; nothing where the ledger has stopped.
    writes: FuturesOrdered<BoxFuture<'static, Option<Written>>>,
    asking: Asking,
    serving: Serving,
    told: ToldBoundaries,
    blame: Blame,
}

impl EventLoop {
    /// The loop around an engine that was recovered from this log, and the thread that answers peers. The
    /// receiver learns that this thread has let go of the store, once every [`Serving`] is gone.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn new(
        engine: Epochs,
        log: ConsensusLog,
        chain: ChainHandle,
        network: NetworkHandle,
        proposer: Proposer,
        turn: EpochTurn,
        evidence: EvidenceBook,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (status, status_receiver) = watch::channel(status_of(&engine));
        let (handle, inbox) = Inbox::new(status_receiver);
        let (serving, serving_ended) =
            Serving::start(chain.reader().clone(), network.clone(), handle.clone())?;
        let event_loop = Self {
            engine,
            log,
            chain,
            proposer,
            turn,
            evidence,
            started: Instant::now(),
            inbox,
            handle,
            status,
            builds: BTreeMap::new(),
            writes: FuturesOrdered::new(),
            asking: Asking::new(network.clone()),
            serving,
            told: ToldBoundaries::default(),
            blame: Blame::new(network.clone()),
            network,
        };
        Ok((event_loop, serving_ended))
    }

    /// Hands inputs to this loop.
    pub fn handle(&self) -> ConsensusHandle {
        self.handle.clone()
    }

    /// Answers peers.
    pub fn serving(&self) -> Serving {
        self.serving.clone()
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
        let tick = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(Some(written)) = self.writes.next() => Some(Inbound::Written(written)),
            answered = self.asking.next() => Some(Inbound::Answered(answered)),
            inbound = self.inbox.recv() => inbound,
            () = tick => Some(Inbound::Own(Input::Tick)),
        }
    }

    /// Takes this input and those that came meanwhile, so that they share one synced write.
    async fn take_turn(&mut self, first: Inbound, outputs: &mut Vec<Output>) -> Result<(), Halted> {
        let mut next = Some(first);
        for _ in 0..MAX_INPUTS_PER_TURN {
            let Some(inbound) = next.take() else { break };
            self.take(inbound, outputs).await?;
            next = self.inbox.try_recv();
        }
        match next {
            Some(inbound) => self.take(inbound, outputs).await,
            None => Ok(()),
        }
    }

    async fn take(&mut self, inbound: Inbound, outputs: &mut Vec<Output>) -> Result<(), Halted> {
        match inbound {
            Inbound::Own(input) => self.step(input, outputs),
            Inbound::Written(Written { place, ends_epoch }) => {
                self.log.prune(place)?;
                if ends_epoch {
                    let next = self.turn.next(&mut self.log, &mut self.proposer).await?;
                    self.step(Input::NextEpoch(next), outputs);
                }
            }
            Inbound::Heard(Heard { from, message, _share }) => {
                if !self.blame.is_refused(&from) {
                    self.step(Input::Message { from, message }, outputs);
                }
            }
            Inbound::Finalization(finalization) => self.take_finalization(finalization, outputs),
            Inbound::Answered(answered) => self.take_answer(answered, outputs),
            Inbound::Asked(asked) => {
                // What came before must be carried out first: the answer may depend on it.
                self.carry_out(std::mem::take(outputs), None).await?;
                let (from, message) = (asked.from, asked.question.into_message());
                let mut answer = Vec::new();
                self.step(Input::Message { from, message }, &mut answer);
                self.carry_out(answer, Some(asked)).await?;
            }
        }
        Ok(())
    }

    /// Judges a finalization from gossip. Passed on is what is new and verified: who passes on anything else is
    /// blamed for it by the others (W4). What is wrong lowers the score of who passed it on, and no more.
    fn take_finalization(&mut self, finalization: GossipedFinalization, outputs: &mut Vec<Output>) {
        let GossipedFinalization { from, bytes, id } = finalization;
        let verdict = match codec::decode::<Arc<Certificate>>(&bytes, MAX_FINALIZATION_BYTES) {
            Ok(certificate) => {
                let mut told = Vec::new();
                let message = Message::Certificate(certificate.clone());
                self.step(Input::Message { from, message }, &mut told);
                let verdict = verdict::on_finalization(&certificate, &told);
                told.retain(|output| !matches!(output, Output::Reject { .. }));
                outputs.append(&mut told);
                verdict
            }
            Err(_) => Verdict::Reject,
        };
        // A lost verdict only means that this message is not forwarded from here.
        let _ = self.network.judge(id, verdict);
    }

    fn take_answer(&mut self, answered: Answered, outputs: &mut Vec<Output>) {
        let Answered { peer: by, question, outcome } = answered;
        match outcome {
            Outcome::Answer(message) => {
                return self.step(Input::Message { from: by, message }, outputs);
            }
            Outcome::Fault(fault) => self.blame.found(by, &fault),
            Outcome::Nothing => {}
        }
        // For the others the engine asks another peer when no answer comes.
        if matches!(question, Question::Finalized(_)) {
            self.step(Input::Unanswered { from: by }, outputs);
        }
    }

    fn step(&mut self, input: Input, outputs: &mut Vec<Output>) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Now { monotonic: Moment::new(elapsed), wall: clock::now() };
        self.engine.step(now, input, outputs);
    }

    /// Carries out a turn's outputs in order, with everything durable before the first message
    /// leaves (`consensus/docs/protocol.md`, D). `asked` is a peer's question that this turn answers.
    async fn carry_out(&mut self, outputs: Vec<Output>, mut asked: Option<Asked>) -> Result<(), Halted> {
        if outputs.is_empty() {
            return Ok(());
        }
        self.make_durable(&outputs)?;
        for output in outputs {
            self.carry_out_one(output, &mut asked).await?;
        }
        Ok(())
    }

    async fn carry_out_one(&mut self, output: Output, asked: &mut Option<Asked>) -> Result<(), Halted> {
        match output {
            Output::Persist(_) => {}
            Output::Send { to, message } => {
                let asked =
                    asked.take_if(|asked| asked.from == to && asked.question.is_answered_by(&message));
                match asked {
                    Some(asked) => self.serving.respond(Answer::Message(message), asked.responder),
                    None => self.send(to, &message),
                }
            }
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
                let write = async move { receipt.await.is_ok().then_some(Written { place, ends_epoch }) };
                self.writes.push_back(write.boxed());
            }
            Output::ServeBlocks { to, request } => {
                self.serve(to, Answer::Blocks(request), asked);
            }
            Output::ServeFinalized { to, request } => {
                self.serve(to, Answer::Finalized(request), asked);
            }
            Output::ServeBoundary { to, epoch } => {
                self.serve(to, Answer::Boundary(epoch), asked);
            }
            Output::Reject { from, reason } => self.blame.found(from, &Fault::Rejected(reason)),
            Output::Evidence(evidence) => block_in_place(|| self.evidence.add(&evidence))?,
            Output::Halt(reason) => return Err(Halted::Engine(self.log.note_halt(reason))),
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
            handle.deliver(Input::Executed { block: hash, outcome }).await;
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

    /// Sends to one peer: a question as a request, everything else by the authority's stream, which none but
    /// authorities have.
    fn send(&mut self, to: PublicKey, message: &Message) {
        if let Some(question) = Question::of(message) {
            self.asking.ask(to, question);
        } else if let Err(error) = self.network.send_to_authority(&to, frame(message)) {
            debug!(%to, %error, "consensus: a message could not be sent");
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

    /// Answers a peer with what is read from the store, beside the loop. Without a question to answer that is only
    /// the end of an epoch, for an authority that says that it is still in there (E4).
    fn serve(&mut self, to: PublicKey, answer: Answer, asked: &mut Option<Asked>) {
        match (asked.take_if(|asked| asked.from == to), answer) {
            (Some(asked), answer) => self.serving.respond(answer, asked.responder),
            (None, Answer::Boundary(epoch)) if self.told.is_due(to, Instant::now()) => {
                self.serving.tell_boundary(to, epoch);
            }
            (None, _) => {}
        }
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

impl Drop for EventLoop {
    fn drop(&mut self) {
        for build in self.builds.values() {
            build.abort();
        }
    }
}
