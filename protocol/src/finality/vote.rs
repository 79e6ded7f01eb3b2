//! What authorities vote on.

use serde::{Deserialize, Serialize};

use crate::authority::AuthorityIndex;
use crate::codec::{Decode, Encode, encode};
use crate::crypto::{BadSignature, ChainId, Hash, PublicKey, Purpose, Signature};
use crate::primitives::{Epoch, View};
use crate::tagged_enum;

/// A block in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct BlockSubject {
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// The block's id.
    pub block: Hash,
}

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct ViewSubject {
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
}

/// What a vote says. Each kind has a signing purpose of its own; all are bound to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The block is valid and may be built upon.
    Notarize(BlockSubject),
    /// The view may be skipped.
    Nullify(ViewSubject),
    /// The signer has not nullified the view and never will: the block can be final.
    Finalize(BlockSubject),
}
tagged_enum!(Subject { 0 => Notarize(BlockSubject), 1 => Nullify(ViewSubject), 2 => Finalize(BlockSubject) });

impl Subject {
    /// To notarize a block.
    pub const fn notarize(epoch: Epoch, view: View, block: Hash) -> Self {
        Self::Notarize(BlockSubject { epoch, view, block })
    }

    /// To nullify a view.
    pub const fn nullify(epoch: Epoch, view: View) -> Self {
        Self::Nullify(ViewSubject { epoch, view })
    }

    /// To finalize a block.
    pub const fn finalize(epoch: Epoch, view: View, block: Hash) -> Self {
        Self::Finalize(BlockSubject { epoch, view, block })
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => subject.epoch,
            Self::Nullify(subject) => subject.epoch,
        }
    }

    /// Its place in the order of all views of all epochs.
    pub const fn place(&self) -> (Epoch, View) {
        (self.epoch(), self.view())
    }

    /// The view.
    pub const fn view(&self) -> View {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => subject.view,
            Self::Nullify(subject) => subject.view,
        }
    }

    /// The block, if it is about one.
    pub const fn block(&self) -> Option<Hash> {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => Some(subject.block),
            Self::Nullify(_) => None,
        }
    }

    /// The signing purpose.
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Notarize(_) => Purpose::VoteNotarize,
            Self::Nullify(_) => Purpose::VoteNullify,
            Self::Finalize(_) => Purpose::VoteFinalize,
        }
    }

    /// The bytes that are signed. The purpose carries the kind.
    pub fn signed_bytes(&self) -> Vec<u8> {
        match self {
            Self::Notarize(subject) | Self::Finalize(subject) => encode(subject),
            Self::Nullify(subject) => encode(subject),
        }
    }

    /// Checks a signature of the subject by the holder of this key.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, chain: ChainId, key: &PublicKey, signature: &Signature) -> Result<(), BadSignature> {
        key.verify(self.purpose(), chain, &self.signed_bytes(), signature)
    }
}

/// One authority's vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Vote {
    /// What it says.
    pub subject: Subject,
    /// Whose it is.
    pub signer: AuthorityIndex,
    /// The signature of the subject.
    pub signature: Signature,
}
