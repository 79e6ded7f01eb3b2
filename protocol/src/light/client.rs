//! Which headers are final, from genesis on, one epoch after the other (E7; `consensus/docs/protocol.md`,
//! The end of an epoch).

use super::checkpoint::{Checkpoint, CheckpointError};
use crate::authority::AuthoritySet;
use crate::block::Header;
use crate::codec::{Decode, Encode};
use crate::crypto::{ChainId, Hash};
use crate::finality::{Certificate, CertificateError, Electorate, Subject};
use crate::primitives::{Epoch, Height, OutOfRange};

/// Knows who finalizes in one epoch of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightClient {
    electorate: Electorate,
    /// The block that it trusts beside, where it does not start from genesis.
    checkpoint: Option<Checkpoint>,
}

/// From an epoch to the next.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EpochStep {
    /// The header of the epoch's last block.
    pub header: Header,
    /// Its finalization.
    pub finalization: Certificate,
    /// The next epoch's authorities.
    pub next: AuthoritySet,
}

/// Why a header is not known to be final.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FinalityError {
    /// The header of another chain.
    #[error("the header is of chain {found}, not {expected}")]
    OtherChain {
        /// The header's.
        found: ChainId,
        /// The client's.
        expected: ChainId,
    },
    /// The header of another epoch, whose authorities the client does not know.
    #[error("the header is of epoch {found}, but the authorities known are those of epoch {expected}")]
    OtherEpoch {
        /// The header's.
        found: Epoch,
        /// The client's.
        expected: Epoch,
    },
    /// A header below the checkpoint, so one that may be of another history.
    #[error("the header at height {found} is older than the trusted block {trusted}")]
    BelowCheckpoint {
        /// The header's height.
        found: Height,
        /// What the client trusts.
        trusted: Checkpoint,
    },
    /// Another header where the checkpoint stands: there are two histories.
    #[error("block {found} is not the trusted block {trusted}: it is of another history, whoever signed it")]
    OtherThanTrusted {
        /// What came.
        found: Checkpoint,
        /// What the client trusts.
        trusted: Checkpoint,
    },
    /// Not a finalization, or that of another block.
    #[error("the certificate is not a finalization of block {0}")]
    NotItsFinalization(Hash),
    /// A finalization that is not valid.
    #[error("the finalization is not valid: {0}")]
    Certificate(#[from] CertificateError),
}

/// Why a step does not lead to the next epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The header is not known to be final.
    #[error(transparent)]
    NotFinal(#[from] FinalityError),
    /// A final block within the epoch: the next block has the same authorities.
    #[error("block {height} is not the last one of epoch {epoch}", height = .0.height, epoch = .0.epoch)]
    NotLastBlock(Box<Header>),
    /// Other authorities than those that the header commits to.
    #[error("the authorities given are not those that follow epoch {0}")]
    OtherAuthorities(Epoch),
    /// No number is left.
    #[error(transparent)]
    OutOfEpochs(#[from] OutOfRange),
}

impl LightClient {
    /// A client that trusts these to be the authorities of this epoch: those of genesis in epoch 0, or
    /// what it learned before.
    pub const fn new(electorate: Electorate) -> Self {
        Self { electorate, checkpoint: None }
    }

    /// A client that trusts this block to be on the chain, and nobody who decided below it. The header is
    /// that block's, and the authorities are those of the block above: whoever gives them need not be trusted.
    ///
    /// # Errors
    /// See [`CheckpointError`]; the checks run in the order of its variants.
    pub fn from_checkpoint(
        checkpoint: Checkpoint,
        chain: ChainId,
        header: &Header,
        authorities: AuthoritySet,
    ) -> Result<Self, CheckpointError> {
        let epoch = checkpoint.check(chain, header, &authorities)?;
        Ok(Self { electorate: Electorate { chain, epoch, authorities }, checkpoint: Some(checkpoint) })
    }

    /// The authorities that the client knows, with their epoch.
    pub const fn electorate(&self) -> &Electorate {
        &self.electorate
    }

    /// Goes on to the next epoch.
    ///
    /// # Errors
    /// See [`StepError`]; the client stays where it is in every case.
    pub fn advance(&mut self, step: EpochStep) -> Result<(), StepError> {
        let EpochStep { header, finalization, next } = step;
        self.verify_header(&header, &finalization)?;
        // The root covers the epoch, so these differ even where the authorities stay the same.
        if header.next_authority_root == header.authority_root {
            return Err(StepError::NotLastBlock(Box::new(header)));
        }
        let epoch = header.epoch.next()?;
        if next.root(epoch) != header.next_authority_root {
            return Err(StepError::OtherAuthorities(header.epoch));
        }
        self.electorate.epoch = epoch;
        self.electorate.authorities = next;
        Ok(())
    }

    /// Checks that a block of this epoch is final. The certificate may be of a later view than the
    /// header's: an epoch's last block can be proposed again.
    ///
    /// # Errors
    /// See [`FinalityError`]; the checks run in the order of its variants.
    pub fn verify_header(&self, header: &Header, finalization: &Certificate) -> Result<(), FinalityError> {
        let Electorate { chain, epoch, .. } = self.electorate;
        if header.chain != chain {
            return Err(FinalityError::OtherChain { found: header.chain, expected: chain });
        }
        if header.epoch != epoch {
            return Err(FinalityError::OtherEpoch { found: header.epoch, expected: epoch });
        }
        if let Some(trusted) = self.checkpoint {
            if header.height < trusted.height {
                return Err(FinalityError::BelowCheckpoint { found: header.height, trusted });
            }
            let found = Checkpoint::of(header);
            if trusted.contradicts(found.height, &found.block) {
                return Err(FinalityError::OtherThanTrusted { found, trusted });
            }
        }
        let block = header.hash();
        match finalization.subject {
            Subject::Finalize(subject) if subject.block == block => {}
            _ => return Err(FinalityError::NotItsFinalization(block)),
        }
        finalization.verify(&self.electorate, |_| None)?;
        Ok(())
    }
}
