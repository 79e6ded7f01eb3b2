//! What the nodes of the model share: keys, blocks, certificates, and every node state met so far.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::block::Header;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};

use super::node::{Identity, Node};
use crate::authority_set::Committee;
use crate::block::{Block, BlockRef, Payload};
use crate::engine::Fingerprint;
use crate::message::{Message, Proposal};
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::finality::Vote;
use evchain_protocol::finality::{Certificate, Subject};
use evchain_protocol::finality::{Justification, ParentProof};

/// The views that are modelled are 1 to this one.
pub(super) const LAST_VIEW: View = View::new(3);
const EPOCH: Epoch = Epoch::ZERO;

/// A block, by its place in [`Blocks`].
pub(super) type BlockId = u8;

/// A node's state, by its place in [`World`].
pub(super) type NodeId = u32;

/// Something that somebody can vote for, as a bit: three nullifies, then a notarize and a finalize for
/// each block.
pub(super) type SubjectId = u8;

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Event {
    /// Its timers run out.
    TimeOut,
    /// It hears a certificate.
    Learn(SubjectId),
    /// It hears a proposal.
    Propose(BlockId),
    /// It crashes and starts again.
    Restart,
}

/// Every block that was proposed, in the order of first appearance.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    in_order: Vec<Arc<Block>>,
    ids: BTreeMap<Hash, BlockId>,
    /// What the Byzantine leader made: parent, variant.
    forged: BTreeMap<(View, Option<BlockId>, Lie), BlockId>,
}

/// How the Byzantine leader's block is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lie {
    /// A block with a valid justification, one of two.
    Sound(u8),
    /// A block that skips all the views between its parent's and its own without a nullification.
    Gap,
}

impl Blocks {
    pub(super) fn insert(&mut self, block: Arc<Block>) -> BlockId {
        let next = u8::try_from(self.in_order.len()).expect("few blocks");
        // A subject of each kind for each block has to fit into the bits.
        assert!(next < 62, "too many blocks for the model");
        let blocks = &mut self.in_order;
        *self.ids.entry(block.hash()).or_insert_with(|| {
            blocks.push(block);
            next
        })
    }

    pub(super) fn by_hash(&self, hash: Hash) -> Option<Arc<Block>> {
        Some(self.in_order[usize::from(*self.ids.get(&hash)?)].clone())
    }

    pub(super) fn get(&self, id: BlockId) -> &Arc<Block> {
        &self.in_order[usize::from(id)]
    }

    /// The ids, ascending.
    pub(super) fn all(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        (0..).zip(self.in_order.iter().map(Arc::as_ref))
    }

    fn id_of(&self, subject: &Subject) -> SubjectId {
        match subject {
            Subject::Nullify(subject) => u8::try_from(subject.view.get() - 1).expect("few views"),
            Subject::Notarize(subject) => notarize(self.ids[&subject.block]),
            Subject::Finalize(subject) => finalize(self.ids[&subject.block]),
        }
    }

    /// The subject of a bit.
    pub(super) fn subject(&self, id: SubjectId) -> Subject {
        let Some(place) = id.checked_sub(notarize(0)) else {
            return Subject::nullify(EPOCH, View::new(u64::from(id) + 1));
        };
        let block = self.get(place / 2);
        let (view, hash) = (block.header().view, block.hash());
        if place % 2 == 0 {
            Subject::notarize(EPOCH, view, hash)
        } else {
            Subject::finalize(EPOCH, view, hash)
        }
    }

    fn summarize(&self, node: &Node, print: &Fingerprint) -> Summary {
        let modelled = |subject: &&Subject| subject.view() <= LAST_VIEW;
        let mask = |subjects: &[Subject]| -> u128 {
            subjects.iter().filter(modelled).fold(0, |mask, subject| mask | 1 << self.id_of(subject))
        };
        Summary {
            view: print.view.get(),
            voted: mask(&node.votes),
            holds: mask(&print.certificates),
            proposals: print.proposals.iter().fold(0, |mask, (view, _)| mask | 1 << view.get()),
            final_view: print.tip.0.get(),
            committed: node.committed.iter().map(|hash| self.ids[hash]).collect(),
            halted: print.halted,
        }
    }

    /// Whether one of two blocks is the other's ancestor, or the same.
    pub(super) fn on_one_chain(&self, one: BlockId, other: BlockId) -> bool {
        let chain = |id: BlockId| {
            let mut next = Some(id);
            std::iter::from_fn(move || {
                let id = next?;
                next = self.ids.get(&self.get(id).header().parent_hash).copied();
                Some(id)
            })
        };
        chain(one).any(|id| id == other) || chain(other).any(|id| id == one)
    }
}

/// What of a node's state decides what can happen to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    pub(super) view: u64,
    /// Everything that it ever voted.
    pub(super) voted: u128,
    /// Certificates that it holds.
    pub(super) holds: u128,
    /// Views, as bits, of which it has a proposal.
    pub(super) proposals: u8,
    pub(super) final_view: u64,
    pub(super) committed: Vec<BlockId>,
    pub(super) halted: bool,
}

/// How much is delivered and told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Nodes go from view to view, each by a certificate of the view that they leave. Whoever could jump
    /// ahead could as well be told of the views between, which exist, and say the same there or more.
    /// Certificates of past views are delivered if a vote to finalize follows. Finalizations are not:
    /// whoever knows one votes less, and for no block that it could not vote for before; two that
    /// contradict each other are found without delivering them.
    Reduced,
    /// The same, and finalizations may be delivered at any time.
    WithFinalizations,
    /// Every notarization, nullification and proposal may be delivered to everybody at any time; states
    /// are one if the engines are equal. For fewer views, to hold the reduced model against.
    Exact,
}

/// What the nodes share, and every state of theirs.
pub(super) struct World {
    pub(super) committee: Committee,
    keys: Vec<KeyPair>,
    /// The honest authorities.
    pub(super) honest: [usize; 3],
    pub(super) byzantine: AuthorityIndex,
    pub(super) depth: Depth,
    pub(super) tables: RwLock<Tables>,
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) blocks: Blocks,
    nodes: Vec<Node>,
    summaries: Vec<Summary>,
    ids: BTreeMap<(usize, Identity), NodeId>,
    steps: Vec<BTreeMap<Event, NodeId>>,
    certificates: BTreeMap<Subject, Arc<Certificate>>,
}

impl World {
    /// The world in which the leader of this view is Byzantine; that of view 4 leads none.
    pub(super) fn new(byzantine_view: View, depth: Depth) -> Self {
        let mut keys: Vec<KeyPair> = (1..=4).map(|byte| KeyPair::from_secret(&[byte; 32])).collect();
        keys.sort_by_key(KeyPair::public_key);
        let set = AuthoritySet::new(keys.iter().map(KeyPair::public_key).collect()).expect("four keys");
        let root = BlockRef {
            hash: Hash::from_bytes([9; 32]),
            height: Height::ZERO,
            view: View::ZERO,
            time_ms: Timestamp::new(1),
        };
        let committee = Committee::new(ChainId(Hash::from_bytes([8; 32])), EPOCH, set, root);
        let byzantine = committee.leader(byzantine_view);
        let mut honest = [0; 3];
        let others = (0..4).filter(|node| *node != usize::from(byzantine.get()));
        honest.iter_mut().zip(others).for_each(|(place, node)| *place = node);
        Self { committee, keys, honest, byzantine, depth, tables: RwLock::default() }
    }

    /// The first states of the honest nodes.
    pub(super) fn start(&self) -> [NodeId; 3] {
        let tables = &mut *self.tables.write().expect("no thread panicked");
        self.honest.map(|node| {
            let state = Node::start(&self.committee, &self.keys[node], &mut tables.blocks);
            self.intern(tables, node, state)
        })
    }

    /// The state of an honest node after an event.
    pub(super) fn step(&self, node: usize, from: NodeId, event: Event) -> NodeId {
        if let Some(known) = self.tables.read().expect("no thread panicked").steps[from as usize].get(&event)
        {
            return *known;
        }
        let tables = &mut *self.tables.write().expect("no thread panicked");
        let state = tables.nodes[from as usize].clone();
        let message = match event {
            Event::TimeOut | Event::Restart => None,
            Event::Learn(id) => {
                Some(Message::Certificate(self.certificate(tables, tables.blocks.subject(id))))
            }
            Event::Propose(id) => Some(self.proposal(tables.blocks.get(id))),
        };
        let blocks = &mut tables.blocks;
        let state = match (event, message) {
            (_, Some(message)) => state.hear(message, blocks),
            (Event::Restart, None) => state.restart(&self.committee, &self.keys[self.honest[node]], blocks),
            (_, None) => state.time_out(blocks),
        };
        let to = self.intern(tables, self.honest[node], state);
        tables.steps[from as usize].insert(event, to);
        to
    }

    /// The Byzantine leader's block in a view on this parent. `held` are the certificates that exist.
    pub(super) fn forge(&self, view: View, parent: Option<BlockId>, lie: Lie) -> BlockId {
        let key = (view, parent, lie);
        if let Some(known) = self.tables.read().expect("no thread panicked").blocks.forged.get(&key) {
            return *known;
        }
        let tables = &mut *self.tables.write().expect("no thread panicked");
        let block = self.forged(tables, view, parent, lie);
        let id = tables.blocks.insert(block);
        tables.blocks.forged.insert(key, id);
        id
    }

    fn forged(&self, tables: &mut Tables, view: View, parent: Option<BlockId>, lie: Lie) -> Arc<Block> {
        let reference = parent.map_or(self.committee.root(), |id| tables.blocks.get(id).reference());
        let proof = if parent.is_none() {
            ParentProof::Root
        } else {
            let subject = Subject::notarize(EPOCH, reference.view, reference.hash);
            ParentProof::Certificate(self.certificate(tables, subject))
        };
        let skipped = match lie {
            Lie::Sound(_) => reference.view.get() + 1..view.get(),
            Lie::Gap => 0..0,
        };
        let skips =
            skipped.map(|skip| self.certificate(tables, Subject::nullify(EPOCH, View::new(skip)))).collect();
        let just = Justification { parent: proof, skips: List::new(skips).expect("few views") };
        let payload = Payload::new(match lie {
            Lie::Sound(variant) => vec![0xb0 + variant],
            Lie::Gap => vec![0xba],
        });
        let header = Header {
            chain: self.committee.chain(),
            epoch: EPOCH,
            height: reference.height.next().expect("a low height"),
            view,
            parent_hash: reference.hash,
            parent_view: reference.view,
            proposer: self.committee.leader_key(view).expect("every view has a leader"),
            time_ms: Timestamp::new(reference.time_ms.get() + 1),
            tx_root: Hash::of_parts(
                evchain_protocol::crypto::Purpose::MerkleRoot,
                &[payload.as_ref().expect("a byte fits").as_bytes()],
            ),
            event_root: Hash::ZERO,
            state_root: Hash::ZERO,
            just_root: just.root(),
            authority_root: self.committee.authority_root(),
            next_authority_root: Hash::ZERO,
        };
        Arc::new(Block::new(header, just, payload.expect("a byte fits")).expect("its own justification"))
    }

    fn proposal(&self, block: &Arc<Block>) -> Message {
        let view = block.header().view;
        let leader = self.committee.leader(view);
        let vote = self.vote(leader, Subject::notarize(EPOCH, view, block.hash()));
        Message::Proposal(Proposal { block: block.clone(), again: None, vote })
    }

    /// Whether an authority leads a view of the model above this one.
    fn leads_after(&self, node: usize, view: View) -> bool {
        let mut later = (view.get()..LAST_VIEW.get()).map(|below| View::new(below + 1));
        later.any(|view| usize::from(self.committee.leader(view).get()) == node)
    }

    fn intern(&self, tables: &mut Tables, node: usize, state: Node) -> NodeId {
        let print = state.fingerprint();
        let identity = match self.depth {
            Depth::Exact => state.exact_identity(),
            Depth::WithFinalizations => state.reduced_identity(true),
            Depth::Reduced => state.reduced_identity(self.leads_after(node, print.view)),
        };
        let key = (node, identity);
        if let Some(known) = tables.ids.get(&key) {
            return *known;
        }
        let id = NodeId::try_from(tables.nodes.len()).expect("fewer states than that");
        tables.summaries.push(tables.blocks.summarize(&state, &print));
        tables.nodes.push(state);
        tables.steps.push(BTreeMap::new());
        tables.ids.insert(key, id);
        id
    }

    fn vote(&self, signer: AuthorityIndex, subject: Subject) -> Vote {
        let key = &self.keys[usize::from(signer.get())];
        let signature = key.sign(subject.purpose(), self.committee.chain(), &subject.signed_bytes());
        Vote { subject, signer, signature }
    }

    /// The one certificate of a subject. Which three signed it does not matter to an engine.
    fn certificate(&self, tables: &mut Tables, subject: Subject) -> Arc<Certificate> {
        let make = || {
            let votes = (0..3).map(|index| self.vote(AuthorityIndex::new(index), subject));
            let signatures = List::new(votes.map(|vote| vote.signature).collect()).expect("three");
            Arc::new(Certificate { subject, signers: (0..3).map(AuthorityIndex::new).collect(), signatures })
        };
        tables.certificates.entry(subject).or_insert_with(make).clone()
    }
}

impl Tables {
    pub(super) fn summary(&self, id: NodeId) -> &Summary {
        &self.summaries[id as usize]
    }

    /// How many states of single nodes, and steps of engines between them, there are.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.nodes.len(), self.steps.iter().map(BTreeMap::len).sum())
    }
}

/// The bits of all votes to notarize, and of all to finalize.
pub(super) const NOTARIZES: u128 = (u128::MAX / 3) << 3;
pub(super) const FINALIZES: u128 = NOTARIZES << 1;

/// The block that a bit of these is about.
pub(super) const fn block_of(id: SubjectId) -> BlockId {
    (id - 3) / 2
}

/// The bit of the vote to notarize a block.
pub(super) const fn notarize(block: BlockId) -> SubjectId {
    3 + 2 * block
}

/// The bit of the vote to finalize a block.
pub(super) const fn finalize(block: BlockId) -> SubjectId {
    notarize(block) + 1
}
