//! How many bytes of requests and answers are held for clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Answers up to this size have a share of each budget of their own, so that neither large ones nor calls that wait
/// ever keep them away.
pub(super) const SMALL_BYTES: usize = 64 * 1024;
/// How long a call waits for room before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// There was no room in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// A number of bytes that may be held at a time.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    total: u32,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(total as usize)), total }
    }

    fn used(&self) -> usize {
        (self.total as usize).saturating_sub(self.free.available_permits())
    }

    /// Never completes for more than the whole; limits are checked at the start so that nobody asks.
    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Full> {
        let bytes = u32::try_from(bytes).map_err(|_| Full)?;
        Arc::clone(&self.free).acquire_many_owned(bytes).await.map_err(|_| Full)
    }

    fn try_take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Full> {
        let bytes = u32::try_from(bytes).map_err(|_| Full)?;
        Arc::clone(&self.free).try_acquire_many_owned(bytes).map_err(|_| Full)
    }
}

/// The budget of a host or of all: half of it for large answers, a quarter for small ones, and a quarter for calls
/// that wait.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    small: Budget,
    large: Budget,
    /// What calls that wait for finality hold, with all that came with them: for a minute, and for nothing.
    waiting: Budget,
}

impl Shares {
    pub(super) fn new(bytes: usize) -> Self {
        let quarter = bytes / 4;
        let [small, waiting] = [(); 2].map(|()| Budget::new(quarter));
        Self { small, large: Budget::new(bytes - 2 * quarter), waiting }
    }

    pub(super) fn used(&self) -> usize {
        [&self.small, &self.large, &self.waiting].map(Budget::used).iter().sum()
    }

    const fn of(&self, bytes: usize) -> &Budget {
        if bytes <= SMALL_BYTES { &self.small } else { &self.large }
    }
}

/// Whom bytes count for.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) connection: Budget,
    pub(super) host: Shares,
    pub(super) all: Shares,
}

impl Account {
    /// Room for as many bytes, once there is some. In this order a client that does not read waits
    /// for itself first, and holds nothing of the others meanwhile.
    pub(super) async fn reserve(&self, bytes: usize) -> Charge {
        let room = async {
            let connection = self.connection.take(bytes).await?;
            let host = self.host.of(bytes).take(bytes).await?;
            let all = self.all.of(bytes).take(bytes).await?;
            Ok::<_, Full>(Charge {
                bytes,
                waits: false,
                connection: vec![connection],
                shared: vec![host, all],
            })
        };
        match room.await {
            Ok(charge) => charge,
            // No budget is ever closed, nor is more asked for than a `u32` holds.
            Err(Full) => std::future::pending().await,
        }
    }

    /// The same for callers that have a limit to their patience.
    pub(super) async fn reserve_soon(&self, bytes: usize) -> Result<Charge, Full> {
        timeout(PATIENCE, self.reserve(bytes)).await.map_err(|_| Full)
    }

    /// Room for a call that is about to wait, if there is some now: while it waited for room it would be in the way of
    /// those that are soon over.
    pub(super) fn reserve_to_wait(&self, bytes: usize) -> Result<Charge, Full> {
        let connection = vec![self.connection.try_take(bytes)?];
        Ok(Charge { bytes, waits: true, connection, shared: self.share_of_waits(bytes)? })
    }

    /// Lets what is held already count as held by a call that is about to wait, so that it is in the way of such
    /// calls alone.
    pub(super) fn let_wait(&self, charge: &mut Charge) -> Result<(), Full> {
        if !charge.waits && charge.bytes > 0 {
            charge.shared = self.share_of_waits(charge.bytes)?;
            charge.waits = true;
        }
        Ok(())
    }

    fn share_of_waits(&self, bytes: usize) -> Result<Vec<OwnedSemaphorePermit>, Full> {
        [&self.host, &self.all].into_iter().map(|shares| shares.waiting.try_take(bytes)).collect()
    }
}

/// Bytes that are held for a client. They count until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Charge {
    bytes: usize,
    /// All of it is in the share of calls that wait.
    waits: bool,
    connection: Vec<OwnedSemaphorePermit>,
    /// Of its host, and of all.
    shared: Vec<OwnedSemaphorePermit>,
}

impl Charge {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what an answer turned out not to need.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        for permit in self.connection.iter_mut().chain(&mut self.shared) {
            drop(permit.split(surplus));
        }
        self.bytes -= surplus;
    }

    /// Two charges that are held as long as each other.
    pub(super) fn join(&mut self, other: Self) {
        self.waits = other.waits && (self.waits || self.bytes == 0);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.connection.extend(other.connection);
        self.shared.extend(other.shared);
    }
}
