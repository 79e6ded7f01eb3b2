//! What nodes say to each other. Every list is bounded, and the whole message by
//! [`MAX_MESSAGE_BYTES`].

#[cfg(test)]
mod tests;

use std::sync::Arc;

use evchain_protocol::authority::MAX_AUTHORITIES;
use evchain_protocol::codec::{Decode, Encode, List};
use evchain_protocol::crypto::{Hash, Signature};
use evchain_protocol::finality::{Certificate, Justification, MAX_SKIPS, Vote};
use evchain_protocol::primitives::{Epoch, Height, View};
use evchain_protocol::tagged_enum;

use crate::block::{Block, MAX_PAYLOAD_BYTES};
use crate::mutations::{Breakage, broken};

/// The largest message, in bytes: what a receiver passes to `codec::decode`.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The most certificates in one answer.
pub const MAX_CERTIFICATES_PER_MESSAGE: usize = 256;

/// The most blocks in one answer.
pub const MAX_BLOCKS_PER_MESSAGE: usize = 128;

/// An answer takes no further item once it is this large, in bytes.
pub const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The size of the largest certificate: a quorum of the largest set, in a subject, a bitmap and a length.
const MAX_CERTIFICATE_BYTES: usize =
    (MAX_AUTHORITIES - (MAX_AUTHORITIES - 1) / 3) * Signature::LEN + Certificate::FIXED_BYTES;

/// The size of the largest block: its justification is a parent's proof and skips.
const MAX_BLOCK_BYTES: usize =
    Block::HEADER_BYTES + MAX_PAYLOAD_BYTES + (1 + MAX_SKIPS) * MAX_CERTIFICATE_BYTES;

// Whatever an engine sends, others can read: a proposal of the epoch's last block again (E2), with
// another justification and the vote, and an answer that took its last item when it was all but full.
const _: () = {
    let proposal = MAX_BLOCK_BYTES + (1 + MAX_SKIPS) * MAX_CERTIFICATE_BYTES + MAX_CERTIFICATE_BYTES;
    let answer = ANSWER_BYTES + MAX_BLOCK_BYTES + MAX_CERTIFICATE_BYTES;
    assert!(proposal <= MAX_MESSAGE_BYTES && answer <= MAX_MESSAGE_BYTES);
};

/// A message between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A leader's block.
    Proposal(Proposal),
    /// An authority's vote.
    Vote(Vote),
    /// A certificate, relayed once by everyone who learns it.
    Certificate(Arc<Certificate>),
    /// Where the sender stands.
    Status(Status),
    /// Asks for certificates.
    GetCertificates(GetCertificates),
    /// Answers [`Message::GetCertificates`].
    Certificates(Certificates),
    /// Asks for a block and its ancestors.
    GetBlocks(GetBlocks),
    /// Answers [`Message::GetBlocks`].
    Blocks(Blocks),
    /// Asks for the final chain above a height.
    GetFinalized(GetFinalized),
    /// Answers [`Message::GetFinalized`].
    Finalized(Finalized),
}
tagged_enum!(Message {
    0 => Proposal(Proposal),
    1 => Vote(Vote),
    2 => Certificate(Arc<Certificate>),
    3 => Status(Status),
    4 => GetCertificates(GetCertificates),
    5 => Certificates(Certificates),
    6 => GetBlocks(GetBlocks),
    7 => Blocks(Blocks),
    8 => GetFinalized(GetFinalized),
    9 => Finalized(Finalized),
});

impl Message {
    /// The epoch that the message belongs to; none where it goes by height, by hash, or by what each
    /// of its parts says.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Proposal(proposal) => Some(proposal.vote.subject.epoch()),
            Self::Vote(vote) => Some(vote.subject.epoch()),
            Self::Certificate(certificate) => Some(certificate.subject.epoch()),
            Self::Status(status) => Some(status.epoch),
            Self::GetCertificates(request) => Some(request.epoch),
            Self::Certificates(_)
            | Self::GetBlocks(_)
            | Self::Blocks(_)
            | Self::GetFinalized(_)
            | Self::Finalized(_) => None,
        }
    }
}

/// A leader's block with its own vote to notarize it. The vote names epoch, view and block, so one
/// signature covers all; the justification is in the block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// The block.
    pub block: Arc<Block>,
    /// For the epoch's last block in a view above its own (E2): a notarization of it, and the skips
    /// since. Nobody signs this part, so it counts only if it comes from the leader itself (N1).
    pub again: Option<Justification>,
    /// The leader's vote for it.
    pub vote: Vote,
}

impl Proposal {
    /// Its size on the wire, in bytes, or a little more.
    pub fn size_hint(&self) -> usize {
        let again = self.again.iter().flat_map(Justification::certificates);
        again
            .map(|certificate| certificate.size_hint())
            .fold(self.block.size_hint().saturating_add(Self::VOTE_BYTES), usize::saturating_add)
    }

    /// The size of the leader's vote, with what tells whether there is another justification.
    const VOTE_BYTES: usize = Certificate::FIXED_BYTES + Signature::LEN;
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its current view.
    pub view: View,
    /// The height up to which it has committed.
    pub height: Height,
    /// The finalization of the highest view that it knows.
    pub finalization: Option<Arc<Certificate>>,
}

/// Asks for the certificates of the views `lo` to `hi`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GetCertificates {
    /// The epoch.
    pub epoch: Epoch,
    /// The lowest view.
    pub lo: View,
    /// The highest view.
    pub hi: View,
}

/// Certificates, each to be judged as if it had come alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Certificates {
    /// The certificates.
    pub certificates: List<Arc<Certificate>, MAX_CERTIFICATES_PER_MESSAGE>,
}

/// Asks for a block and its ancestors above a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GetBlocks {
    /// The newest block wanted.
    pub newest: Hash,
    /// The asker has committed up to here and wants nothing below or at it.
    pub above: Height,
}

/// A block and its ancestors, newest first, as many as fit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Blocks {
    /// The blocks; each is the parent of the one before it.
    pub blocks: List<Arc<Block>, MAX_BLOCKS_PER_MESSAGE>,
}

/// Asks for the final chain above a height, oldest block first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GetFinalized {
    /// The height that the asker has committed.
    pub above: Height,
}

/// A stretch of the final chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Finalized {
    /// The blocks, oldest first: from the height asked for plus one, up to the finalized block. Empty
    /// where so many do not fit into one answer; then they are to be asked for by hash.
    pub blocks: List<Arc<Block>, MAX_BLOCKS_PER_MESSAGE>,
    /// The finalization of the last block.
    pub finalization: Arc<Certificate>,
}

impl Certificates {
    /// As many of these, in order, as fit into one answer.
    pub fn gather(certificates: impl IntoIterator<Item = Arc<Certificate>>) -> Self {
        let fitting =
            take_fitting(certificates, MAX_CERTIFICATES_PER_MESSAGE, |certificate| certificate.size_hint());
        Self { certificates: List::new(fitting).unwrap_or_default() }
    }
}

impl Blocks {
    /// As many of these, in order, as fit into one answer.
    pub fn gather(newest_first: impl IntoIterator<Item = Arc<Block>>) -> Self {
        let fitting = take_fitting(newest_first, MAX_BLOCKS_PER_MESSAGE, |block| block.size_hint());
        Self { blocks: List::new(fitting).unwrap_or_default() }
    }
}

impl Finalized {
    /// The answer from a store that holds the final chain: `oldest_first` starts one above the height
    /// asked for and gives each block with its finalization, where the store has one. It ends with
    /// the epoch, whose authorities alone the asker can be sure to know (S6). `None` if no finalization
    /// comes.
    pub fn gather(
        oldest_first: impl IntoIterator<Item = (Arc<Block>, Option<Arc<Certificate>>)>,
    ) -> Option<Self> {
        let mut blocks = Vec::new();
        let mut bytes = 0_usize;
        let mut full = false;
        let mut best: Option<(usize, Arc<Certificate>)> = None;
        let mut epoch = None;
        for (block, finalization) in oldest_first {
            let is_of_epoch = *epoch.get_or_insert(block.header().epoch) == block.header().epoch;
            if !is_of_epoch && !broken(Breakage::ServeAcrossEpochs) {
                break;
            }
            full = full || blocks.len() == MAX_BLOCKS_PER_MESSAGE || bytes >= ANSWER_BYTES;
            if full {
                if best.is_some() {
                    break;
                }
                // No finalization fits with its blocks: the next one alone says what to ask for.
                if let Some(certificate) = finalization {
                    best = Some((0, certificate));
                    break;
                }
                continue;
            }
            bytes = bytes.saturating_add(block.size_hint());
            blocks.push(block);
            if let Some(certificate) = finalization {
                best = Some((blocks.len(), certificate));
            }
        }
        let (count, finalization) = best?;
        blocks.truncate(count);
        Some(Self { blocks: List::new(blocks).ok()?, finalization })
    }
}

/// The first item always fits; further ones until the answer is full.
fn take_fitting<T>(
    items: impl IntoIterator<Item = T>,
    max_items: usize,
    size_bytes: impl Fn(&T) -> usize,
) -> Vec<T> {
    let mut bytes = 0_usize;
    items
        .into_iter()
        .take(max_items)
        .take_while(|item| {
            let fits = bytes < ANSWER_BYTES;
            bytes = bytes.saturating_add(size_bytes(item));
            fits
        })
        .collect()
}
