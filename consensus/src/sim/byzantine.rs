//! What Byzantine authorities do. Each runs an honest engine and lets something else leave; one file
//! for each behaviour.

mod bad_body;
mod beyond_epoch;
mod body_spoiler;
mod bogus_justification;
mod copy_forger;
mod delivers_to_one;
mod early_flooder;
mod equivocator;
mod far_finality;
mod flooder;
mod forker;
mod signs_everything;
mod silent_teller;
mod slanderer;
mod spoiler;
mod two_faced;
mod withholder;
mod wrong_epoch;

use std::sync::Arc;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::KeyPair;
use evchain_protocol::finality::{Subject, Vote};

use super::ledger::Ledger;
use super::plan::Plan;
use super::rng::Rng;
use crate::authority_set::Committee;
use crate::block::{Block, BlockRef, Payload};
use crate::message::{Message, Proposal};

pub use bad_body::BadBody;
pub use beyond_epoch::BeyondEpoch;
pub use body_spoiler::BodySpoiler;
pub use bogus_justification::BogusJustification;
pub use copy_forger::CopyForger;
pub use delivers_to_one::DeliversToOne;
pub use early_flooder::EarlyFlooder;
pub use equivocator::Equivocator;
pub use far_finality::FarFinality;
pub use flooder::Flooder;
pub use forker::Forker;
pub use signs_everything::SignsEverything;
pub use silent_teller::SilentTeller;
pub use slanderer::Slanderer;
pub use spoiler::Spoiler;
pub use two_faced::TwoFaced;
pub use withholder::Withholder;
pub use wrong_epoch::WrongEpoch;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everybody else.
    All,
    /// One node.
    Node(usize),
    /// Some nodes.
    Nodes(Vec<usize>),
}

impl Target {
    /// Whether a node is meant.
    pub fn includes(&self, node: usize) -> bool {
        match self {
            Self::All => true,
            Self::Node(one) => *one == node,
            Self::Nodes(some) => some.contains(&node),
        }
    }
}

/// How an authority misbehaves.
pub trait Behaviour {
    /// What leaves in place of a message that an honest node would send.
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)>;

    /// What leaves on hearing a message, besides.
    fn hear(&mut self, _forge: &mut Forge<'_>, _message: &Message) -> Vec<(Target, Message)> {
        Vec::new()
    }
}

impl Behaviour for Box<dyn Behaviour> {
    fn send(&mut self, forge: &mut Forge<'_>, target: Target, message: Message) -> Vec<(Target, Message)> {
        self.as_mut().send(forge, target, message)
    }

    fn hear(&mut self, forge: &mut Forge<'_>, message: &Message) -> Vec<(Target, Message)> {
        self.as_mut().hear(forge, message)
    }
}

/// What a Byzantine node has to lie with: its own key, and no other's.
pub struct Forge<'a> {
    pub(super) key: &'a KeyPair,
    pub(super) nodes: usize,
    pub(super) committee: &'a Committee,
    pub(super) ledger: &'a Ledger,
    pub(super) plan: &'a Plan,
    /// Randomness.
    pub rng: &'a mut Rng,
}

impl Forge<'_> {
    /// The number of nodes.
    pub const fn nodes(&self) -> usize {
        self.nodes
    }

    /// A vote, whatever was signed before.
    pub fn vote(&self, subject: Subject) -> Vote {
        let signature = self.key.sign(subject.purpose(), self.committee.chain(), &subject.signed_bytes());
        Vote { subject, signer: self.index(), signature }
    }

    /// A proposal of this block in the place of another one.
    pub fn propose_instead(&self, proposal: &Proposal, block: Arc<Block>) -> Proposal {
        let (epoch, view) = proposal.vote.subject.place();
        let vote = self.vote(Subject::notarize(epoch, view, block.hash()));
        Proposal { block, again: proposal.again.clone(), vote }
    }

    /// Another valid block in the place of this one.
    pub fn sibling(&mut self, block: &Block) -> Option<Arc<Block>> {
        let payload = Payload::new(self.rng.next().to_le_bytes().to_vec()).ok()?;
        let header = block.header();
        let parent = BlockRef {
            hash: header.parent_hash,
            view: header.parent_view,
            height: header.height.checked_sub(evchain_protocol::primitives::Height::new(1)).ok()?,
            time_ms: header.time_ms,
        };
        let contents = self.ledger.contents(parent, header.time_ms, payload, self.plan)?;
        let mut header = header.clone();
        header.time_ms = contents.time_ms;
        header.tx_root = contents.tx_root;
        header.state_root = contents.state_root;
        Block::new(header, block.just().clone(), contents.payload).ok().map(Arc::new)
    }

    fn index(&self) -> AuthorityIndex {
        self.committee.index_of(&self.key.public_key()).unwrap_or(AuthorityIndex::new(u8::MAX))
    }
}
