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
}

/// What bytes are held for, and in whose way they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Soon over, up to [`SMALL_BYTES`].
    Small,
    /// Soon over.
    Large,
    /// Held by a call that waits for finality, with all that came with it: for a minute, and for nothing.
    Waiting,
}

impl Class {
    const fn of(bytes: usize) -> Self {
        if bytes <= SMALL_BYTES { Self::Small } else { Self::Large }
    }
}

/// The budget of a host or of all: half of it for large answers, a quarter for small ones, and a quarter for calls
/// that wait.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    small: Budget,
    large: Budget,
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

    const fn of(&self, class: Class) -> &Budget {
        match class {
            Class::Small => &self.small,
            Class::Large => &self.large,
            Class::Waiting => &self.waiting,
        }
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
        self.reserve_as(Class::of(bytes), bytes).await
    }

    async fn reserve_as(&self, class: Class, bytes: usize) -> Charge {
        let room = async {
            let connection = vec![self.connection.take(bytes).await?];
            Ok::<_, Full>(Charge { bytes, class, connection, shared: self.share(class, bytes).await? })
        };
        match room.await {
            Ok(charge) => charge,
            // No budget is ever closed, nor is more asked for than a `u32` holds.
            Err(Full) => std::future::pending().await,
        }
    }

    async fn share(&self, class: Class, bytes: usize) -> Result<Vec<OwnedSemaphorePermit>, Full> {
        let host = self.host.of(class).take(bytes).await?;
        let all = self.all.of(class).take(bytes).await?;
        Ok(vec![host, all])
    }

    /// The same for callers that have a limit to their patience.
    pub(super) async fn reserve_soon(&self, bytes: usize) -> Result<Charge, Full> {
        timeout(PATIENCE, self.reserve(bytes)).await.map_err(|_| Full)
    }

    /// The same for a call that is about to wait.
    pub(super) async fn reserve_to_wait(&self, bytes: usize) -> Result<Charge, Full> {
        timeout(PATIENCE, self.reserve_as(Class::Waiting, bytes)).await.map_err(|_| Full)
    }

    /// Lets what is held already count as held by a call that is about to wait, so that it is in the way of such
    /// calls alone.
    pub(super) async fn let_wait(&self, charge: &mut Charge) -> Result<(), Full> {
        if charge.class != Class::Waiting && charge.bytes > 0 {
            let share = timeout(PATIENCE, self.share(Class::Waiting, charge.bytes));
            charge.shared = share.await.map_err(|_| Full)??;
            charge.class = Class::Waiting;
        }
        Ok(())
    }
}

/// Bytes that are held for a client. They count until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: usize,
    class: Class,
    connection: Vec<OwnedSemaphorePermit>,
    /// Of its host, and of all.
    shared: Vec<OwnedSemaphorePermit>,
}

impl Default for Charge {
    fn default() -> Self {
        Self { bytes: 0, class: Class::Small, connection: Vec::new(), shared: Vec::new() }
    }
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

    /// Two charges that are held as long as each other. Where one is not held by a call that waits, nor are both.
    pub(super) fn join(&mut self, other: Self) {
        if self.bytes == 0 || other.class != Class::Waiting {
            self.class = other.class;
        }
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.connection.extend(other.connection);
        self.shared.extend(other.shared);
    }
}
