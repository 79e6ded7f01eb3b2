//! Starting again from the log (D5, D6).

use evchain_protocol::finality::{Certificate, Subject, Vote};
use evchain_protocol::primitives::View;

use super::Engine;
use crate::authority_set::Committee;
use crate::block::BlockRef;
use crate::blocks::{Entry, Progress};
use crate::mutations::{Breakage, broken};
use crate::signer::Refusal;
use crate::view::ViewState;
use crate::wal::{LogRecord, RecoveryError};

/// The committed block, as a block of this epoch.
pub(super) fn checked_tip(
    committee: &Committee,
    tip: BlockRef,
    finalization: Option<&Certificate>,
) -> Result<BlockRef, RecoveryError> {
    if tip.hash == committee.root().hash {
        return Ok(committee.root());
    }
    let certificate = finalization.ok_or(RecoveryError::TipNotFinal(tip.view))?;
    if certificate.subject != Subject::finalize(committee.epoch(), tip.view, tip.hash) {
        return Err(RecoveryError::TipNotFinal(tip.view));
    }
    certificate
        .verify(committee.electorate(), |_| None)
        .map_err(|_| RecoveryError::BadCertificate(tip.view))?;
    Ok(tip)
}

impl Engine {
    /// Takes the log's records and gives the view to go on in: max(voted view, highest nullification
    /// or finalization + 1, notarization view).
    pub(super) fn replay(&mut self, records: Vec<LogRecord>) -> Result<View, RecoveryError> {
        if let Some(finalization) = self.tip_finalization.clone() {
            self.replay_certificate(finalization)?;
        }
        let mut view = following(self.tip.view);
        for record in records {
            let (epoch, own_epoch) = (record.epoch(), self.committee.epoch());
            if epoch > own_epoch {
                return Err(RecoveryError::LaterEpoch { record: epoch, chain: own_epoch });
            }
            // D5: what is older is final. The epoch before ends here with all its views.
            if epoch < own_epoch || record.view() <= self.tip.view {
                continue;
            }
            view = view.max(record.view());
            match record {
                LogRecord::Vote(_) if broken(Breakage::ForgetVotesAtRestart) => {}
                LogRecord::Vote(vote) => self.replay_vote(vote)?,
                LogRecord::Certificate(certificate) => {
                    if !matches!(certificate.subject, Subject::Notarize(_)) {
                        view = view.max(following(certificate.subject.view()));
                    }
                    self.replay_certificate(certificate)?;
                }
                LogRecord::Block(block) => {
                    self.blocks.insert(Entry {
                        block,
                        progress: Progress::Waiting,
                        durable: true,
                        vouched: false,
                        source: None,
                        spare: None,
                    });
                }
            }
        }
        Ok(view)
    }

    fn replay_vote(&mut self, vote: Vote) -> Result<(), RecoveryError> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        let view = vote.subject.view();
        signer.restore(vote).map_err(|refusal| match refusal {
            Refusal::Foreign(_) => RecoveryError::ForeignVote(view),
            _ => RecoveryError::ContradictoryVotes(view),
        })
    }

    fn replay_certificate(&mut self, certificate: std::sync::Arc<Certificate>) -> Result<(), RecoveryError> {
        let view = certificate.subject.view();
        certificate
            .verify(self.committee.electorate(), |_| None)
            .map_err(|_| RecoveryError::BadCertificate(view))?;
        let state: &mut ViewState = self.views.entry(view).or_default();
        state.insert_certificate(&certificate).map_err(|_| RecoveryError::ContradictoryCertificates(view))?;
        match certificate.subject {
            Subject::Nullify(_) => self.over = self.over.max(view),
            Subject::Finalize(_) => {
                self.over = self.over.max(view);
                if view > self.best_final_view() {
                    self.best = Some(certificate);
                }
            }
            Subject::Notarize(_) => {}
        }
        Ok(())
    }
}

/// The view after; no chain reaches the last one.
pub(super) fn following(view: View) -> View {
    view.next().unwrap_or(View::MAX)
}
