//! Who is connected, from where, and what each may hold.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::budget::{Account, Budget, Shares};
use super::rpc_server::RpcConfig;
use crate::host::Host;

/// A thousandth of a call, in which the rate of calls is reckoned.
const MILLI: u64 = 1_000;

/// All clients, and the limits that hold for them together.
#[derive(Debug)]
pub(super) struct Hosts {
    limits: Limits,
    bytes: Shares,
    waits: Arc<Semaphore>,
    /// Who is connected. Locked, for moments, by the task that accepts connections and by places
    /// that end, which must not wait for a task to be told.
    book: Mutex<Book>,
    pub(super) counts: Counts,
}

/// What was refused so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Connections that were closed at once.
    pub(super) refused: AtomicU64,
    /// Connections that gave way to others.
    pub(super) evicted: AtomicU64,
    /// Calls above their host's rate.
    pub(super) limited: AtomicU64,
    /// Requests for a host name or from a web page that is not allowed.
    pub(super) forbidden: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    connections_per_host: usize,
    waits_per_host: usize,
    bytes_per_host: usize,
    bytes_per_connection: usize,
    calls_per_second: Option<NonZeroU32>,
}

#[derive(Debug, Default)]
struct Book {
    hosts: BTreeMap<Host, Holdings>,
    connections: usize,
    next: u64,
}

#[derive(Debug)]
struct Holdings {
    shares: Shares,
    waits: Arc<Semaphore>,
    /// Thousandths of calls that it may make now, and since when that has held.
    rate: (u64, Instant),
    seats: BTreeMap<u64, Arc<Seat>>,
}

/// What is known of a connection.
#[derive(Debug, Default)]
struct Seat {
    has_spoken: AtomicBool,
    /// Requests that are being answered, and subscriptions.
    busy: AtomicUsize,
    leave: CancellationToken,
}

impl Seat {
    /// What a seat is worth at most from which nothing is under way.
    const IDLE: u8 = 1;

    /// Lower ones give way first.
    fn worth(&self) -> u8 {
        match (self.has_spoken.load(Ordering::Relaxed), self.busy.load(Ordering::Relaxed)) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, _) => 2,
        }
    }
}

impl Holdings {
    fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            shares: Shares::new(limits.bytes_per_host),
            waits: Arc::new(Semaphore::new(limits.waits_per_host.min(Semaphore::MAX_PERMITS))),
            rate: (limits.burst(), now),
            seats: BTreeMap::new(),
        }
    }

    /// The seat that gives way first, if it is worth at most so much; of several the oldest.
    fn cheapest(&self, at_most: u8) -> Option<(u64, Arc<Seat>)> {
        let seats = self.seats.iter().map(|(id, seat)| (seat.worth(), *id, seat));
        let (worth, id, seat) = seats.min_by_key(|(worth, id, _)| (*worth, *id))?;
        (worth <= at_most).then(|| (id, Arc::clone(seat)))
    }
}

impl Limits {
    /// The calls that a host may make at once, in thousandths: those of two seconds.
    fn burst(&self) -> u64 {
        self.calls_per_second.map_or(0, |rate| u64::from(rate.get()) * 2 * MILLI)
    }
}

impl Hosts {
    pub(super) fn new(config: &RpcConfig) -> Arc<Self> {
        let limits = Limits {
            connections: config.max_connections,
            connections_per_host: config.max_connections_per_host,
            waits_per_host: config.max_waits_per_host,
            bytes_per_host: config.max_bytes_per_host,
            bytes_per_connection: config.max_bytes_per_connection,
            calls_per_second: config.max_calls_per_second,
        };
        Arc::new(Self {
            limits,
            bytes: Shares::new(config.max_bytes),
            waits: Arc::new(Semaphore::new(config.max_waits.min(Semaphore::MAX_PERMITS))),
            book: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// Bytes of requests and answers that are held now.
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes.used()
    }

    /// Connections now.
    pub(super) fn connections(&self) -> usize {
        self.book().connections
    }

    /// Whether as many are connected as there are places.
    pub(super) fn is_full(&self) -> bool {
        self.connections() >= self.limits.connections
    }

    /// A place for a connection from this address; none where it has to be closed.
    ///
    /// A host's silent sockets give way to its newcomers. Where there is no room at all the host with the most
    /// connections gives way to hosts with fewer; where it has but one more, only a connection that asks for nothing.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Caller> {
        let key = Host::of_ip(address);
        let mut book = self.book();
        book.forget_absent(&self.limits);
        let now = Instant::now();
        let mine = book.hosts.get(&key).map_or(0, |host| host.seats.len());
        if mine >= self.limits.connections_per_host {
            self.evict(&mut book, key, 0)?;
        } else if book.connections >= self.limits.connections {
            let (fullest, most) = book
                .hosts
                .iter()
                .map(|(key, host)| (*key, host.seats.len()))
                .max_by_key(|(_, seats)| *seats)?;
            let (from, at_most) = if most > mine + 1 {
                (fullest, u8::MAX)
            } else if let Some(idle) = book.idlest(mine) {
                (idle, Seat::IDLE)
            } else {
                (key, 0)
            };
            self.evict(&mut book, from, at_most)?;
        }
        let id = book.next;
        book.next += 1;
        book.connections += 1;
        let host = book.hosts.entry(key).or_insert_with(|| Holdings::new(&self.limits, now));
        let seat = Arc::new(Seat::default());
        host.seats.insert(id, Arc::clone(&seat));
        let account = Account {
            connection: Budget::new(self.limits.bytes_per_connection),
            host: host.shares.clone(),
            all: self.bytes.clone(),
        };
        let waits = Arc::clone(&host.waits);
        drop(book);
        Some(Caller { hosts: Arc::clone(self), key, id, seat, account, waits })
    }

    fn evict(&self, book: &mut Book, from: Host, at_most: u8) -> Option<()> {
        let cheapest = book.hosts.get(&from).and_then(|host| host.cheapest(at_most));
        let Some((id, seat)) = cheapest else {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        seat.leave.cancel();
        book.leave(from, id);
        Some(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Each change is made in one go: what another thread left is whole.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The host of the connection that gives way first among those that ask for nothing, of hosts with more than so
    /// many connections.
    fn idlest(&self, most: usize) -> Option<Host> {
        let fuller = self.hosts.iter().filter(|(_, holdings)| holdings.seats.len() > most);
        let idle = fuller.filter_map(|(host, holdings)| {
            let (id, seat) = holdings.cheapest(Seat::IDLE)?;
            Some((seat.worth(), id, *host))
        });
        idle.min().map(|(_, _, host)| host)
    }

    fn leave(&mut self, key: Host, id: u64) {
        // One that gave way is gone already when it ends.
        if let Some(host) = self.hosts.get_mut(&key)
            && host.seats.remove(&id).is_some()
        {
            self.connections -= 1;
        }
    }

    /// Forgets hosts that have left, once nothing has to be remembered of their rate.
    fn forget_absent(&mut self, limits: &Limits) {
        let second = std::time::Duration::from_secs(2);
        let is_wanted = |host: &Holdings| {
            !host.seats.is_empty() || (limits.calls_per_second.is_some() && host.rate.1.elapsed() < second)
        };
        if self.hosts.len() > self.connections {
            self.hosts.retain(|_, host| is_wanted(host));
        }
    }
}

/// A connection's client, with its place for as long as this lives.
#[derive(Debug)]
pub(super) struct Caller {
    hosts: Arc<Hosts>,
    key: Host,
    id: u64,
    seat: Arc<Seat>,
    account: Account,
    waits: Arc<Semaphore>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.hosts.book().leave(self.key, self.id);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Caller {
    /// The connection's number, which no other has.
    pub(super) fn number(&self) -> usize {
        usize::try_from(self.id).unwrap_or(usize::MAX)
    }

    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.hosts.counts
    }

    /// Cancelled when the connection has to end for another.
    pub(super) fn leave(&self) -> &CancellationToken {
        &self.seat.leave
    }

    /// Notes that it has asked for something, which is under way until the answer is dropped.
    pub(super) fn ask(&self) -> Busy {
        self.seat.has_spoken.store(true, Ordering::Relaxed);
        self.seat.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.seat))
    }

    /// Whether its host may make a call now, which then counts.
    pub(super) fn may_call(&self) -> bool {
        let Some(rate) = self.hosts.limits.calls_per_second else { return true };
        let (burst, now) = (self.hosts.limits.burst(), Instant::now());
        let mut book = self.hosts.book();
        let Some(host) = book.hosts.get_mut(&self.key) else { return true };
        let (left, since) = host.rate;
        // Milliseconds times calls per second are thousandths of calls.
        let elapsed_ms = u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let earned = elapsed_ms.saturating_mul(u64::from(rate.get()));
        // Where nothing was earned yet, the clock goes on from where it stood.
        let since = if earned == 0 { since } else { now };
        let left = left.saturating_add(earned).min(burst);
        let is_allowed = left >= MILLI;
        host.rate = (if is_allowed { left - MILLI } else { left }, since);
        drop(book);
        if !is_allowed {
            self.hosts.counts.limited.fetch_add(1, Ordering::Relaxed);
        }
        is_allowed
    }

    /// A place for a call that waits for finality, until it is dropped with the call.
    pub(super) fn wait_place(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let host = Arc::clone(&self.waits).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.hosts.waits).try_acquire_owned().ok()?;
        Some([host, all])
    }
}
