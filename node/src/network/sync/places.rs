//! What the requests under way may cost: places and bytes, of one peer, of one host, of all who are no
//! authorities, and of all.
//!
//! Bytes are set aside before a response is made, as many as the largest has, and given back down to its
//! length once that is known. What is held is given back when it is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::host::Host;
use crate::network::authority_links::AuthorityLinks;
use crate::network::config::NetworkLimits;
use crate::network::identity::key_of_peer;
use crate::network::metrics::NetworkMetrics;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Asker {
    pub(super) peer: PeerId,
    host: Option<Host>,
    is_authority: bool,
}

impl Asker {
    /// The peer with this key, whose newest connection comes from this address.
    pub(in crate::network) fn new(peer: PeerId, from: Option<&Multiaddr>, links: &AuthorityLinks) -> Self {
        let is_authority = key_of_peer(&peer).is_ok_and(|key| links.is_authority(&key));
        Self { peer, host: from.and_then(Host::of), is_authority }
    }
}

/// A number of places and of bytes.
#[derive(Debug)]
struct Share {
    max_places: usize,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Share {
    fn new(places: usize, bytes: usize) -> Self {
        Self {
            max_places: places,
            places: Arc::new(Semaphore::new(places)),
            bytes: Arc::new(Semaphore::new(bytes)),
        }
    }

    /// Nobody has a place, and so nobody has bytes.
    fn is_unused(&self) -> bool {
        self.places.available_permits() == self.max_places
    }
}

/// All places.
pub(super) struct Places {
    of_all: Share,
    /// The rest is the authorities', so that no stranger keeps them from catching up.
    of_strangers: Share,
    of_hosts: BTreeMap<Host, Share>,
    of_peers: BTreeMap<PeerId, Share>,
    limits: Arc<NetworkLimits>,
    metrics: NetworkMetrics,
}

impl Places {
    pub(super) fn new(limits: Arc<NetworkLimits>, metrics: NetworkMetrics) -> Self {
        let (places, bytes) = (limits.max_inbound_requests, limits.max_response_bytes_in_all);
        Self {
            of_all: Share::new(places, bytes),
            of_strangers: Share::new(places - places / 4, bytes - bytes / 4),
            of_hosts: BTreeMap::new(),
            of_peers: BTreeMap::new(),
            limits,
            metrics,
        }
    }

    /// A place for one more request, or the reason that there is none.
    pub(super) fn take(&mut self, asker: &Asker) -> Result<(Place, ByteBudget), &'static str> {
        let limits = &self.limits;
        self.of_hosts.retain(|_, share| !share.is_unused());
        self.of_peers.retain(|_, share| !share.is_unused());
        let mut shares = vec![(&self.of_all, "sync_limit")];
        if !asker.is_authority {
            shares.push((&self.of_strangers, "sync_limit"));
        }
        // Authorities may share a host with anybody: their keys cannot be made up.
        if let Some(host) = asker.host.filter(|_| !asker.is_authority) {
            let new = || Share::new(limits.max_inbound_requests_per_host, limits.max_response_bytes_per_host);
            shares.push((self.of_hosts.entry(host).or_insert_with(new), "sync_host_limit"));
        }
        let new = || Share::new(limits.max_inbound_requests_per_peer, limits.max_response_bytes_per_peer);
        shares.push((self.of_peers.entry(asker.peer).or_insert_with(new), "sync_peer_limit"));

        let mut permits = Vec::with_capacity(shares.len());
        for (share, reason) in &shares {
            permits.push(Arc::clone(&share.places).try_acquire_owned().map_err(|_| *reason)?);
        }
        let budget = ByteBudget {
            shares: shares.iter().map(|(share, _)| Arc::clone(&share.bytes)).collect(),
            metrics: self.metrics.clone(),
        };
        Ok((Place { _permits: permits }, budget))
    }
}

/// A request's place.
#[derive(Debug)]
pub(super) struct Place {
    _permits: Vec<OwnedSemaphorePermit>,
}

/// Where a request's bytes are set aside from.
#[derive(Debug)]
pub(in crate::network) struct ByteBudget {
    shares: Vec<Arc<Semaphore>>,
    metrics: NetworkMetrics,
}

impl ByteBudget {
    /// Sets so many bytes aside, if each share has them.
    pub(in crate::network) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let count = u32::try_from(bytes).ok()?;
        let permits: Option<Vec<_>> =
            self.shares.iter().map(|share| Arc::clone(share).try_acquire_many_owned(count).ok()).collect();
        let Some(permits) = permits else {
            self.metrics.dropped("sync_bytes");
            return None;
        };
        self.metrics.response_bytes_taken(bytes);
        Some(Reservation { permits, bytes, metrics: self.metrics.clone() })
    }
}

/// Bytes set aside for one response.
#[derive(Debug)]
pub(in crate::network) struct Reservation {
    permits: Vec<OwnedSemaphorePermit>,
    bytes: usize,
    metrics: NetworkMetrics,
}

impl Reservation {
    /// Gives back what is above these bytes.
    pub(in crate::network) fn shrink(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        for permit in &mut self.permits {
            drop(permit.split(surplus));
        }
        self.bytes -= surplus;
        self.metrics.response_bytes_given_back(surplus);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.metrics.response_bytes_given_back(self.bytes);
    }
}
