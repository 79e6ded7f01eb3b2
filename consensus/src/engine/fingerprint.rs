//! What an engine holds that decides its future, so that the model can tell states apart.

use evchain_protocol::crypto::Hash;
use evchain_protocol::primitives::View;

use super::{Engine, Phase};
use crate::blocks::Progress;
use crate::signer::{Signer, VoteRecord};
use crate::view::Proposed;
use evchain_protocol::finality::Subject;

/// Everything that decides what an engine votes, proposes and commits from now on. Left out: when it
/// did so, whom it asks next, and single votes of others, which the model does not deliver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint {
    pub(crate) view: View,
    pub(crate) tip: (View, Hash),
    /// Own votes above the tip.
    pub(crate) signed: Vec<Subject>,
    /// Certificates held.
    pub(crate) certificates: Vec<Subject>,
    /// The first proposal of each view, `None` if it is unsound.
    pub(crate) proposals: Vec<(View, Option<Hash>)>,
    pub(crate) halted: bool,
    over: View,
    best: Option<Subject>,
    certified: Vec<View>,
    executed: Vec<(Hash, bool)>,
    building: Option<View>,
}

impl Engine {
    /// See [`Fingerprint`].
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let views = || self.views.iter();
        let proposals = views().filter_map(|(view, state)| {
            let block = match state.proposal.as_ref()? {
                Proposed::Sound(block) => Some(block.hash()),
                Proposed::Again { block, .. } => Some(*block),
                Proposed::Unsound => None,
            };
            Some((*view, block))
        });
        let records = self.signer.iter().flat_map(Signer::records);
        Fingerprint {
            view: self.view,
            tip: (self.tip.view, self.tip.hash),
            signed: records
                .flat_map(|(_, record)| VoteRecord::votes(record))
                .map(|vote| vote.subject)
                .collect(),
            certificates: views()
                .flat_map(|(_, state)| state.certificates())
                .map(|held| held.subject)
                .collect(),
            proposals: proposals.collect(),
            halted: self.phase == Phase::Halted,
            over: self.over,
            best: self.best.as_ref().map(|best| best.subject),
            certified: views().filter(|(_, state)| state.certified).map(|(view, _)| *view).collect(),
            executed: self
                .blocks
                .iter()
                .map(|entry| (entry.block.hash(), entry.progress == Progress::Executed))
                .collect(),
            building: self.building.as_ref().map(|request| request.view),
        }
    }
}
