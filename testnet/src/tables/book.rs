//! What the blocks and the accounts say, whatever the agents told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evchain_node::agents::SessionReport;
use evchain_node::rpc::{BlockKey, NodeApiClient, RpcClient, RpcError, TransactionKey, TransactionSummary};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::primitives::{Amount, Height, RegionId, TxRef};
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::claim::Claim;
use evchain_protocol::transaction::{Action, SignedTransaction};
use tokio::time::Instant;

/// How long the last deadlines may take to pass.
const SETTLED: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(200);

/// The chain, read from its blocks, and the accounts at its end.
#[derive(Debug, Default)]
pub(super) struct Book {
    transactions: Vec<Entry>,
    fees: BTreeMap<PublicKey, Amount>,
    /// Fresh keys, by the main key that funded them.
    fresh: BTreeMap<PublicKey, BTreeSet<PublicKey>>,
    balances: BTreeMap<PublicKey, Amount>,
    requests: BTreeMap<TxRef, RegionId>,
    /// Requests, bids and commitments.
    auctions: BTreeMap<RegionId, BTreeSet<TxRef>>,
}

/// A transaction of a block.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: TxRef,
    pub(super) kind: String,
    pub(super) signed: SignedTransaction,
    pub(super) bytes: usize,
}

impl Book {
    /// Reads all blocks, and the accounts of these keys and of those that they funded.
    pub(super) async fn read(rpc: &RpcClient, accounts: &BTreeSet<PublicKey>) -> Result<Self, RpcError> {
        let mut book = Self::default();
        let tip = rpc.status().await?.height;
        for height in 1..=tip.get() {
            book.read_block(rpc, Height::new(height)).await?;
        }
        for key in accounts | &book.newcomers() {
            book.balances.insert(key, rpc.account(key).await?.account.balance);
        }
        Ok(book)
    }

    async fn read_block(&mut self, rpc: &RpcClient, height: Height) -> Result<(), RpcError> {
        let block = rpc.block(BlockKey::Height(height)).await?;
        if block.transactions.is_empty() {
            // What happens by itself costs no fee and makes no account.
            return Ok(());
        }
        for summary in block.transactions {
            let signed = rpc.transaction(TransactionKey::Id(summary.id)).await?.signed;
            let TransactionSummary { place, kind, bytes, .. } = summary;
            self.transactions.push(Entry { place, kind, signed, bytes });
        }
        for record in rpc.events(height).await? {
            self.note(&record);
        }
        Ok(())
    }

    /// Everybody who had no account at first.
    pub(super) fn newcomers(&self) -> BTreeSet<PublicKey> {
        self.fresh.values().flatten().copied().collect()
    }

    /// How much more than at first somebody has, with its fresh keys and with what fees took. None where an
    /// account was not read.
    pub(super) fn gain(&self, main: PublicKey, at_first: Amount) -> Option<i128> {
        let mut worth = 0;
        for key in self.fresh.get(&main).into_iter().flatten().chain([&main]) {
            let fees = self.fees.get(key).copied().unwrap_or_default();
            worth += i128::from(self.balances.get(key)?.get()) + i128::from(fees.get());
        }
        Some(worth - i128::from(at_first.get()))
    }

    /// The transactions that lock and settle a session's price.
    pub(super) fn paying(&self, session: &SessionReport) -> Vec<&Entry> {
        let locks: BTreeSet<TxRef> = self
            .transactions
            .iter()
            .filter(|entry| {
                let made = &entry.signed.transaction;
                // The fresh key has this session only.
                made.sender == session.consumer && matches!(made.action, Action::CreateLock(_))
            })
            .map(|entry| entry.place)
            .collect();
        let pays = |entry: &&Entry| match &entry.signed.transaction.action {
            Action::CreateLock(_) => locks.contains(&entry.place),
            Action::LockInstallments(_) | Action::OpenChannel(_) => entry.place == session.payment,
            action => settles(action, session.payment, &locks),
        };
        self.transactions.iter().filter(pays).collect()
    }

    /// The requests, bids and commitments of a region.
    pub(super) fn auctions_in(&self, region: RegionId) -> BTreeSet<TxRef> {
        self.auctions.get(&region).cloned().unwrap_or_default()
    }

    /// The transactions at these places.
    pub(super) fn at(&self, places: &BTreeSet<TxRef>) -> impl Iterator<Item = &Entry> {
        self.transactions.iter().filter(|entry| places.contains(&entry.place))
    }

    fn note(&mut self, record: &EventRecord) {
        match &record.event {
            Event::FeePaid { payer, amount } => {
                let fees = self.fees.entry(*payer).or_default();
                *fees = fees.saturating_add(*amount);
            }
            Event::Sponsored { account, sponsor } => {
                self.fresh.entry(*sponsor).or_default().insert(*account);
            }
            Event::Requested { request, region, .. } => {
                self.requests.insert(*request, *region);
                self.auctions.entry(*region).or_default().insert(*request);
            }
            Event::BidPlaced { request, .. } | Event::Committed { request, .. } => {
                if let Some(region) = self.requests.get(request) {
                    self.auctions.entry(*region).or_default().extend(record.transaction);
                }
            }
            _ => {}
        }
    }
}

/// Whether an action settles something of this payment, or one of these locks.
fn settles(action: &Action, payment: TxRef, locks: &BTreeSet<TxRef>) -> bool {
    match action {
        Action::Claim(Claim::Lock(claim)) => locks.contains(&claim.lock),
        Action::Claim(Claim::Hashes(claim)) => claim.payment == payment,
        Action::Claim(Claim::Chain(claim)) => claim.payment == payment,
        Action::Cancel(Cancel::Payment(cancelled) | Cancel::Channel(cancelled)) => *cancelled == payment,
        Action::CloseChannel(close) => close.state.state.channel == payment,
        Action::ForceCloseChannel(close) => close.channel == payment,
        Action::ChallengeChannel(challenge) => challenge.state.state.channel == payment,
        Action::PostState(post) => post.state.state.channel == payment,
        _ => false,
    }
}

/// Waits until no lock, payment or channel is open. False if some stay.
pub(super) async fn all_is_settled(rpc: &RpcClient) -> Result<bool, RpcError> {
    let end = Instant::now() + SETTLED;
    while Instant::now() < end {
        let is_settled = rpc.locks(None, None).await?.items.is_empty()
            && rpc.payments(None, None).await?.items.is_empty()
            && rpc.channels(None, None).await?.items.is_empty();
        if is_settled {
            return Ok(true);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(false)
}
