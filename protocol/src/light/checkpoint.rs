//! A header that somebody trusts for another reason than its signatures (weak subjectivity).

use std::fmt;
use std::str::FromStr;

use crate::authority::AuthoritySet;
use crate::block::Header;
use crate::crypto::{ChainId, Hash};
use crate::primitives::{Epoch, Height, OutOfRange};
use crate::serde_as_text;

/// A block that is on the true chain, by its height and id: written `HEIGHT:HASH`.
///
/// Who finalized an epoch can finalize another history of it, later, with the same keys: nothing in the
/// signatures tells which came first. Somebody who was there does, with the id of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The block's height.
    pub height: Height,
    /// Its id.
    pub block: Hash,
}
serde_as_text!(Checkpoint);

/// Text that is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no checkpoint: write HEIGHT:HASH, such as `evchain query checkpoint` prints")]
pub struct ParseCheckpointError(String);

/// Why nothing can start from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The header of another chain.
    #[error("the header is of chain {found}, not {expected}")]
    OtherChain {
        /// The header's.
        found: ChainId,
        /// The one asked for.
        expected: ChainId,
    },
    /// Another header.
    #[error("the header is that of block {found}, not of the trusted block {trusted}")]
    OtherHeader {
        /// The header's block.
        found: Checkpoint,
        /// The trusted one.
        trusted: Checkpoint,
    },
    /// Other authorities than those that the trusted header commits to.
    #[error(
        "the authorities given for epoch {0} are not those that the trusted block commits to: they are of another history"
    )]
    OtherAuthorities(Epoch),
    /// No number is left.
    #[error(transparent)]
    OutOfEpochs(#[from] OutOfRange),
}

impl Checkpoint {
    /// The checkpoint that this header's block is.
    pub fn of(header: &Header) -> Self {
        Self { height: header.height, block: header.hash() }
    }

    /// Whether a chain with this block is another one: it stands at the same height and is not the same.
    pub fn contradicts(&self, height: Height, block: &Hash) -> bool {
        self.height == height && self.block != *block
    }

    /// The epoch of the block above this header's, and the root of its authorities.
    ///
    /// # Errors
    /// [`OutOfRange`] after the last epoch.
    pub fn epoch_above(header: &Header) -> Result<(Epoch, Hash), OutOfRange> {
        // The root covers the epoch, so these differ even where the authorities stay the same.
        let ends_epoch = header.next_authority_root != header.authority_root;
        let epoch = if ends_epoch { header.epoch.next()? } else { header.epoch };
        Ok((epoch, header.next_authority_root))
    }

    /// Checks what a client is to start from: this block's header, and who decides above it.
    pub(super) fn check(
        &self,
        chain: ChainId,
        header: &Header,
        authorities: &AuthoritySet,
    ) -> Result<Epoch, CheckpointError> {
        if header.chain != chain {
            return Err(CheckpointError::OtherChain { found: header.chain, expected: chain });
        }
        let found = Self::of(header);
        if found != *self {
            return Err(CheckpointError::OtherHeader { found, trusted: *self });
        }
        let (epoch, root) = Self::epoch_above(header)?;
        if authorities.root(epoch) != root {
            return Err(CheckpointError::OtherAuthorities(epoch));
        }
        Ok(epoch)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.height, self.block)
    }
}

impl FromStr for Checkpoint {
    type Err = ParseCheckpointError;

    fn from_str(text: &str) -> Result<Self, ParseCheckpointError> {
        let parse = || {
            let (height, block) = text.split_once(':')?;
            Some(Self { height: height.parse().ok()?, block: block.parse().ok()? })
        };
        parse().ok_or_else(|| ParseCheckpointError(text.to_owned()))
    }
}
