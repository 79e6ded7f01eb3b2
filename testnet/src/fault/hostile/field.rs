use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use evchain_node::network::Multiaddr;
use evchain_protocol::crypto::{ChainId, KeyPair, PublicKey};
use evchain_protocol::primitives::Amount;
use evchain_protocol::state::account::Roles;

use crate::cluster::{ChainFiles, Cluster, Participant, Validator};
use crate::fault::error::FaultError;

/// Accounts that cannot pay for one transaction.
pub(super) const POOR: usize = 70;
/// Participants with a little money and every role.
pub(super) const PARTICIPANTS: usize = 4;
/// What a poor account has: EUR 0.0001.
const NEXT_TO_NOTHING: Amount = Amount::new(1);
/// What a participant has: EUR 10.
const SOME_MONEY: Amount = Amount::new(100_000);

/// What the attackers know and have.
#[derive(Debug)]
pub(super) struct Field {
    /// The chain.
    pub(super) chain: ChainId,
    /// The validators that are attacked.
    pub(super) targets: Vec<Target>,
    /// The keys of [`POOR`] accounts.
    pub(super) poor: Vec<KeyPair>,
    /// The keys of [`PARTICIPANTS`] accounts.
    pub(super) participants: Vec<KeyPair>,
    /// An authority's key.
    pub(super) authority: KeyPair,
}

/// A validator as its attackers see it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its key.
    pub(super) key: PublicKey,
    /// Its RPC.
    pub(super) rpc: SocketAddr,
    /// Its peer-to-peer port.
    pub(super) socket: SocketAddr,
    /// The same with its name.
    pub(super) p2p: Multiaddr,
}

/// The accounts that the attackers need from the first block on.
pub(super) fn attackers() -> Vec<Participant> {
    let trader = Roles::CONSUMER.with(Roles::PRODUCER);
    let poor = (1..=POOR).map(|number| (poor_name(number), Roles::CONSUMER, NEXT_TO_NOTHING));
    let participants = (1..=PARTICIPANTS).map(|number| (participant_name(number), trader, SOME_MONEY));
    let all = poor.chain(participants);
    all.map(|(name, roles, balance)| Participant { name, roles, balance }).collect()
}

impl Field {
    /// All validators as targets.
    pub(super) fn of(cluster: &Cluster, chain: ChainId, authority: KeyPair) -> Result<Self, FaultError> {
        let files = cluster.files();
        let keys = |count: usize, name: fn(usize) -> String| {
            (1..=count).map(|number| key(files, &name(number))).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            chain,
            targets: cluster.validators().iter().filter_map(Target::of).collect(),
            poor: keys(POOR, poor_name)?,
            participants: keys(PARTICIPANTS, participant_name)?,
            authority,
        })
    }

    /// The targets that have another key than the authority that attacks.
    pub(super) fn others(&self) -> impl Iterator<Item = &Target> {
        let own = self.authority.public_key();
        self.targets.iter().filter(move |target| target.key != own)
    }
}

impl Target {
    fn of(validator: &Validator) -> Option<Self> {
        let rpc = validator.rpc.http_url().trim_start_matches("http://").parse().ok()?;
        let port = validator.p2p.split('/').nth(4)?.parse().ok()?;
        let socket = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let p2p = validator.p2p.parse().ok()?;
        Some(Self { key: validator.key, rpc, socket, p2p })
    }
}

/// The address from which a host of the attackers comes. Honest clients come from 127.0.0.1.
pub(super) const fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 9, number)
}

fn key(files: &ChainFiles, name: &str) -> Result<KeyPair, FaultError> {
    Ok(files.wallet(name)?.main_key())
}

fn poor_name(number: usize) -> String {
    format!("poor-{number}")
}

fn participant_name(number: usize) -> String {
    format!("participant-{number}")
}
