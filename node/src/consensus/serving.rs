//! Answers to peers, made by a thread of their own. Nothing that peers ask for waits in front of the execution of
//! blocks or the verification of transactions, or takes threads from them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use evchain_consensus::message::{GetBlocks, GetFinalized, Message};
use evchain_protocol::codec;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::Epoch;
use tokio::sync::oneshot;
use tracing::{debug, error};

use super::blame::Blame;
use super::inbox::{Asked, ConsensusHandle};
use super::log::frame;
use super::question::Question;
use crate::chain::ChainReader;
use crate::network::{NetworkHandle, SyncResponder};
use crate::store::StoreError;

/// Jobs that wait for the thread; above, the asker is told that this node is busy. The network admits fewer
/// requests at a time.
const MAX_JOBS: usize = 64;

/// An authority that is in an epoch that is over is told its end at most so often. It repeats where it stands
/// until it has got out.
const BOUNDARY_INTERVAL: Duration = Duration::from_millis(100);

/// What the engine wants a peer to be answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// What is in memory.
    Message(Message),
    Finalized(GetFinalized),
    Blocks(GetBlocks),
    /// The end of an epoch.
    Boundary(Epoch),
}

#[derive(Debug)]
enum Job {
    Request {
        from: PublicKey,
        bytes: Vec<u8>,
        responder: SyncResponder,
    },
    Respond {
        answer: Answer,
        responder: SyncResponder,
    },
    /// By the authority's stream.
    TellBoundary {
        to: PublicKey,
        epoch: Epoch,
    },
}

/// Hands jobs to the thread, which ends when the last of these is gone.
#[derive(Clone)]
pub struct Serving {
    jobs: SyncSender<Job>,
    network: NetworkHandle,
}

impl Serving {
    /// Starts the thread. The receiver learns that the thread has let go of the store.
    pub(super) fn start(
        chain: ChainReader,
        network: NetworkHandle,
        consensus: ConsensusHandle,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (jobs, inbox) = sync_channel(MAX_JOBS);
        let (ended, has_ended) = oneshot::channel();
        let server =
            Server { chain, consensus, blame: Blame::new(network.clone()), network: network.clone() };
        std::thread::Builder::new().name("serving".to_owned()).spawn(move || {
            server.run(&inbox);
            // Nobody waits for it where the node is not stopped in an orderly way.
            let _ = ended.send(());
        })?;
        Ok((Self { jobs, network }, has_ended))
    }

    /// Answers a peer's request. Never waits.
    pub fn request(&self, from: PublicKey, bytes: Vec<u8>, responder: SyncResponder) {
        self.give(Job::Request { from, bytes, responder });
    }

    /// Answers a request that the engine has looked at.
    pub(super) fn respond(&self, answer: Answer, responder: SyncResponder) {
        self.give(Job::Respond { answer, responder });
    }

    /// Tells an authority how an epoch ended.
    pub(super) fn tell_boundary(&self, to: PublicKey, epoch: Epoch) {
        self.give(Job::TellBoundary { to, epoch });
    }

    fn give(&self, job: Job) {
        // Dropping a responder tells the peer that this node is busy.
        if self.jobs.try_send(job).is_err() {
            self.network.count_drop("serving_queue");
        }
    }
}

/// The thread's state.
struct Server {
    chain: ChainReader,
    consensus: ConsensusHandle,
    network: NetworkHandle,
    blame: Blame,
}

impl Server {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let done = match job {
                Job::Request { from, bytes, responder } => self.request(from, &bytes, responder),
                Job::Respond { answer, responder } => self.respond(answer, responder),
                Job::TellBoundary { to, epoch } => self.tell_boundary(to, epoch),
            };
            if let Err(error) = done {
                error!(%error, "consensus: a peer's request could not be answered");
            }
        }
    }

    fn request(&mut self, from: PublicKey, bytes: &[u8], responder: SyncResponder) -> Result<(), StoreError> {
        if self.blame.is_refused(&from) {
            return Ok(());
        }
        match Question::decode(bytes) {
            Ok(Question::Finalized(request)) => self.respond(Answer::Finalized(request), responder),
            Ok(Question::Blocks(request)) if self.chain.height_of(&request.newest)?.is_some() => {
                self.respond(Answer::Blocks(request), responder)
            }
            Ok(question @ (Question::Blocks(_) | Question::Certificates(_))) => {
                if !self.consensus.ask(Asked { from, question, responder }) {
                    self.network.count_drop("engine_questions");
                }
                Ok(())
            }
            Err(fault) => {
                self.blame.found(from, &fault);
                Ok(())
            }
        }
    }

    /// Answers, if the peer still waits and holds no more than it may: what is not there to give, or is too much,
    /// drops the responder, which tells the peer that this node is busy.
    fn respond(&self, answer: Answer, mut responder: SyncResponder) -> Result<(), StoreError> {
        if responder.is_wanted()
            && responder.reserve()
            && let Some(message) = self.read(answer)?
        {
            responder.respond(codec::encode(&message));
        }
        Ok(())
    }

    fn read(&self, answer: Answer) -> Result<Option<Message>, StoreError> {
        Ok(match answer {
            Answer::Message(message) => Some(message),
            Answer::Finalized(request) => self.chain.finalized_above(request)?.map(Message::Finalized),
            Answer::Blocks(request) => self.chain.blocks_below(request)?.map(Message::Blocks),
            Answer::Boundary(epoch) => {
                self.chain.boundary_of(epoch)?.map(|end| Message::Certificate(Arc::new(end)))
            }
        })
    }

    fn tell_boundary(&self, to: PublicKey, epoch: Epoch) -> Result<(), StoreError> {
        if let Some(message) = self.read(Answer::Boundary(epoch))?
            && let Err(error) = self.network.send_to_authority(&to, frame(&message))
        {
            debug!(%to, %error, "consensus: a message could not be sent");
        }
        Ok(())
    }
}

/// Who was told the end of an epoch a moment ago.
#[derive(Debug, Default)]
pub(super) struct ToldBoundaries {
    until: BTreeMap<PublicKey, Instant>,
}

impl ToldBoundaries {
    /// Whether an authority is to be told now.
    pub(super) fn is_due(&mut self, to: PublicKey, now: Instant) -> bool {
        self.until.retain(|_, until| *until > now);
        !self.until.contains_key(&to) && self.until.insert(to, now + BOUNDARY_INTERVAL).is_none()
    }
}
