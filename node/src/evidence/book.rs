use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::execute::MAX_OFFENCES;
use evchain_protocol::finality::Evidence;
use evchain_protocol::primitives::Epoch;
use evchain_protocol::state::key::StateKey;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::metrics::EvidenceMetrics;
use crate::chain::ChainReader;
use crate::store::tables::{EVIDENCE, OffencePlace};
use crate::store::{Batch, Durability, Store, StoreError};

/// The evidence that this node gathered and that is not on the chain yet. It is kept in the store, so
/// that a crash loses none. It holds no more of an authority and epoch than the chain records, and
/// nothing of epochs that no longer count. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct EvidenceBook {
    store: Store,
    chain: ChainReader,
    /// Who reports it, if it is an authority.
    key: PublicKey,
    metrics: EvidenceMetrics,
    arrivals: Arc<Notify>,
}

impl EvidenceBook {
    /// The book in this store.
    pub fn new(store: Store, chain: ChainReader, key: PublicKey, metrics: EvidenceMetrics) -> Self {
        Self { store, chain, key, metrics, arrivals: Arc::new(Notify::new()) }
    }

    /// Takes what the engine tells, unless it is known here or on the chain, or enough is.
    ///
    /// # Errors
    /// See [`StoreError`]; then it was not taken.
    pub fn add(&self, evidence: &Evidence) -> Result<(), StoreError> {
        let Ok(kind) = evidence.kind() else { return Ok(()) };
        let (epoch, signer, view) = (evidence.epoch(), evidence.signer(), evidence.view());
        let place = OffencePlace { epoch, signer, view, kind };
        let Some(authority) = self.authority(place)? else { return Ok(()) };
        if self.store.get(&EVIDENCE, &place)?.is_some() || self.is_recorded(place, authority)? {
            return Ok(());
        }
        if self.count_of(place, authority)? >= MAX_OFFENCES {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(&EVIDENCE, &place, evidence);
        self.store.write(batch, Durability::Buffered)?;
        self.metrics.detected(kind);
        let next = match (self.reports()?, self.chain.params()?.evidence_removes) {
            (true, true) => {
                "this node reports it to the chain, and the authority leaves at the epoch's end unless more than f are to"
            }
            (true, false) => {
                "this node reports it to the chain; whether the authority leaves is for the others to decide"
            }
            (false, _) => "this node is no authority and cannot report it; the other authorities have to",
        };
        warn!(signer = %authority, kind = kind.name(), %epoch, %view, next, "evidence: an authority signed what no honest one signs");
        self.arrivals.notify_one();
        Ok(())
    }

    /// What is to be reported, after what needs no report any more was taken out.
    pub(super) fn pending(&self) -> Result<Vec<(OffencePlace, Evidence)>, StoreError> {
        let pending: Vec<_> =
            self.store.snapshot().scan(&EVIDENCE, &[], None).collect::<Result<_, StoreError>>()?;
        let mut open = Vec::new();
        for (place, evidence) in pending {
            if !self.settle(place)? {
                open.push((place, evidence));
            }
        }
        Ok(open)
    }

    /// Whether a piece needs no report any more; then it is taken out.
    pub(super) fn settle(&self, place: OffencePlace) -> Result<bool, StoreError> {
        let OffencePlace { epoch, view, kind, .. } = place;
        match self.authority(place)? {
            // E7: what happened before the last epoch is forgotten.
            None => warn!(%epoch, %view, kind = kind.name(), "evidence: too old for the chain"),
            Some(signer) if self.is_recorded(place, signer)? => {
                self.metrics.recorded();
                info!(%signer, kind = kind.name(), %epoch, %view, "evidence: recorded on the chain");
            }
            Some(signer) if self.recorded_of(epoch, signer)? >= MAX_OFFENCES => {
                info!(%signer, kind = kind.name(), %epoch, %view, "evidence: the chain has enough of this authority");
            }
            Some(_) => return Ok(false),
        }
        let mut batch = Batch::default();
        batch.delete(&EVIDENCE, &place);
        self.store.write(batch, Durability::Buffered)?;
        Ok(true)
    }

    /// Whether this node may report free of charge (G7).
    pub(super) fn reports(&self) -> Result<bool, StoreError> {
        Ok(self.chain.authorities()?.set.index_of(&self.key).is_some())
    }

    /// Completes when something was added since the last call.
    pub(super) async fn arrival(&self) {
        self.arrivals.notified().await;
    }

    /// Whose offence it is; none where the epoch no longer counts (V2).
    fn authority(&self, place: OffencePlace) -> Result<Option<PublicKey>, StoreError> {
        let index = usize::from(place.signer.get());
        let authorities = self.chain.authorities_of(place.epoch)?;
        Ok(authorities.and_then(|authorities| authorities.set.key(index).copied()))
    }

    fn is_recorded(&self, place: OffencePlace, authority: PublicKey) -> Result<bool, StoreError> {
        let key = StateKey::Offence(place.epoch, authority, place.view, place.kind);
        Ok(self.chain.state().get(&key)?.is_some())
    }

    fn recorded_of(&self, epoch: Epoch, authority: PublicKey) -> Result<usize, StoreError> {
        let state = self.chain.state();
        let recorded = state.range(StateKey::offences_of(epoch, authority)).collect::<Result<Vec<_>, _>>()?;
        Ok(recorded.len())
    }

    /// Pieces of this authority and epoch, here and on the chain.
    fn count_of(&self, place: OffencePlace, authority: PublicKey) -> Result<usize, StoreError> {
        let snapshot = self.store.snapshot();
        let mut here = 0;
        for entry in snapshot.scan(&EVIDENCE, &[], None) {
            let (other, _) = entry?;
            here += usize::from((other.epoch, other.signer) == (place.epoch, place.signer));
        }
        Ok(here + self.recorded_of(place.epoch, authority)?)
    }
}
