use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::block::Header;
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::primitives::{Amount, Epoch, Height, TxRef};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::SignedTransaction;
use lru::LruCache;

use crate::chain::{ChainReader, ReadError};
use crate::rpc::authority_types::{OffenceInfo, ProposalInfo};
use crate::rpc::error::CallError;
use crate::rpc::types::{
    BidInfo, BlockInfo, BlockKey, Finality, HeaderInfo, HexBytes, Named, PAGE_ITEMS, Page, StationInfo,
    TransactionSummary,
};

/// The most entries that one call looks at; the page then ends and says where to go on.
const MAX_SCAN: usize = 20_000;
/// Blocks that are kept decoded, of some MB each at most: those that many ask for are the newest.
const CACHED_BLOCKS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(16).expect("not zero");

/// Answers questions about what is final.
#[derive(Debug, Clone)]
pub(super) struct Queries {
    chain: ChainReader,
    /// Thousands of callers that wait for one block's transactions share its decoding: hence the
    /// lock, which is held while a block is read.
    blocks: Arc<Mutex<LruCache<Height, Arc<DecodedBlock>>>>,
}

/// A final block with what is asked of it most.
#[derive(Debug)]
pub(super) struct DecodedBlock {
    pub(super) hash: Hash,
    pub(super) header: Header,
    pub(super) transactions: Vec<TransactionSummary>,
    pub(super) events: Vec<EventRecord>,
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Queries {
    pub(super) fn new(chain: ChainReader) -> Self {
        Self { chain, blocks: Arc::new(Mutex::new(LruCache::new(CACHED_BLOCKS))) }
    }

    pub(super) const fn chain(&self) -> &ChainReader {
        &self.chain
    }

    /// The block, decoded; none if it is not final here.
    pub(super) fn decoded(&self, height: Height) -> Result<Option<Arc<DecodedBlock>>, ReadError> {
        // A cache that was left in the middle of a change is still a cache.
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.get(&height) {
            return Ok(Some(Arc::clone(block)));
        }
        let (Some(block), Some(signed), Some(events)) =
            (self.chain.block(height)?, self.chain.transactions(height)?, self.chain.events(height)?)
        else {
            return Ok(None);
        };
        let transactions = (0..)
            .zip(&signed)
            // A block has no more transactions than a reference can name.
            .filter_map(|(index, signed)| Some(summary(TxRef::new(height, index).ok()?, signed)))
            .collect();
        let decoded = Arc::new(DecodedBlock {
            hash: block.hash(),
            header: block.header().clone(),
            transactions,
            events,
        });
        blocks.put(height, Arc::clone(&decoded));
        Ok(Some(decoded))
    }

    /// What is to be said about a final transaction.
    pub(super) fn finality(&self, place: TxRef) -> Result<Finality, CallError> {
        let missing = || CallError::NotFound(format!("there is no transaction {place}"));
        let block = self.decoded(place.height())?.ok_or_else(missing)?;
        let index = usize::try_from(place.index()).map_err(|_| missing())?;
        let transaction = block.transactions.get(index).ok_or_else(missing)?;
        let events: Vec<Event> = block
            .events
            .iter()
            .filter(|record| record.transaction == Some(place))
            .map(|record| record.event.clone())
            .collect();
        let fee = events.iter().find_map(|event| match event {
            Event::FeePaid { amount, .. } => Some(*amount),
            _ => None,
        });
        Ok(Finality {
            transaction: transaction.id,
            place,
            height: place.height(),
            index: place.index(),
            block: block.hash,
            time: block.header.time_ms,
            fee: fee.unwrap_or(Amount::ZERO),
            bytes: transaction.bytes,
            events,
        })
    }

    /// The final transaction at this place.
    pub(super) fn signed(&self, place: TxRef) -> Result<SignedTransaction, CallError> {
        let index = usize::try_from(place.index()).unwrap_or(usize::MAX);
        let transactions = self.chain.transactions(place.height())?.unwrap_or_default();
        let signed = transactions.into_iter().nth(index);
        signed.ok_or_else(|| CallError::NotFound(format!("there is no transaction {place}")))
    }

    /// The height that a block's key means, which is at most the newest final one's.
    fn height(&self, key: BlockKey) -> Result<Height, CallError> {
        let tip = self.chain.tip().height;
        match key {
            BlockKey::Latest => Ok(tip),
            BlockKey::Height(height) if height <= tip => Ok(height),
            BlockKey::Height(height) => {
                Err(CallError::NotFound(format!("block {height} is not final here: the newest is {tip}")))
            }
            BlockKey::Id(id) => self
                .chain
                .height_of(&id)?
                .ok_or_else(|| CallError::NotFound(format!("no final block has the id {id}"))),
        }
    }

    pub(super) fn header(&self, key: BlockKey) -> Result<HeaderInfo, CallError> {
        let height = self.height(key)?;
        let tip = self.chain.tip();
        let header = if tip.height == height { tip } else { self.existing(height)?.header.clone() };
        let encoded = HexBytes(evchain_protocol::codec::encode(&header));
        Ok(HeaderInfo { block: header.hash(), header, encoded })
    }

    pub(super) fn block(&self, key: BlockKey) -> Result<BlockInfo, CallError> {
        let block = self.existing(self.height(key)?)?;
        Ok(BlockInfo {
            block: block.hash,
            header: block.header.clone(),
            transactions: block.transactions.clone(),
            bytes: block.transactions.iter().map(|transaction| transaction.bytes).sum(),
        })
    }

    pub(super) fn events(&self, height: Height) -> Result<Vec<EventRecord>, CallError> {
        Ok(self.existing(self.height(BlockKey::Height(height))?)?.events.clone())
    }

    fn existing(&self, height: Height) -> Result<Arc<DecodedBlock>, CallError> {
        let missing = || match height {
            Height::ZERO => {
                "block 0 is the genesis, which has no transactions: ask for evchain_genesis".to_owned()
            }
            _ => format!("block {height} is not kept here"),
        };
        self.decoded(height)?.ok_or_else(|| CallError::NotFound(missing()))
    }

    /// An object of the state.
    pub(super) fn object<T>(
        &self,
        key: StateKey,
        what: impl FnOnce() -> String,
        pick: impl FnOnce(StateValue) -> Option<T>,
    ) -> Result<T, CallError> {
        let value = self.chain.state().get(&key)?;
        value.and_then(pick).ok_or_else(|| CallError::NotFound(what()))
    }

    /// The bids for a request, which the chain's rules keep few.
    pub(super) fn bids(&self, request: TxRef) -> Result<Vec<BidInfo>, CallError> {
        let first = StateKey::Bid(request, PublicKey::from_bytes([0; PublicKey::LEN]));
        let last = StateKey::Bid(request, PublicKey::from_bytes([0xff; PublicKey::LEN]));
        let state = self.chain.state();
        if state.get(&StateKey::Request(request))?.is_none() {
            return Err(no_request(request));
        }
        let bids = state.range(first..=last).filter_map(|entry| match entry {
            Ok((StateKey::Bid(request, producer), StateValue::Bid(bid))) => {
                Some(Ok(BidInfo { request, producer, bid }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        });
        bids.collect()
    }

    /// The open proposals, which the chain's rules keep few.
    pub(super) fn proposals(&self, authorities: &AuthoritySet) -> Result<Vec<ProposalInfo>, CallError> {
        let state = self.chain.state();
        let proposals = state.range(StateKey::proposals()).filter_map(|entry| match entry {
            Ok((StateKey::Proposal(name), StateValue::Proposal(proposal))) => {
                let passes = proposal.is_approved_by(authorities);
                Some(Ok(ProposalInfo { name, proposal, passes }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        });
        proposals.collect()
    }

    /// The recorded offences, which the chain's rules keep few.
    pub(super) fn offences(&self) -> Result<Vec<OffenceInfo>, CallError> {
        let state = self.chain.state();
        let offences = state.range(StateKey::offences()).filter_map(|entry| match entry {
            Ok((StateKey::Offence(epoch, authority, view, offence), StateValue::Offence(record))) => {
                Some(Ok(OffenceInfo { authority, epoch, view, offence, record }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        });
        offences.collect()
    }

    /// The last block of an epoch that is over. `current` is the newest epoch.
    pub(super) fn end_of(&self, epoch: Epoch, current: Epoch) -> Result<Arc<DecodedBlock>, CallError> {
        if epoch >= current {
            return Err(CallError::NotFound(format!("epoch {epoch} is not over: the newest is {current}")));
        }
        // Epochs only rise with the height, so the last block of one is found by halving.
        let (mut low, mut high) = (0, self.chain.tip().height.get());
        while low < high {
            let middle = high - (high - low) / 2;
            if self.existing(Height::new(middle))?.header.epoch > epoch {
                high = middle - 1;
            } else {
                low = middle;
            }
        }
        self.existing(Height::new(low))
    }

    pub(super) fn stations(
        &self,
        after: Option<PublicKey>,
        wanted: impl Fn(&StationInfo) -> bool,
    ) -> Result<Page<StationInfo, PublicKey>, CallError> {
        let lowest = PublicKey::from_bytes([0; PublicKey::LEN]);
        let highest = PublicKey::from_bytes([0xff; PublicKey::LEN]);
        let range = StateKey::Station(after.unwrap_or(lowest))..=StateKey::Station(highest);
        self.page(range, after, |key, value| match (key, value) {
            (StateKey::Station(producer), StateValue::Station(station)) => {
                let info = StationInfo { producer, station };
                Some((producer, wanted(&info).then_some(info)))
            }
            _ => None,
        })
    }

    /// A page of objects that are named by the transaction that made them, oldest first.
    pub(super) fn named<T>(
        &self,
        key: fn(TxRef) -> StateKey,
        after: Option<TxRef>,
        pick: impl Fn(StateValue) -> Option<T>,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Page<Named<T>, TxRef>, CallError> {
        let range = key(after.unwrap_or(TxRef::MIN))..=key(TxRef::MAX);
        self.page(range, after, |key, value| {
            let (StateKey::Request(name)
            | StateKey::Lock(name)
            | StateKey::Payment(name)
            | StateKey::Channel(name)) = key
            else {
                return None;
            };
            let value = pick(value)?;
            Some((name, wanted(&value).then_some(Named { name, value })))
        })
    }

    /// Walks a range of the state until a page is full. `read` gives an entry's name and, if it is
    /// wanted, what to list.
    fn page<K: PartialEq + Copy, T>(
        &self,
        range: RangeInclusive<StateKey>,
        after: Option<K>,
        read: impl Fn(StateKey, StateValue) -> Option<(K, Option<T>)>,
    ) -> Result<Page<T, K>, CallError> {
        let mut page = Page { items: Vec::new(), next: None };
        for (scanned, entry) in self.chain.state().range(range).enumerate() {
            let (key, value) = entry?;
            let Some((name, item)) = read(key, value) else { continue };
            if Some(name) == after {
                continue;
            }
            page.items.extend(item);
            if page.items.len() >= PAGE_ITEMS || scanned >= MAX_SCAN {
                page.next = Some(name);
                break;
            }
        }
        Ok(page)
    }
}

pub(super) fn no_request(request: TxRef) -> CallError {
    CallError::NotFound(format!(
        "there is no request {request}, or no longer: requests leave the state when their window ends"
    ))
}

fn summary(place: TxRef, signed: &SignedTransaction) -> TransactionSummary {
    TransactionSummary {
        place,
        id: signed.id(),
        sender: signed.transaction.sender,
        nonce: signed.transaction.nonce,
        kind: signed.transaction.action.kind().to_owned(),
        bytes: evchain_protocol::codec::encoded_len(signed),
    }
}
