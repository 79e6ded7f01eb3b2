use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// The lowest port that is taken.
const LOWEST: u16 = 10_000;
/// Where the system's own choice begins where it does not say so.
const USUAL_EPHEMERAL: u16 = 32_768;
/// How many ports are looked at for one that is free.
const TRIES: usize = 1_000;

/// Free ports on the loopback address, all different.
///
/// They lie below those that the system gives to outgoing connections: one of these could take the
/// port of a validator that is down, and keep it. All are taken at once and then given back, so
/// another program can take one before a validator does; who starts validators tries again then.
pub(crate) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let range = LOWEST..first_ephemeral_port().max(LOWEST + 1);
    let width = u64::from(range.end - range.start);
    let chance = RandomState::new();
    let mut taken = BTreeMap::new();
    for attempt in 0..TRIES.saturating_mul(count) {
        if taken.len() == count {
            break;
        }
        let offset = chance.hash_one(attempt) % width;
        let port = range.start + u16::try_from(offset).unwrap_or_default();
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            taken.insert(port, listener);
        }
    }
    if taken.len() < count {
        return Err(io::Error::from(io::ErrorKind::AddrInUse));
    }
    Ok(taken.into_keys().collect())
}

fn first_ephemeral_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(USUAL_EPHEMERAL)
}
