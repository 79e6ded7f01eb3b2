//! Why a block may follow its parent.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::certificate::Certificate;
use super::vote::Subject;
use crate::block::Header;
use crate::codec::{Decode, Encode, List, encode};
use crate::crypto::Hash;
use crate::merkle::{InclusionProof, MerkleTree};
use crate::primitives::{Epoch, View};
use crate::tagged_enum;

/// The most nullifications in one justification. Two justifications of the largest set, with a full
/// payload, fit into one message of the consensus, which checks that when it is compiled.
pub const MAX_SKIPS: usize = 1024;

/// The lowest view whose nullification the justification of a block in `view` lists, `view` itself
/// if it lists none: all views above the parent's, but no more than the [`MAX_SKIPS`] right below the
/// block's. Who votes for a block that skips more views has to hold the nullifications of the others.
pub fn lowest_skip(parent: View, view: View) -> View {
    let lowest = view.saturating_sub(View::new(MAX_SKIPS as u64));
    parent.saturating_add(View::new(1)).max(lowest)
}

/// Why a block's parent may be built upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentProof {
    /// It is the epoch's root.
    Root,
    /// A notarization or a finalization of it.
    Certificate(Arc<Certificate>),
}
tagged_enum!(ParentProof { 0 => Root, 1 => Certificate(Arc<Certificate>) });

/// Everything that a proposal needs to be believed: the parent is certified, and every view between
/// the parent's and the proposal's is nullified, as far as they fit (see [`lowest_skip`]).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Justification {
    /// Why the parent may be built upon.
    pub parent: ParentProof,
    /// A nullification for every view from [`lowest_skip`] on, ascending.
    pub skips: List<Arc<Certificate>, MAX_SKIPS>,
}

/// One piece of a justification: the leaves of the tree under a header's `just_root`, the parent's
/// proof first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JustificationItem {
    /// The parent is the epoch's root.
    Root,
    /// What proves the parent.
    Parent(#[serde(serialize_with = "write_shared", deserialize_with = "read_shared")] Arc<Certificate>),
    /// What proves that a view between may be skipped.
    Skip(#[serde(serialize_with = "write_shared", deserialize_with = "read_shared")] Arc<Certificate>),
}
tagged_enum!(JustificationItem { 0 => Root, 1 => Parent(Arc<Certificate>), 2 => Skip(Arc<Certificate>) });

/// Why a justification does not fit its block. Signatures are another matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JustificationError {
    /// The parent's view is not below the block's.
    #[error("parent view {parent} is not below view {view}")]
    ParentNotBelow {
        /// The parent's view.
        parent: View,
        /// The block's view.
        view: View,
    },
    /// The proof is of another block or view, or of the wrong kind.
    #[error("the proof of the parent does not prove it")]
    WrongParentProof,
    /// A view between is without its nullification, or there are too many or others.
    #[error(
        "the views between {parent} and {view}, or the last {MAX_SKIPS} of them, are not all skipped, in order"
    )]
    WrongSkips {
        /// The parent's view.
        parent: View,
        /// The block's view.
        view: View,
    },
}

impl Justification {
    /// Root of the tree over its items, which the header commits to: one wrong item can be shown
    /// without the others.
    pub fn root(&self) -> Hash {
        self.tree().root()
    }

    /// The item at this place, with the proof that `just_root` covers it. None if it has fewer.
    pub fn prove(&self, index: usize) -> Option<(JustificationItem, InclusionProof)> {
        Some((self.items().nth(index)?, self.tree().prove(index)?))
    }

    /// Whether it proves what `header` needs, in the epoch that builds on the block `epoch_root`, if
    /// all its certificates are valid and the views between the parent's and [`lowest_skip`] are
    /// nullified.
    ///
    /// # Errors
    /// See [`JustificationError`].
    pub fn check_shape(
        &self,
        header: &Header,
        epoch: Epoch,
        epoch_root: Hash,
    ) -> Result<(), JustificationError> {
        let (parent, view) = (header.parent_view, header.view);
        if parent >= view {
            return Err(JustificationError::ParentNotBelow { parent, view });
        }
        let parent_is_proven = match &self.parent {
            ParentProof::Root => parent == View::ZERO && header.parent_hash == epoch_root,
            ParentProof::Certificate(certificate) => proves_parent(&certificate.subject, header, epoch),
        };
        if !parent_is_proven {
            return Err(JustificationError::WrongParentProof);
        }
        let skipped = self.skips.iter().map(|skip| skip.subject);
        let needed = (lowest_skip(parent, view).get()..view.get())
            .map(|between| Subject::nullify(epoch, View::new(between)));
        if !skipped.eq(needed) {
            return Err(JustificationError::WrongSkips { parent, view });
        }
        Ok(())
    }

    /// Its certificates: the parent's, then the skips.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let parent = match &self.parent {
            ParentProof::Root => None,
            ParentProof::Certificate(certificate) => Some(certificate),
        };
        parent.into_iter().chain(self.skips.iter())
    }

    /// How many items it has.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.skips.len()).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(super) fn items(&self) -> impl Iterator<Item = JustificationItem> {
        let parent = match &self.parent {
            ParentProof::Root => JustificationItem::Root,
            ParentProof::Certificate(certificate) => JustificationItem::Parent(certificate.clone()),
        };
        std::iter::once(parent).chain(self.skips.iter().cloned().map(JustificationItem::Skip))
    }

    fn tree(&self) -> MerkleTree {
        MerkleTree::new(self.items().map(|item| encode(&item)))
    }
}

/// Whether a certificate of this subject proves the header's parent.
pub(super) fn proves_parent(subject: &Subject, header: &Header, epoch: Epoch) -> bool {
    match subject {
        Subject::Notarize(subject) | Subject::Finalize(subject) => {
            subject.epoch == epoch
                && subject.view == header.parent_view
                && subject.block == header.parent_hash
                && header.parent_view > View::ZERO
        }
        Subject::Nullify(_) => false,
    }
}

// serde has no `Arc` without a feature that nothing else here needs.
fn write_shared<S: Serializer>(certificate: &Arc<Certificate>, serializer: S) -> Result<S::Ok, S::Error> {
    Certificate::serialize(certificate, serializer)
}

fn read_shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Certificate>, D::Error> {
    Certificate::deserialize(deserializer).map(Arc::new)
}
