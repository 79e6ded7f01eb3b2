//! A node's part in the consensus of a chain whose authorities change: one engine after the other, and
//! what the members of an epoch that is over still owe to those who are behind (`docs/protocol.md`, E3 to E7).

use std::sync::Arc;

use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::finality::Certificate;
use evchain_protocol::primitives::{Epoch, View};

use crate::authority_set::Committee;
use crate::block::BlockRef;
use crate::config::Config;
use crate::early::EarlyMessages;
use crate::engine::{Engine, Footprint};
use crate::input::{Input, Moment, NextEpoch, Now};
use crate::message::{GetCertificates, Message};
use crate::mutations::{Breakage, broken};
use crate::output::{HaltReason, Output};
use crate::turns::Turns;
use crate::wal::{Recovered, RecoveryError};

/// The current epoch's engine, and the way into the next one.
#[derive(Debug)]
pub struct Epochs {
    config: Config,
    key: Option<KeyPair>,
    engine: Engine,
    stage: Stage,
    /// The finalization of the block that the current epoch builds on; in a handover, of the one that
    /// the next epoch builds on.
    boundary: Option<Arc<Certificate>>,
    /// When the boundary is pushed again; `None` once the epoch has something final.
    push_due: Option<Moment>,
    /// Not before this is a peer from a later epoch asked for the end of ours.
    ask_due: Moment,
    /// Who claims to be in a later epoch.
    ahead: Turns,
    early: EarlyMessages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The engine runs, or has halted.
    InEpoch,
    /// The engine has ended; the shell was asked what comes next.
    Handover {
        /// What the last block's header says of the next authorities.
        next_authority_root: Hash,
    },
    Halted,
}

impl Epochs {
    /// The machine of a node that found `recovered` in the epoch of `committee` when it started.
    /// Without `key`, or with one that is not the committee's, it observes: it aggregates votes, follows
    /// and commits, and signs nothing, until an epoch comes of which it is a member.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub fn new(
        config: Config,
        committee: Committee,
        key: Option<KeyPair>,
        recovered: Recovered,
    ) -> Result<Self, RecoveryError> {
        let boundary = recovered.boundary.clone();
        let engine = Engine::new(config, committee, key.clone(), recovered)?;
        // Who has seen the end of the epoch before tells it again after a crash (E5).
        let push_due = boundary.as_ref().map(|_| Moment::default());
        Ok(Self {
            config,
            key,
            engine,
            stage: Stage::InEpoch,
            boundary,
            push_due,
            ask_due: Moment::default(),
            ahead: Turns::default(),
            early: EarlyMessages::default(),
        })
    }

    /// Takes one input and appends what it wants done to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match (self.stage, input) {
            (Stage::Halted, _) | (Stage::InEpoch, Input::NextEpoch(_)) => return,
            // E3: said again, of an epoch that has begun.
            (Stage::Handover { .. }, Input::NextEpoch(next)) if next.epoch <= self.epoch() => return,
            (Stage::Handover { next_authority_root }, Input::NextEpoch(next)) => {
                self.begin(next, next_authority_root, now, out);
            }
            (_, Input::Message { from, message }) => self.receive(from, message, now, out),
            (_, input) => self.drive(now, input, out),
        }
        self.push_boundary(now, out);
    }

    /// When to step with `Input::Tick`, unless something else comes first.
    pub fn next_deadline(&self) -> Option<Moment> {
        let push_due = self.push_due.filter(|_| self.engine.is_running());
        self.engine.next_deadline().into_iter().chain(push_due).min()
    }

    /// The current epoch; in a handover, the one that has ended.
    pub const fn epoch(&self) -> Epoch {
        self.engine.committee().epoch()
    }

    /// The current epoch's engine.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The current view.
    pub const fn view(&self) -> View {
        self.engine.view()
    }

    /// The last committed block.
    pub const fn tip(&self) -> BlockRef {
        self.engine.tip()
    }

    /// The current epoch's committee.
    pub const fn committee(&self) -> &Committee {
        self.engine.committee()
    }

    /// The leader of the current view.
    pub fn leader(&self) -> Option<PublicKey> {
        self.engine.leader()
    }

    /// Whether the node signs votes in this epoch.
    pub const fn is_voting(&self) -> bool {
        self.engine.is_voting()
    }

    /// How much it holds.
    pub fn footprint(&self) -> Footprint {
        let (early, early_bytes) = (self.early.len(), self.early.bytes());
        Footprint { early, early_bytes, ..self.engine.footprint() }
    }

    /// Steps the engine, and sees whether that ended the epoch.
    fn drive(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let before = out.len();
        self.engine.step(now, input, out);
        if self.stage == Stage::InEpoch && self.engine.has_ended() {
            let last_block = out.iter().skip(before).rev().find_map(|output| match output {
                Output::Commit { blocks, .. } => blocks.last(),
                _ => None,
            });
            if let Some(block) = last_block {
                let next_authority_root = block.header().next_authority_root;
                self.stage = Stage::Handover { next_authority_root };
                self.boundary = self.engine.tip_finalization().cloned();
                self.push_due = None;
            }
        }
    }

    /// E3: everything that the first vote of the new epoch needs to be durable was handed out before
    /// the shell could answer.
    fn begin(&mut self, next: NextEpoch, next_authority_root: Hash, now: Now, out: &mut Vec<Output>) {
        let (ended, root) = (self.engine.committee(), self.engine.tip());
        if ended.epoch().next() != Ok(next.epoch) || next.last_height <= root.height {
            return self.halt(next.epoch, out);
        }
        let committee =
            Committee::new(ended.chain(), next.epoch, next.authorities, root).ending_at(next.last_height);
        if committee.authority_root() != next_authority_root && !broken(Breakage::BelieveAnySet) {
            return self.halt(next.epoch, out);
        }
        let recovered = Recovered { may_vote: next.may_vote, ..Recovered::fresh(committee.root()) };
        let Ok(mut engine) = Engine::new(next.config, committee, self.key.clone(), recovered) else {
            return self.halt(next.epoch, out);
        };
        engine.prefer_source(self.engine.proven_source());
        self.config = next.config;
        self.engine = engine;
        self.ahead = Turns::default();
        self.stage = Stage::InEpoch;
        self.push_due = Some(now.monotonic);
        self.ask_due = now.monotonic;
        // The boundary first, so that nobody gets what it could not understand without it.
        self.push_boundary(now, out);
        self.drive(now, Input::Start, out);
        for (from, message) in self.early.take() {
            self.receive(from, message, now, out);
        }
    }

    fn halt(&mut self, next: Epoch, out: &mut Vec<Output>) {
        self.stage = Stage::Halted;
        out.push(Output::Halt(HaltReason::WrongNextEpoch(next)));
    }

    /// E4, E6: a message of the current epoch is the engine's, one of an older epoch shows who needs to
    /// hear of its end, and one of a later epoch who can tell us of the end of ours.
    fn receive(&mut self, from: PublicKey, message: Message, now: Now, out: &mut Vec<Output>) {
        let is_over = self.stage != Stage::InEpoch;
        match message.epoch() {
            Some(epoch) if epoch > self.epoch() => {
                if epoch.checked_sub(Epoch::new(1)) == Ok(self.epoch()) {
                    let is_authority = self.committee().index_of(&from).is_some();
                    self.early.keep(from, is_authority, message);
                }
                if !is_over {
                    self.ask(from, now, out);
                }
            }
            Some(epoch) if epoch < self.epoch() || is_over => self.help(from, epoch, &message, out),
            Some(_) | None => self.drive(now, Input::Message { from, message }, out),
        }
    }

    /// E4: tells a peer how its epoch ended. Only for what a node sends that is stuck: late votes are on
    /// their way at every boundary.
    fn help(&self, to: PublicKey, epoch: Epoch, message: &Message, out: &mut Vec<Output>) {
        if !matches!(message, Message::Status(_) | Message::GetCertificates(_))
            || broken(Breakage::NeverServeBoundary)
        {
            return;
        }
        match &self.boundary {
            Some(boundary) if boundary.subject.epoch() == epoch => {
                out.push(Output::Send { to, message: Message::Certificate(boundary.clone()) });
            }
            _ => out.push(Output::ServeBoundary { to, epoch }),
        }
    }

    /// E6: one of those who claim to be ahead is asked for the end of this epoch, at most once in a while
    /// and by turns, since anybody can claim that.
    fn ask(&mut self, claims: PublicKey, now: Now, out: &mut Vec<Output>) {
        self.ahead.tell(claims, self.engine.committee());
        if now.monotonic < self.ask_due || broken(Breakage::NeverAskAhead) {
            return;
        }
        let in_turn = self.ahead.next(self.engine.committee(), self.ahead.tellers());
        let first = broken(Breakage::AskFirstTeller).then_some(claims);
        let Some(to) = first.or(in_turn) else { return };
        self.ask_due = now.monotonic.after(self.config.retry_interval());
        let lo = self.tip().view.next().unwrap_or(View::MAX);
        let request = GetCertificates { epoch: self.epoch(), lo, hi: View::MAX };
        out.push(Output::Send { to, message: Message::GetCertificates(request) });
    }

    /// E5: until the new epoch has something final, its beginning is pushed to both sets.
    fn push_boundary(&mut self, now: Now, out: &mut Vec<Output>) {
        let (Some(boundary), Some(due)) = (&self.boundary, self.push_due) else { return };
        if self.tip().height > self.committee().root().height {
            self.push_due = None;
        } else if now.monotonic >= due && self.stage == Stage::InEpoch && !broken(Breakage::NeverPushBoundary)
        {
            out.push(Output::Broadcast(Message::Certificate(boundary.clone())));
            self.push_due = Some(now.monotonic.after(self.config.retry_interval()));
        }
    }
}
