//! Checking a proof without trusting the node that gave it.

use evchain_consensus::authority_set::Committee;
use evchain_protocol::block::Header;
use evchain_protocol::codec::{self, DecodeError};
use evchain_protocol::finality::{Certificate, CertificateError, Subject};
use evchain_protocol::light::{MAX_STATE_ENTRY_PROOF_BYTES, StateEntryError, StateEntryProof};
use evchain_protocol::state::value::StateValue;

use super::types::ProofInfo;

/// The longest encoded header or certificate, in bytes.
const MAX_PART_BYTES: usize = 16 * 1024;

/// Why a proof shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A part is not what it should be.
    #[error("a part of the proof is {0}")]
    Malformed(#[from] DecodeError),
    /// No header.
    #[error("the proof has no headers")]
    NoHeaders,
    /// A header of another chain, or one that does not follow on the one before.
    #[error("header {0} of the proof does not follow on the one before on this chain")]
    BrokenHeaders(usize),
    /// The certificate is of another block, or not a finalization.
    #[error("the certificate does not make the proof's last header final")]
    OtherBlock,
    /// The certificate is not one of these authorities'.
    #[error("the certificate is not valid: {0}")]
    Certificate(#[from] CertificateError),
    /// The state has something else.
    #[error(transparent)]
    Entry(#[from] StateEntryError),
}

impl ProofInfo {
    /// What the state holds under the name, be it nothing, by these authorities' word. How old that
    /// state is tells the header's time.
    ///
    /// # Errors
    /// See [`ProofError`]; nothing is proven in every case.
    pub fn verify(&self, committee: &Committee) -> Result<(Header, Option<StateValue>), ProofError> {
        let decode = |part: &super::types::HexBytes| codec::decode::<Header>(&part.0, MAX_PART_BYTES);
        let headers = self.headers.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        for (index, header) in headers.iter().enumerate() {
            let follows = index == 0
                || headers.get(index - 1).is_some_and(|parent| parent.hash() == header.parent_hash);
            if header.chain != committee.chain() || !follows {
                return Err(ProofError::BrokenHeaders(index));
            }
        }
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Err(ProofError::NoHeaders);
        };
        let certificate: Certificate = codec::decode(&self.certificate.0, MAX_PART_BYTES)?;
        match certificate.subject {
            Subject::Finalize(subject) if subject.block == last.hash() => {
                certificate.verify(committee.electorate(), |_| None)?;
            }
            _ => return Err(ProofError::OtherBlock),
        }
        let proof: StateEntryProof = codec::decode(&self.proof.0, MAX_STATE_ENTRY_PROOF_BYTES)?;
        let value = proof.verify(first, self.name.key())?;
        Ok((first.clone(), value))
    }
}
