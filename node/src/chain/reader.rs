use std::ops::RangeInclusive;
use std::sync::Arc;

use evchain_consensus::block::Block;
use evchain_consensus::message::{
    ANSWER_BYTES, Blocks, Finalized, GetBlocks, GetFinalized, MAX_BLOCKS_PER_MESSAGE,
};
use evchain_protocol::block::Header;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::event::EventRecord;
use evchain_protocol::finality::Certificate;
use evchain_protocol::genesis::Genesis;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Epoch, Height, Nonce, TxRef};
use evchain_protocol::state::account::Account;
use evchain_protocol::state::authority::Authorities;
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::record::TrackRecord;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::SignedTransaction;
use tokio::sync::{broadcast, watch};

use crate::store::tables::{BLOCKS, EVENTS, FINALIZATIONS, HEIGHTS, STATE, TIP, TRANSACTIONS, TableKey};
use crate::store::{Snapshot, Store, StoreError};

/// Reads what is final. Cheap to clone. Reads go to disk or its cache and are short, except where
/// a limit says how long they may be.
#[derive(Debug, Clone)]
pub struct ChainReader {
    pub(super) store: Store,
    pub(super) genesis: Arc<Genesis>,
    pub(super) chain: ChainId,
    pub(super) tip: watch::Receiver<Header>,
    pub(super) finals: broadcast::Sender<Arc<FinalBlock>>,
}

/// A block that has just become final, for those who follow the chain.
#[derive(Debug, Clone)]
pub struct FinalBlock {
    /// The block's id.
    pub hash: Hash,
    /// Its header.
    pub header: Header,
    /// Its transactions, in order.
    pub transactions: Vec<FinalTransaction>,
    /// What their execution and passing deadlines did, in order.
    pub events: Vec<EventRecord>,
}

/// A transaction of a final block.
#[derive(Debug, Clone, Copy)]
pub struct FinalTransaction {
    /// Its id.
    pub id: Hash,
    /// Who sent it.
    pub sender: PublicKey,
    /// Its nonce there.
    pub nonce: Nonce,
    /// Where it stands.
    pub place: TxRef,
}

impl ChainReader {
    /// The chain's id.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// What the chain started from.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The header of the newest final block.
    pub fn tip(&self) -> Header {
        self.tip.borrow().clone()
    }

    /// Follows the final blocks. A receiver that falls too far behind is told so and loses the
    /// oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<FinalBlock>> {
        self.finals.subscribe()
    }

    /// The final block at this height; none at height 0, which has a header only.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        self.store.get(&BLOCKS, &height)
    }

    /// The height of the final block with this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn height_of(&self, block: &Hash) -> Result<Option<Height>, StoreError> {
        self.store.get(&HEIGHTS, block)
    }

    /// The transactions of the final block at this height, in order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn transactions(&self, height: Height) -> Result<Option<Vec<SignedTransaction>>, StoreError> {
        let Some(block) = self.block(height)? else { return Ok(None) };
        super::payload::decode_unchecked(block.payload()).map(Some).map_err(|error| StoreError::Corrupt {
            table: BLOCKS.name,
            key: height.to_string(),
            reason: error.to_string(),
        })
    }

    /// The events of the final block at this height, in order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn events(&self, height: Height) -> Result<Option<Vec<EventRecord>>, StoreError> {
        Ok(self.store.get(&EVENTS, &height)?.map(evchain_protocol::codec::List::into_vec))
    }

    /// The certificate that makes the block at this height final: its own, or of the first block
    /// above that has one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn finalization(&self, height: Height) -> Result<Option<(Height, Certificate)>, StoreError> {
        self.store.snapshot().scan(&FINALIZATIONS, &height.to_key(), None).next().transpose()
    }

    /// Where the final transaction with this id stands.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn place_of(&self, transaction: &Hash) -> Result<Option<TxRef>, StoreError> {
        self.store.get(&TRANSACTIONS, transaction)
    }

    /// The state after the newest final block, of one moment.
    pub fn state(&self) -> StateView<'_> {
        StateView { snapshot: self.store.snapshot() }
    }

    /// The epoch of the block after the newest final one, and its authorities.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn authorities(&self) -> Result<Authorities, StoreError> {
        match self.store.get(&STATE, &StateKey::Authorities)? {
            Some(StateValue::Authorities(authorities)) => Ok(authorities),
            _ => Err(StoreError::Corrupt {
                table: STATE.name,
                key: "authorities".to_owned(),
                reason: "the state has no authorities".to_owned(),
            }),
        }
    }

    /// The authorities of an epoch, if it is the current one or the one before. The state has forgotten the
    /// others.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn authorities_of(&self, epoch: Epoch) -> Result<Option<Authorities>, StoreError> {
        // One view, since an epoch may end meanwhile.
        let state = self.state();
        for key in [StateKey::Authorities, StateKey::FormerAuthorities] {
            match state.get(&key)? {
                Some(StateValue::Authorities(found) | StateValue::FormerAuthorities(found))
                    if found.epoch == epoch =>
                {
                    return Ok(Some(found));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whom a node has to talk to: the authorities of this epoch and of the one before, whose end some
    /// may not have heard of yet.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn authorities_to_link(&self) -> Result<Vec<PublicKey>, StoreError> {
        let mut keys = self.authorities()?.set.keys().to_vec();
        if let Some(StateValue::FormerAuthorities(former)) =
            self.store.get(&STATE, &StateKey::FormerAuthorities)?
        {
            keys.extend(former.set.keys());
        }
        Ok(keys)
    }

    /// The chain's parameters after the newest final block.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn params(&self) -> Result<Params, StoreError> {
        self.state().params()
    }

    /// The finalization of an epoch's last block; none if the epoch has not ended here.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn boundary_of(&self, epoch: Epoch) -> Result<Option<Certificate>, StoreError> {
        if epoch >= self.authorities()?.epoch {
            return Ok(None);
        }
        // The epochs of finalizations never go back, so the last of this one is found by halving. Blocks
        // are not read for it: they are much larger.
        let (mut low, mut high) = (Height::ZERO, self.tip().height);
        let mut last = None;
        while low < high {
            let middle = Height::new(low.get() + (high.get() - low.get()).div_ceil(2));
            match self.finalization(middle)? {
                Some((height, found)) if found.subject.epoch() <= epoch => {
                    low = height;
                    last = Some(found);
                }
                Some(_) => high = Height::new(middle.get() - 1),
                None => return Ok(None),
            }
        }
        Ok(last)
    }

    /// The answer to a peer that lacks final blocks by hash; none if the newest is not final here.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn blocks_below(&self, request: GetBlocks) -> Result<Option<Blocks>, StoreError> {
        let Some(newest) = self.height_of(&request.newest)? else { return Ok(None) };
        let mut blocks = Vec::new();
        let mut bytes = 0_usize;
        let mut height = newest;
        while height > request.above && blocks.len() < MAX_BLOCKS_PER_MESSAGE && bytes < ANSWER_BYTES {
            let Some(block) = self.block(height)? else { break };
            bytes = bytes.saturating_add(block.size_hint());
            blocks.push(Arc::new(block));
            height = height.saturating_sub(Height::new(1));
        }
        Ok(Some(Blocks::gather(blocks)))
    }

    /// The answer to a peer that lacks everything above a height; none if nothing is above.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn finalized_above(&self, request: GetFinalized) -> Result<Option<Finalized>, StoreError> {
        let snapshot = self.store.snapshot();
        let first = request.above.saturating_add(Height::new(1));
        let mut stretch = Vec::new();
        let mut bytes = 0_usize;
        for entry in snapshot.scan(&BLOCKS, &first.to_key(), None) {
            let (height, block) = entry?;
            bytes = bytes.saturating_add(block.size_hint());
            let finalization: Option<Certificate> = snapshot.get(&FINALIZATIONS, &height)?;
            stretch.push((Arc::new(block), finalization.map(Arc::new)));
            if stretch.len() >= MAX_BLOCKS_PER_MESSAGE || bytes >= ANSWER_BYTES {
                break;
            }
        }
        let was_cut = !stretch.is_empty();
        if let Some(answer) = Finalized::gather(stretch) {
            return Ok(Some(answer));
        }
        // None of so many blocks has a finalization: the next one alone says what to ask for (S7). It is in
        // a table of its own, so that no blocks are read for it.
        let next = if was_cut { self.finalization(first)? } else { None };
        Ok(next.map(|(_, finalization)| Finalized {
            blocks: List::default(),
            finalization: Arc::new(finalization),
        }))
    }
}

/// The state after one final block.
#[derive(Debug)]
pub struct StateView<'a> {
    snapshot: Snapshot<'a>,
}

impl StateView<'_> {
    /// The height of the block that it is the state after.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn height(&self) -> Result<Height, StoreError> {
        Ok(self.snapshot.get(&TIP, &())?.map_or(Height::ZERO, |tip| tip.height))
    }

    /// The entry at a key.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn get(&self, key: &StateKey) -> Result<Option<StateValue>, StoreError> {
        self.snapshot.get(&STATE, key)
    }

    /// The entries in a range of keys, in order, as many as the caller takes.
    pub fn range(
        &self,
        range: RangeInclusive<StateKey>,
    ) -> impl Iterator<Item = Result<(StateKey, StateValue), StoreError>> + '_ {
        self.snapshot.scan(&STATE, &range.start().to_bytes(), Some(super::state::after(range.end())))
    }

    /// An account.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn account(&self, key: &PublicKey) -> Result<Option<Account>, StoreError> {
        match self.get(&StateKey::Account(*key))? {
            Some(StateValue::Account(account)) => Ok(Some(account)),
            _ => Ok(None),
        }
    }

    /// A producer's track record, with zeros where no session of its was settled yet.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn track_record(&self, producer: &PublicKey) -> Result<TrackRecord, StoreError> {
        match self.get(&StateKey::TrackRecord(*producer))? {
            Some(StateValue::TrackRecord(record)) => Ok(record),
            _ => Ok(TrackRecord::default()),
        }
    }

    /// The chain's parameters.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn params(&self) -> Result<Params, StoreError> {
        match self.get(&StateKey::Params)? {
            Some(StateValue::Params(params)) => Ok(params),
            _ => Err(StoreError::Corrupt {
                table: STATE.name,
                key: "params".to_owned(),
                reason: "the state has no parameters".to_owned(),
            }),
        }
    }
}
