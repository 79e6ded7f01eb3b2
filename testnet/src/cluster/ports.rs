use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Free ports on the loopback address, all different.
///
/// All are taken at once and then given back, so another program can take one before a validator
/// does; who starts validators tries again with others then.
pub(super) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
