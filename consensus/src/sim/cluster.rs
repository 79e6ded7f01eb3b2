//! A cluster of nodes in virtual time.

mod blame;

use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_protocol::codec::{decode, encode};
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey, Purpose};
use evchain_protocol::finality::Subject;
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};

use super::byzantine::{Behaviour, Forge, Target};
use super::disk::Disk;
use super::network::Network;
use super::node::{Node, START_MS, random_key};
use super::plan::Plan;
use super::properties::{Properties, Violation};
use super::rng::Rng;
use super::setup::{Schedule, Setup};
use super::story::{Story, words};
use crate::authority_set::Committee;
use crate::block::{Block, BlockRef, Payload};
use crate::epochs::Epochs;
use crate::input::{Execution, Input, Moment, NextEpoch, Now};
use crate::message::{MAX_MESSAGE_BYTES, Message};
use crate::mutations::{Breakage, broken};
use crate::output::{BuildRequest, HaltReason, Output};
use crate::wal::LogRecord;

/// Nodes 0 to n-1 are the first epoch's authorities in the committee's order, the others follow.
pub struct Cluster {
    /// The network between them.
    pub network: Network,
    /// What happens, in words.
    pub story: Story,
    crashes: u64,
    builds_fail: bool,
    setup: Setup,
    plan: Plan,
    committee: Committee,
    nodes: Vec<Node>,
    rng: Rng,
    now_ms: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    properties: Properties,
    violation: Option<Violation>,
    /// More than f nodes are Byzantine: what they break does not end the run.
    beyond_f: bool,
    tolerated: Vec<Violation>,
    trace: Vec<Hash>,
}

enum Event {
    Deliver { from: usize, bytes: Arc<[u8]> },
    Tick { incarnation: u64 },
    Executed { incarnation: u64, block: Hash, outcome: Execution },
    Build { incarnation: u64, request: Box<BuildRequest> },
    NextEpoch { incarnation: u64, next: Box<NextEpoch> },
    Start,
}

impl Cluster {
    /// The cluster, with all nodes started.
    ///
    /// # Panics
    /// With no or too many authorities.
    pub fn new(setup: Setup) -> Self {
        let mut rng = Rng::new(setup.seed);
        let chain = ChainId(Hash::of(Purpose::Genesis, &setup.seed.to_le_bytes()));
        let root = BlockRef {
            hash: Hash::of(Purpose::BlockId, chain.0.as_bytes()),
            height: Height::ZERO,
            view: View::ZERO,
            time_ms: Timestamp::new(START_MS),
        };
        let mut keys: Vec<KeyPair> = (0..setup.authorities).map(|_| random_key(&mut rng)).collect();
        keys.sort_by_key(KeyPair::public_key);
        keys.extend((0..setup.observers).map(|_| random_key(&mut rng)));
        let public: Vec<PublicKey> = keys.iter().map(KeyPair::public_key).collect();
        let for_ever = || Schedule { length: u64::MAX, sets: vec![(0..setup.authorities).collect()] };
        let schedule = setup.schedule.clone().unwrap_or_else(for_ever);
        let plan = Plan::new(chain, root, schedule, &public);
        let committee = plan.committee_on(root);
        let nodes = keys.into_iter().map(|key| Node::new(key, root)).collect();
        let mut cluster = Self {
            network: Network::new(setup.quality),
            story: Story::default(),
            crashes: 0,
            builds_fail: false,
            setup,
            plan,
            committee,
            nodes,
            rng,
            now_ms: 0,
            sequence: 0,
            events: BTreeMap::new(),
            properties: Properties::default(),
            violation: None,
            beyond_f: false,
            tolerated: Vec::new(),
            trace: Vec::new(),
        };
        (0..cluster.nodes.len()).for_each(|node| cluster.restart(node));
        cluster
    }

    /// Makes an authority Byzantine.
    pub fn corrupt(&mut self, node: usize, behaviour: impl Behaviour + 'static) {
        self.nodes[node].behaviour = Some(Box::new(behaviour));
    }

    /// From now on no leader's shell can make a block, so that each gives its view up at once.
    pub const fn stop_building(&mut self, stops: bool) {
        self.builds_fail = stops;
    }

    /// Multiplies a node's execution time.
    pub fn slow_execution(&mut self, node: usize, factor: u64) {
        self.nodes[node].execution_factor = factor;
    }

    /// From now on a node's state names other authorities than its headers.
    pub fn mislead(&mut self, node: usize) {
        self.nodes[node].misled = true;
    }

    /// Makes each sync of a node's disk take this long.
    pub fn slow_disk(&mut self, node: usize, sync_ms: u64) {
        self.nodes[node].sync_ms = sync_ms;
    }

    /// Sets a node's wall clock ahead, or behind if negative.
    pub fn skew_clock(&mut self, node: usize, ahead_ms: i64) {
        self.nodes[node].clock_ahead_ms = ahead_ms;
    }

    /// Takes a node down. What it had not synced may be lost.
    pub fn crash(&mut self, node: usize) {
        self.crashes += u64::from(self.nodes[node].engine.is_some());
        self.story.note(self.now_ms, node, || Some("crashes".to_owned()));
        let node = &mut self.nodes[node];
        node.engine = None;
        node.outputs_left = None;
        node.disk_busy_until_ms = 0;
        node.disk.crash(&mut self.rng);
    }

    /// Takes a node down after this many further outputs, in the middle of a step.
    pub fn crash_after_outputs(&mut self, node: usize, outputs: u64) {
        self.nodes[node].outputs_left = Some(outputs);
    }

    /// Empties the disk of a node that is down. It will only observe until the next epoch.
    pub fn wipe(&mut self, node: usize) {
        self.nodes[node].wipe(self.plan.genesis());
    }

    /// Fills a node's disk, or makes its syncs fail, or mends it. The node stops at its next write.
    pub fn fail_disk(&mut self, node: usize, fails: bool) {
        self.nodes[node].disk.set_failing(fails);
    }

    /// Takes back all crashes that have not happened.
    pub fn disarm(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.outputs_left = None);
    }

    /// Starts a node, at once.
    pub fn restart(&mut self, node: usize) {
        self.restart_at(node, self.now_ms);
    }

    /// Starts a node at this time.
    pub fn restart_at(&mut self, node: usize, at_ms: u64) {
        self.schedule(at_ms, node, Event::Start);
    }

    /// Runs for this long, or until an invariant breaks.
    pub fn run_for(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// Runs until `done`, for at most this long. Tells whether `done` became true.
    pub fn run_until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end_ms = self.now_ms + ms;
        while self.violation.is_none() {
            if done(self) {
                return true;
            }
            let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end_ms) else {
                break;
            };
            let ((at_ms, _), (node, event)) = entry.remove_entry();
            self.now_ms = self.now_ms.max(at_ms);
            self.handle(node, event);
        }
        self.now_ms = end_ms;
        done(self)
    }

    /// The highest height that an honest node committed.
    pub fn best_height(&self) -> u64 {
        self.properties.best_height().get()
    }

    /// The height that a node committed, 0 while it is down.
    pub fn height(&self, node: usize) -> u64 {
        self.nodes[node].engine.as_ref().map_or(0, |engine| engine.tip().height.get())
    }

    /// The lowest height of the honest nodes that are up.
    pub fn lowest_height(&self) -> u64 {
        let up = self.nodes.iter().filter(|node| node.behaviour.is_none());
        up.filter_map(|node| Some(node.engine.as_ref()?.tip().height.get())).min().unwrap_or(0)
    }

    /// A node's engine, unless it is down.
    pub fn engine(&self, node: usize) -> Option<&Epochs> {
        self.nodes[node].engine.as_ref()
    }

    /// A node's disk.
    pub fn disk(&self, node: usize) -> &Disk {
        &self.nodes[node].disk
    }

    /// Why a node's engine halted.
    pub fn halted(&self, node: usize) -> Option<&HaltReason> {
        self.nodes[node].halted.as_ref()
    }

    /// What was seen.
    pub const fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The first epoch's committee.
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never true in practice: a cluster has at least one authority.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The simulated time, in ms since the start.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The outputs that a node carried out.
    pub fn outputs_done(&self, node: usize) -> u64 {
        self.nodes[node].outputs_done
    }

    /// How often a node that was up went down.
    pub const fn crashes(&self) -> u64 {
        self.crashes
    }

    /// A hash over everything that the nodes did. Equal setups give equal digests.
    pub fn digest(&self) -> Hash {
        let parts: Vec<&[u8]> = self.trace.iter().map(|hash| hash.as_bytes().as_slice()).collect();
        Hash::of_parts(Purpose::MerkleRoot, &parts)
    }

    fn schedule(&mut self, at_ms: u64, node: usize, event: Event) {
        self.sequence += 1;
        self.events.insert((at_ms, self.sequence), (node, event));
    }

    fn handle(&mut self, node: usize, event: Event) {
        let incarnation = self.nodes[node].incarnation;
        let input = match event {
            Event::Start => return self.start(node),
            Event::Deliver { from, bytes } => {
                let message: Message = decode(&bytes, MAX_MESSAGE_BYTES).expect("what was sent decodes");
                self.hear(node, &message);
                Input::Message { from: self.nodes[from].key.public_key(), message }
            }
            Event::Tick { incarnation: of } if of == incarnation => {
                self.nodes[node].tick_at = None;
                Input::Tick
            }
            Event::Executed { incarnation: of, block, outcome } if of == incarnation => {
                Input::Executed { block, outcome }
            }
            Event::Build { incarnation: of, request } if of == incarnation => {
                let block = self.build(node, &request);
                Input::Built { epoch: request.epoch, view: request.view, block }
            }
            Event::NextEpoch { incarnation: of, next } if of == incarnation => {
                return self.begin_epoch(node, *next);
            }
            Event::Tick { .. } | Event::Executed { .. } | Event::Build { .. } | Event::NextEpoch { .. } => {
                return;
            }
        };
        self.step(node, input);
    }

    fn start(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if state.engine.is_some() {
            return;
        }
        match state.start(&self.plan, self.setup.config) {
            Ok(()) => {
                self.story.note(self.now_ms, node, || Some("starts".to_owned()));
                self.step(node, Input::Start);
            }
            Err(error) => self.violate(Violation { invariant: "I11", what: error.to_string() }),
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let state = &mut self.nodes[node];
        let wall = state.wall(self.now_ms);
        let Some(engine) = &mut state.engine else { return };
        let now = Now { monotonic: Moment::new(self.now_ms), wall };
        let mut outputs = Vec::new();
        engine.step(now, input, &mut outputs);
        if state.behaviour.is_none() {
            let result = self.properties.stepped(node, state.incarnation, engine);
            self.check(result);
        }
        self.nodes[node].note_vote();
        for output in outputs {
            if self.nodes[node].outputs_left == Some(0) {
                return self.crash(node);
            }
            let state = &mut self.nodes[node];
            state.outputs_left = state.outputs_left.map(|left| left - 1);
            state.outputs_done += 1;
            self.carry_out(node, output);
            if self.nodes[node].engine.is_none() {
                return;
            }
        }
        self.schedule_tick(node);
    }

    /// What the shell says late of the epoch before, that a block could not be made, has no effect (P4).
    fn begin_epoch(&mut self, node: usize, next: NextEpoch) {
        let before = self.nodes[node].engine.as_ref().map(Epochs::epoch);
        self.step(node, Input::NextEpoch(next));
        let view = self.nodes[node].engine.as_ref().map(Epochs::view);
        if let (Some(epoch), Some(view)) = (before, view) {
            self.step(node, Input::Built { epoch, view, block: None });
        }
    }

    fn schedule_tick(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let Some(deadline) = state.engine.as_ref().and_then(Epochs::next_deadline) else { return };
        let at_ms = deadline.get().max(self.now_ms + 1);
        if state.tick_at.is_none_or(|scheduled| at_ms < scheduled) {
            state.tick_at = Some(at_ms);
            let incarnation = state.incarnation;
            self.schedule(at_ms, node, Event::Tick { incarnation });
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        let incarnation = self.nodes[node].incarnation;
        match output {
            Output::Persist(record) => self.persist(node, record),
            Output::Send { to, message } => {
                if let Some(to) = self.nodes.iter().position(|other| other.key.public_key() == to) {
                    self.send(node, Target::Node(to), message);
                }
            }
            Output::Broadcast(message) => self.send(node, self.audience(node, &message), message),
            Output::Build(request) => self.ask_for_block(node, request),
            Output::CancelBuild { .. } => {}
            Output::Execute(block) => {
                let wait_ms = self.rng.below(self.setup.max_execution_ms + 1);
                let wait_ms = wait_ms * self.nodes[node].execution_factor;
                let outcome = self.nodes[node].ledger.execute(&block, &self.plan);
                let event = Event::Executed { incarnation, block: block.hash(), outcome };
                self.schedule(self.now_ms + wait_ms, node, event);
            }
            Output::Commit { blocks, finalization, ends_epoch } => {
                if self.nodes[node].is_honest() {
                    let above = self.nodes[node].disk.height_given();
                    let result = self.properties.committed(above, &blocks, &finalization, &self.plan);
                    self.check(result);
                }
                self.story.note(self.now_ms, node, || {
                    Some(format!("commits {} blocks, {:?}", blocks.len(), finalization.subject))
                });
                self.trace.push(finalization.subject.block().unwrap_or_default());
                if let Some(last) = blocks.last().filter(|_| ends_epoch) {
                    let mut next = Box::new(self.plan.next_epoch(last.header().height, self.setup.config));
                    if self.nodes[node].misled {
                        next.authorities = self.committee.authorities().clone();
                    }
                    next.may_vote = self.nodes[node].may_vote(next.epoch);
                    let wait_ms = self.rng.below(self.setup.max_execution_ms + 1);
                    let wait_ms = wait_ms * self.nodes[node].execution_factor;
                    self.schedule(self.now_ms + wait_ms, node, Event::NextEpoch { incarnation, next });
                }
                if !(ends_epoch && broken(Breakage::BoundaryNotDurable)) {
                    self.nodes[node].disk.commit(blocks, finalization);
                }
            }
            Output::ServeBlocks { to, request } => {
                let answer = self.nodes[node].disk.serve_blocks(request.newest, request.above);
                self.answer(node, to, answer.map(Message::Blocks));
            }
            Output::ServeFinalized { to, request } => {
                let answer = self.nodes[node].disk.serve_finalized(request.above);
                self.answer(node, to, answer.map(Message::Finalized));
            }
            Output::ServeBoundary { to, epoch } => {
                let answer = self.nodes[node].disk.serve_boundary(&self.plan, epoch);
                self.answer(node, to, answer.map(Message::Certificate));
            }
            Output::Evidence(evidence) => self.accuse(node, &evidence),
            Output::Reject { from, reason } => self.rejected(node, from, &reason.to_string()),
            Output::Halt(reason) => {
                if self.nodes[node].behaviour.is_none() {
                    self.violate(Violation { invariant: "halt", what: format!("node {node}: {reason}") });
                }
                self.nodes[node].halted = Some(reason);
            }
        }
    }

    /// Whom a broadcast reaches: the authorities of the epoch and of the one before, and everybody if it
    /// is a finalization. A Byzantine node may know them all.
    fn audience(&self, node: usize, message: &Message) -> Target {
        let is_final = matches!(message, Message::Certificate(certificate)
            if matches!(certificate.subject, Subject::Finalize(_)));
        let Some(engine) = self.nodes[node].engine.as_ref().filter(|_| self.nodes[node].is_honest()) else {
            return Target::All;
        };
        if is_final {
            return Target::All;
        }
        let epoch = engine.epoch();
        let before = epoch.checked_sub(Epoch::new(1)).unwrap_or(epoch);
        Target::Nodes([self.plan.members(epoch), self.plan.members(before)].concat())
    }

    fn answer(&mut self, node: usize, to: PublicKey, answer: Option<Message>) {
        if let Some(message) = answer {
            self.carry_out(node, Output::Send { to, message });
        }
    }

    fn ask_for_block(&mut self, node: usize, request: BuildRequest) {
        if self.nodes[node].is_honest() {
            let result = self.properties.builds(node, &request, &self.plan);
            self.check(result);
        }
        let wait_ms = self.rng.below(self.setup.max_build_ms + 1);
        let incarnation = self.nodes[node].incarnation;
        let event = Event::Build { incarnation, request: Box::new(request) };
        self.schedule(self.now_ms + wait_ms, node, event);
    }

    fn persist(&mut self, node: usize, record: LogRecord) {
        let state = &mut self.nodes[node];
        let certificate = match &record {
            LogRecord::Certificate(certificate) => Some(certificate.clone()),
            LogRecord::Block(block) if state.is_honest() => {
                self.properties.valid_block(block);
                None
            }
            LogRecord::Vote(_) | LogRecord::Block(_) => None,
        };
        state.disk.persist(record);
        let Some(certificate) = certificate.filter(|_| state.is_honest()) else { return };
        let result = self.properties.certificate(&certificate, &self.plan);
        self.check(result);
        if matches!(certificate.subject, Subject::Finalize(_)) {
            let epoch = certificate.subject.epoch();
            let members = self.plan.members(epoch).iter().map(|member| &self.nodes[*member]);
            let disks = members.filter(|node| node.is_honest()).map(|node| &node.disk);
            let f = self.plan.electorate(epoch).authorities.max_faulty();
            let result = self.properties.body_is_held(&certificate, disks, f);
            self.check(result);
        }
    }

    /// Syncs, then hands a message to the network, or to what a Byzantine node does instead.
    fn send(&mut self, node: usize, target: Target, message: Message) {
        let state = &mut self.nodes[node];
        state.wait_for_disk(self.now_ms);
        if state.disk.sync().is_err() {
            return self.crash(node); // Nothing may leave, and nobody knows what the log holds.
        }
        let Some(mut behaviour) = state.behaviour.take() else {
            let result = self.properties.sent(node, &message, &state.disk, &self.plan);
            self.check(result);
            return self.transmit(node, &target, &message);
        };
        let messages = behaviour.send(&mut self.forge(node), target, message);
        self.nodes[node].behaviour = Some(behaviour);
        for (target, message) in messages {
            self.transmit(node, &target, &message);
        }
    }

    fn hear(&mut self, node: usize, message: &Message) {
        if self.nodes[node].engine.is_none() {
            return;
        }
        let Some(mut behaviour) = self.nodes[node].behaviour.take() else { return };
        let messages = behaviour.hear(&mut self.forge(node), message);
        self.nodes[node].behaviour = Some(behaviour);
        for (target, message) in messages {
            self.transmit(node, &target, &message);
        }
    }

    fn forge(&mut self, node: usize) -> Forge<'_> {
        let (nodes, state) = (self.nodes.len(), &self.nodes[node]);
        let committee = state.engine.as_ref().map_or(&self.committee, Epochs::committee);
        let (key, ledger, plan) = (&state.key, &state.ledger, &self.plan);
        Forge { key, nodes, committee, ledger, plan, rng: &mut self.rng }
    }

    fn transmit(&mut self, from: usize, target: &Target, message: &Message) {
        self.story.note(self.now_ms, from, || words(message));
        let bytes: Arc<[u8]> = encode(message).into();
        self.trace.push(Hash::of_parts(Purpose::MerkleLeaf, &[&self.now_ms.to_le_bytes(), &bytes]));
        let leaves_ms = self.now_ms.max(self.nodes[from].disk_busy_until_ms);
        let all = 0..self.nodes.len();
        for to in all.filter(|to| *to != from && target.includes(*to)) {
            for delay_ms in self.network.delays(&mut self.rng, from, to, message) {
                let event = Event::Deliver { from, bytes: bytes.clone() };
                self.schedule(leaves_ms + delay_ms, to, event);
            }
        }
    }

    fn build(&mut self, node: usize, request: &BuildRequest) -> Option<Arc<Block>> {
        if self.builds_fail {
            return None;
        }
        let payload = Payload::new(self.rng.next().to_le_bytes().to_vec()).ok()?;
        let state = &mut self.nodes[node];
        let wall = state.wall(self.now_ms);
        let contents = state.ledger.contents(request.parent, wall, payload, &self.plan)?;
        let block = request.finish(contents);
        state.ledger.execute(&block, &self.plan);
        Some(block)
    }
}
