//! Report an offence: evidence against an authority comes onto the chain (V1 to V5).

use serde::{Deserialize, Serialize};

use crate::authority::AuthorityIndex;
use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, MAX_OFFENCES, Sender};
use crate::finality::{Evidence, EvidenceError};
use crate::primitives::{Epoch, TxRef};
use crate::state::governance::Offence;
use crate::state::key::StateKey;
use crate::state::read::StateRead;
use crate::state::value::StateValue;

/// Reports what an authority did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ReportOffence {
    /// What proves it.
    pub evidence: Evidence,
}

/// Why a report breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum EvidenceReason {
    /// V1 and V5
    #[error("the evidence proves nothing: {0}")]
    Invalid(#[from] EvidenceError),
    /// V2
    #[error("the evidence is of epoch {epoch}; in epoch {current} only that and the one before count")]
    OtherEpoch { epoch: Epoch, current: Epoch },
    /// V3
    #[error("epoch {epoch} has no authority {signer}")]
    UnknownSigner { epoch: Epoch, signer: AuthorityIndex },
    /// V4
    #[error("this offence of {authority} is known from transaction {known}")]
    Known { authority: PublicKey, known: TxRef },
    /// V4
    #[error("{MAX_OFFENCES} offences of {authority} in epoch {epoch} are known, and more are not recorded")]
    EnoughKnown { authority: PublicKey, epoch: Epoch },
}

impl ReportOffence {
    pub(super) fn check(&self) -> Result<(), EvidenceReason> {
        // V1
        self.evidence.kind()?;
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let evidence = &self.evidence;
        let (epoch, view, signer) = (evidence.epoch(), evidence.view(), evidence.signer());
        let kind = evidence.kind().map_err(EvidenceReason::from)?;
        // V2
        let Some(authorities) = ledger.authorities_of(epoch)? else {
            let current = ledger.block.authorities.epoch;
            return Err(EvidenceReason::OtherEpoch { epoch, current }.into());
        };
        // V3
        let electorate = authorities.electorate(ledger.block.chain);
        let Some(authority) = electorate.key(signer) else {
            return Err(EvidenceReason::UnknownSigner { epoch, signer }.into());
        };
        // V4, before signatures, which take far longer
        let key = StateKey::Offence(epoch, authority, view, kind);
        if let Some(Offence { evidence: known, .. }) = ledger.state.offence(key)? {
            return Err(EvidenceReason::Known { authority, known }.into());
        }
        let known = ledger.state.range(StateKey::offences_of(epoch, authority), MAX_OFFENCES)?;
        if known.len() >= MAX_OFFENCES {
            return Err(EvidenceReason::EnoughKnown { authority, epoch }.into());
        }
        // V5
        evidence.verify(&electorate, authorities.first_height).map_err(EvidenceReason::from)?;

        let reporter = sender.key;
        ledger.state.put(key, StateValue::Offence(Offence { evidence: sender.name, reporter }));
        ledger.emit(Event::OffenceRecorded { authority, epoch, view, offence: kind, reporter });
        Ok(())
    }
}
