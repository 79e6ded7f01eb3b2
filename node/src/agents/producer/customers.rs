//! Who pays this producer, as the final chain shows: the keys that its endpoint keeps room for.
//!
//! Told by blocks alone, so that a connection is judged without a question to a node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{Amount, TxRef};
use tokio::sync::watch;

use crate::agents::chain::asking::Asking;
use crate::agents::chain::blocks::{News, NewsReader};
use crate::agents::chain::nodes::Nodes;
use crate::agents::error::AgentError;
use crate::agents::event::Warning;
use crate::network::{GuestKeys, NetworkLimits, StrangerLimits};
use crate::rpc::{NodeApiClient, RpcClient};

/// Keys that get room for single locks alone, those first that have locked most: a lock names no request, so
/// that anybody can make a small one.
const MAX_BY_LOCKS: usize = 64;
/// Locks that are remembered; above, the smallest are forgotten.
const MAX_LOCKS: usize = 4_096;
/// Keys that are remembered after their payments: they may come back for the last word.
const MAX_FORMER: usize = 256;
/// What strangers have together. They say one thing and are gone.
pub(super) const STRANGERS: StrangerLimits =
    StrangerLimits { connections: 64, stay: Duration::from_secs(30), sessions: 16, handshakes_of_host: 16 };
/// Handshakes under way of all hosts.
const HANDSHAKES: u32 = 256;

/// The limits of a producer's endpoint.
pub(super) fn limits() -> NetworkLimits {
    NetworkLimits { max_pending_connections: HANDSHAKES, ..NetworkLimits::default() }
}

/// Follows who pays.
pub(super) struct Customers {
    nodes: Nodes,
    news: NewsReader,
    /// What is asked of the chain, as news were missed.
    listing: Asking<Listed>,
    book: Book,
    guests: watch::Sender<GuestKeys>,
}

impl Customers {
    /// Nobody yet; the chain is asked as soon as [`Self::follow`] is. `guests` reaches the endpoint.
    pub(super) fn new(
        nodes: Nodes,
        own: PublicKey,
        news: NewsReader,
        guests: watch::Sender<GuestKeys>,
    ) -> Self {
        let mut customers = Self { nodes, news, listing: Asking::default(), book: Book::new(own), guests };
        customers.list();
        customers
    }

    /// Hears what the chain tells next. Cancel safe.
    pub(super) async fn follow(&mut self) {
        tokio::select! {
            // What comes after missed news says little without them.
            news = self.news.next(), if self.listing.is_idle() => match news {
                News::Block(block) => {
                    for record in &block.events {
                        self.book.take(&record.event);
                    }
                }
                News::Gap => self.list(),
            },
            Some(listed) = self.listing.answer() => match listed {
                Ok(listed) => self.book.replace(listed),
                Err(error) => {
                    let reason = format!("cannot ask who pays: {error}");
                    self.nodes.warn(Warning::Trouble { reason });
                }
            },
        }
        self.tell();
    }

    /// This one is served, and may come back when nothing is left on the chain.
    pub(super) fn serves(&mut self, consumer: PublicKey) {
        self.book.remember(consumer);
        self.tell();
    }

    /// Who is expected now, told as it changes.
    pub(super) fn expected(&self) -> watch::Receiver<GuestKeys> {
        self.guests.subscribe()
    }

    fn list(&mut self) {
        self.listing.ask(list(self.nodes.clone(), self.book.own));
    }

    fn tell(&mut self) {
        if !std::mem::take(&mut self.book.has_changed) {
            return;
        }
        self.guests.send_replace(Arc::new(self.book.keys()));
    }
}

/// What the chain holds for the producer.
#[derive(Debug, Default)]
struct Listed {
    /// The consumers, by payment or channel.
    payments: BTreeMap<TxRef, PublicKey>,
    /// The payers, by lock.
    locks: BTreeMap<TxRef, (PublicKey, Amount)>,
}

/// Who pays and who has paid. Knows the chain by what it is told.
#[derive(Debug)]
struct Book {
    own: PublicKey,
    open: Listed,
    /// Whose payments have ended, or who was served; the latest last.
    former: VecDeque<PublicKey>,
    has_changed: bool,
}

impl Book {
    fn new(own: PublicKey) -> Self {
        Self { own, open: Listed::default(), former: VecDeque::new(), has_changed: false }
    }

    /// Something has happened on the chain.
    fn take(&mut self, event: &Event) {
        match *event {
            Event::PaymentLocked { payment: name, consumer, producer, .. }
            | Event::ChannelOpened { channel: name, consumer, producer, .. }
                if producer == self.own =>
            {
                self.open.payments.insert(name, consumer);
                self.has_changed = true;
            }
            Event::Locked { lock, payer, payee, amount, .. } if payee == self.own => {
                self.open.locks.insert(lock, (payer, amount));
                if self.open.locks.len() > MAX_LOCKS {
                    let smallest = self.open.locks.iter().min_by_key(|(_, (_, amount))| *amount);
                    let smallest = smallest.map(|(lock, _)| *lock);
                    smallest.and_then(|lock| self.open.locks.remove(&lock));
                }
                self.has_changed = true;
            }
            Event::LockClaimed { lock, .. } | Event::LockRefunded { lock, .. } => {
                if let Some((payer, _)) = self.open.locks.remove(&lock) {
                    self.remember(payer);
                }
            }
            Event::PaymentEnded { payment: name }
            | Event::PaymentCancelled { payment: name, .. }
            | Event::ChannelClosed { channel: name, .. }
            | Event::ChannelCancelled { channel: name, .. } => {
                if let Some(consumer) = self.open.payments.remove(&name) {
                    self.remember(consumer);
                }
            }
            _ => {}
        }
    }

    /// The chain was asked for all, since news were missed.
    fn replace(&mut self, listed: Listed) {
        let before = std::mem::replace(&mut self.open, listed);
        for consumer in before.payments.into_values() {
            self.remember(consumer);
        }
        self.has_changed = true;
    }

    fn remember(&mut self, consumer: PublicKey) {
        self.former.retain(|other| *other != consumer);
        self.former.push_back(consumer);
        if self.former.len() > MAX_FORMER {
            self.former.pop_front();
        }
        self.has_changed = true;
    }

    /// Everybody with room of their own.
    fn keys(&self) -> BTreeSet<PublicKey> {
        let paying = self.open.payments.values().chain(&self.former).copied();
        paying.chain(by_locks(&self.open.locks)).collect()
    }
}

/// Who has locked most.
fn by_locks(locks: &BTreeMap<TxRef, (PublicKey, Amount)>) -> impl Iterator<Item = PublicKey> {
    let mut of: BTreeMap<PublicKey, Amount> = BTreeMap::new();
    for (payer, amount) in locks.values() {
        let sum = of.entry(*payer).or_insert(Amount::ZERO);
        *sum = sum.saturating_add(*amount);
    }
    let mut payers: Vec<_> = of.into_iter().map(|(payer, sum)| (std::cmp::Reverse(sum), payer)).collect();
    payers.sort_unstable();
    payers.into_iter().take(MAX_BY_LOCKS).map(|(_, payer)| payer)
}

/// Asks the chain for all that it holds for this producer.
async fn list(nodes: Nodes, own: PublicKey) -> Result<Listed, AgentError> {
    let payments = |rpc: RpcClient, after| async move { rpc.payments(Some(own), after).await };
    let payments = nodes.all("ask for payments", payments).await?;
    let channels = |rpc: RpcClient, after| async move { rpc.channels(Some(own), after).await };
    let channels = nodes.all("ask for channels", channels).await?;
    let locks = |rpc: RpcClient, after| async move { rpc.locks(Some(own), after).await };
    let locks = nodes.all("ask for locks", locks).await?;
    let payments = payments.iter().map(|it| (it.name, it.value.producer, it.value.consumer));
    let channels = channels.iter().map(|it| (it.name, it.value.producer, it.value.consumer));
    let own_ones = payments.chain(channels).filter(|(_, producer, _)| *producer == own);
    let mut locks: Vec<_> = locks.into_iter().filter(|it| it.value.payee == own).collect();
    locks.sort_unstable_by_key(|it| std::cmp::Reverse(it.value.amount));
    locks.truncate(MAX_LOCKS);
    Ok(Listed {
        payments: own_ones.map(|(name, _, consumer)| (name, consumer)).collect(),
        locks: locks.into_iter().map(|it| (it.name, (it.value.payer, it.value.amount))).collect(),
    })
}

#[cfg(test)]
mod tests;
