//! The invariants of `docs/protocol.md`, checked on everything that honest nodes do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::encode;
use evchain_protocol::crypto::{Hash, Purpose, Signature};
use evchain_protocol::execute::MAX_OFFENCES;
use evchain_protocol::finality::{Certificate, Evidence, OffenceKind, Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, View};

use super::disk::Disk;
use super::plan::Plan;
use crate::block::Block;
use crate::early::MAX_EARLY_BYTES;
use crate::engine::VIEWS_AHEAD;
use crate::epochs::Epochs;
use crate::message::Message;
use crate::output::BuildRequest;
use crate::watch::VIEWS_WATCHED;

/// A broken invariant: its number and what happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    /// Its number, such as "I1".
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

/// A view of an epoch.
type Place = (Epoch, View);

/// Who accuses in which life, and whom, in which epoch.
type Accused = (usize, u64, usize, Epoch);

/// What somebody is accused of.
type Offences = BTreeSet<(View, OffenceKind)>;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Properties {
    committed: BTreeMap<Height, Hash>,
    notarized: BTreeMap<Place, Hash>,
    nullified: BTreeSet<Place>,
    finalized: BTreeMap<Place, Hash>,
    votes: BTreeMap<(usize, Place), Votes>,
    /// The heights of blocks that honest nodes proposed or found valid.
    heights: BTreeMap<Hash, Height>,
    /// Certificates, by their hash, and the signatures in them: real signatures cost most of a run.
    verified: BTreeSet<Hash>,
    signatures: BTreeMap<(Subject, AuthorityIndex), Signature>,
    progress: BTreeMap<(usize, u64), (Place, Height)>,
    /// What each node's engine gathered in each of its lives against whom.
    accusations: BTreeMap<Accused, Offences>,
}

#[derive(Debug, Default)]
struct Votes {
    notarize: Option<Hash>,
    nullify: bool,
    finalize: Option<Hash>,
}

impl Properties {
    /// The highest committed height.
    pub fn best_height(&self) -> Height {
        self.committed.keys().next_back().copied().unwrap_or(Height::ZERO)
    }

    /// Whether a nullification of this view of the first epoch was seen.
    pub fn is_nullified(&self, view: View) -> bool {
        self.nullified.contains(&(Epoch::ZERO, view))
    }

    /// In how many views a nullification was seen.
    pub fn nullified_views(&self) -> usize {
        self.nullified.len()
    }

    /// Whether a notarization of this view of the first epoch was seen.
    pub fn is_notarized(&self, view: View) -> bool {
        self.notarized.contains_key(&(Epoch::ZERO, view))
    }

    /// The views in which a block was notarized.
    pub fn notarized_in(&self, block: Hash) -> Vec<View> {
        self.notarized.iter().filter(|(_, hash)| **hash == block).map(|((_, view), _)| *view).collect()
    }

    /// The committed block at a height.
    pub fn committed_at(&self, height: Height) -> Option<Hash> {
        self.committed.get(&height).copied()
    }

    /// I1, I4, I9: an honest node commits what follows on this height.
    pub fn committed(
        &mut self,
        above: Height,
        blocks: &[Arc<Block>],
        finalization: &Certificate,
        plan: &Plan,
    ) -> Result<(), Violation> {
        for (block, place) in blocks.iter().zip(1..) {
            let header = block.header();
            let height = header.height;
            ensure("I4", height.get() == above.get() + place, || {
                format!("a block at height {height} is committed as number {place} above height {above}")
            })?;
            let first = *self.committed.entry(height).or_insert(block.hash());
            ensure("I1", first == block.hash(), || {
                format!("{first} and {} at height {height}", block.hash())
            })?;
            let below =
                height.get().checked_sub(1).map(Height::new).and_then(|below| self.committed.get(&below));
            ensure("I4", below.is_none_or(|below| *below == header.parent_hash), || {
                format!("the block at height {height} does not follow from the one below")
            })?;
            ensure("I9", height <= plan.last_height(header.epoch), || {
                format!("beyond its epoch: a block of epoch {} at height {height} is committed", header.epoch)
            })?;
            for certificate in block.just().certificates() {
                self.certificate(certificate, plan)?;
            }
            // Not by `check_shape`, which may be what is wrong.
            let mut between = (header.parent_view.get()..header.view.get()).skip(1).map(View::new);
            ensure("I4", between.all(|view| self.nullified.contains(&(header.epoch, view))), || {
                format!("a view below the block at height {height} was skipped and not nullified")
            })?;
        }
        let last = blocks.last().map(|block| block.hash());
        ensure("I8", finalization.subject.block() == last, || "a commit without its finalization".to_owned())
    }

    /// I2, I3, I8: a certificate that an honest node believes.
    pub fn certificate(&mut self, certificate: &Certificate, plan: &Plan) -> Result<(), Violation> {
        let id = Hash::of(Purpose::MerkleLeaf, &encode(certificate));
        if !self.verified.insert(id) {
            return Ok(());
        }
        let subject = certificate.subject;
        certificate
            .verify(&plan.electorate(subject.epoch()), |signer| {
                self.signatures.get(&(subject, signer)).copied()
            })
            .map_err(|error| Violation { invariant: "I8", what: format!("{subject:?}: {error}") })?;
        for (signer, signature) in certificate.signers.iter().zip(certificate.signatures.iter()) {
            self.signatures.insert((subject, signer), *signature);
        }
        let (place, view) = (subject.place(), subject.view());
        match certificate.subject {
            Subject::Notarize(subject) => {
                let first = *self.notarized.entry(place).or_insert(subject.block);
                ensure("I2", first == subject.block, || format!("two notarizations in view {view}"))?;
            }
            Subject::Nullify(_) => {
                self.nullified.insert(place);
            }
            Subject::Finalize(subject) => {
                let first = *self.finalized.entry(place).or_insert(subject.block);
                ensure("I2", first == subject.block, || format!("two finalizations in view {view}"))?;
            }
        }
        let both = self.nullified.contains(&place) && self.finalized.contains_key(&place);
        ensure("I3", !both, || format!("view {view} is both nullified and finalized"))
    }

    /// I7: when a finalization is first seen, enough honest disks hold the body.
    pub fn body_is_held<'a>(
        &self,
        finalization: &Certificate,
        honest_disks: impl Iterator<Item = &'a Disk>,
        max_faulty: usize,
    ) -> Result<(), Violation> {
        let Some(block) = finalization.subject.block() else { return Ok(()) };
        let holders = honest_disks.filter(|disk| disk.holds_block(block)).count();
        ensure("I7", holders > max_faulty, || {
            format!("only {holders} honest nodes hold the finalized block {block}")
        })
    }

    /// An honest node holds a valid block.
    pub fn valid_block(&mut self, block: &Block) {
        self.heights.insert(block.hash(), block.header().height);
    }

    /// I5, I6, I9, E3: an honest node sends a message.
    pub fn sent(
        &mut self,
        node: usize,
        message: &Message,
        disk: &Disk,
        plan: &Plan,
    ) -> Result<(), Violation> {
        match message {
            Message::Vote(vote) => self.vote(node, vote, disk, plan),
            Message::Proposal(proposal) => {
                self.valid_block(&proposal.block);
                ensure("I6", disk.holds_block(proposal.block.hash()), || {
                    format!("node {node} proposed a block that was not durable")
                })?;
                self.vote(node, &proposal.vote, disk, plan)
            }
            _ => Ok(()),
        }
    }

    /// I9: an honest leader asks for a block to propose.
    pub fn builds(&self, node: usize, request: &BuildRequest, plan: &Plan) -> Result<(), Violation> {
        let (epoch, height, last) = (request.epoch, request.height, plan.last_height(request.epoch));
        ensure("I9", height <= last, || {
            format!(
                "beyond its epoch: leader {node} builds at height {height}, but epoch {epoch} ends at {last}"
            )
        })
    }

    /// The nodes against which an honest node has evidence.
    pub fn offenders(&self) -> BTreeSet<usize> {
        self.accusations.keys().map(|(_, _, offender, _)| *offender).collect()
    }

    /// W4: an honest node has evidence: no piece twice, and no more than the chain records.
    pub fn accused(
        &mut self,
        node: usize,
        incarnation: u64,
        offender: usize,
        evidence: &Evidence,
    ) -> Result<(), Violation> {
        let Ok(kind) = evidence.kind() else { return Ok(()) };
        let of = (node, incarnation, offender, evidence.epoch());
        let offences = self.accusations.entry(of).or_default();
        let is_new = offences.insert((evidence.view(), kind));
        ensure("W4", is_new && offences.len() <= MAX_OFFENCES, || {
            format!("node {node} tells of node {offender} again or too often: {offences:?}")
        })
    }

    /// I10, I14: after a step of an honest node.
    pub fn stepped(&mut self, node: usize, incarnation: u64, epochs: &Epochs) -> Result<(), Violation> {
        let engine = epochs.engine();
        let now = ((epochs.epoch(), engine.view()), engine.tip().height);
        let before = self.progress.insert((node, incarnation), now).unwrap_or_default();
        ensure("I10", before.0 <= now.0 && before.1 <= now.1, || {
            format!("node {node} went back from {before:?} to {now:?}")
        })?;
        let open_views = engine.view().get().max(engine.best_final_view().get()) - engine.tip().view.get()
            + VIEWS_AHEAD
            + 1;
        let footprint = epochs.footprint();
        // A certificate of a still higher view may be known, a few at most; a proposal a view, or the
        // final chain's next stretch, makes the blocks.
        let bound = usize::try_from(open_views).unwrap_or(usize::MAX).saturating_add(64);
        let votes_bound = bound.saturating_mul(3).saturating_mul(engine.committee().len());
        ensure(
            "I14",
            footprint.views <= bound
                && footprint.votes <= votes_bound
                && footprint.blocks <= bound + 256
                && footprint.early <= 1024
                && footprint.early_bytes <= MAX_EARLY_BYTES
                && footprint.watched <= VIEWS_WATCHED * 3 * engine.committee().len(),
            || format!("node {node} holds {footprint:?} with {open_views} views open"),
        )
    }

    fn vote(&mut self, node: usize, vote: &Vote, disk: &Disk, plan: &Plan) -> Result<(), Violation> {
        let (epoch, place) = (vote.subject.epoch(), vote.subject.place());
        // The boundary and the new set come from the committed block, so that they are durable with it.
        let open = plan.epoch_above(disk.height());
        ensure("E3", epoch == open, || {
            format!("node {node} votes in epoch {epoch} when its disk is in epoch {open}")
        })?;
        let height = vote.subject.block().and_then(|block| self.heights.get(&block).copied());
        ensure("I9", height.is_none_or(|height| height <= plan.last_height(epoch)), || {
            format!("beyond its epoch: node {node} votes in epoch {epoch} for a block at height {height:?}")
        })?;
        ensure("I6", disk.holds_vote(vote), || {
            format!("node {node} sent {:?} before it was durable", vote.subject)
        })?;
        let votes = self.votes.entry((node, place)).or_default();
        let consistent = match vote.subject {
            Subject::Notarize(subject) => {
                let first = *votes.notarize.get_or_insert(subject.block);
                first == subject.block && votes.finalize.is_none_or(|block| block == subject.block)
            }
            Subject::Nullify(_) => {
                votes.nullify = true;
                votes.finalize.is_none()
            }
            Subject::Finalize(subject) => {
                let first = *votes.finalize.get_or_insert(subject.block);
                first == subject.block
                    && !votes.nullify
                    && votes.notarize.is_none_or(|block| block == subject.block)
            }
        };
        ensure("I5", consistent, || format!("honest node {node} contradicted itself with {:?}", vote.subject))
    }
}

fn ensure(invariant: &'static str, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}
