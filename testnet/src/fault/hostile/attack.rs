use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use super::field::Field;
use super::{authority, peers, sockets, transactions, websockets};
use crate::fault::error::FaultError;

/// A way to do harm. `node/docs/threats.md` says for each what holds against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Attack {
    /// Large claims with gaps before them, of accounts that cannot pay for one.
    GappedClaims,
    /// Small transfers with gaps before them, of many poor accounts.
    GappedTransfers,
    /// Transactions of keys that have no account.
    Penniless,
    /// RPC connections that say nothing.
    SilentSockets,
    /// A WebSocket that asks without end and never reads.
    UnreadSocket,
    /// Calls that wait for a transaction, whose callers are gone.
    AbandonedWaits,
    /// Calls that fail, with ids as long as a message may be.
    LongIds,
    /// Hundreds of subscriptions to every block.
    Subscriptions,
    /// Peers that ask for blocks and never read an answer.
    UnreadRequests,
    /// Peers with free keys that fill the connections.
    FreeKeys,
    /// Peer connections that never finish their handshake, while a validator restarts.
    HalfOpen,
    /// A participant that gossips batch after batch that nobody can use.
    Gossip,
    /// A participant that gossips forged copies of certificates that everybody has.
    ForgedCopies,
    /// An authority that is the first to tell of each final block and never answers, while a node joins.
    SilentTeller,
    /// An authority that sends large messages of an epoch to come.
    EarlyMessages,
    /// An authority that asks for the store's blocks, frame after frame.
    Questions,
    /// An authority that sends lists of forged certificates.
    Forgeries,
}

/// Whom the attacker has to be for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Anybody who reaches a port.
    Stranger,
    /// Who has an account, and keys that the authorities admitted.
    Participant,
    /// One of the authorities.
    Authority,
}

/// How much of an attack was sent, in its own pieces: transactions, sockets, frames.
pub(super) type Sent = u64;

impl Attack {
    /// What it is called, as on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whom it takes.
    pub(super) const fn role(self) -> Role {
        match self {
            Self::Penniless
            | Self::SilentSockets
            | Self::UnreadSocket
            | Self::AbandonedWaits
            | Self::LongIds
            | Self::Subscriptions
            | Self::FreeKeys
            | Self::HalfOpen => Role::Stranger,
            Self::GappedClaims
            | Self::GappedTransfers
            | Self::UnreadRequests
            | Self::Gossip
            | Self::ForgedCopies => Role::Participant,
            Self::SilentTeller | Self::EarlyMessages | Self::Questions | Self::Forgeries => Role::Authority,
        }
    }

    /// Attacks until `stop`.
    pub(super) async fn run(self, field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
        match self {
            Self::GappedClaims => transactions::gapped_claims(field, stop).await,
            Self::GappedTransfers => transactions::gapped_transfers(field, stop).await,
            Self::Penniless => transactions::penniless(field, stop).await,
            Self::SilentSockets => sockets::silent(field, stop).await,
            Self::UnreadSocket => websockets::unread(field, stop).await,
            Self::AbandonedWaits => sockets::abandoned_waits(field, stop).await,
            Self::LongIds => sockets::long_ids(field, stop).await,
            Self::Subscriptions => websockets::subscriptions(field, stop).await,
            Self::UnreadRequests => peers::unread_requests(field, stop).await,
            Self::FreeKeys => peers::free_keys(field, stop).await,
            Self::HalfOpen => sockets::half_open(field, stop).await,
            Self::Gossip => peers::gossip(field, stop).await,
            Self::ForgedCopies => peers::forged_copies(field, stop).await,
            Self::SilentTeller => authority::silent_teller(field, stop).await,
            Self::EarlyMessages => authority::early_messages(field, stop).await,
            Self::Questions => authority::questions(field, stop).await,
            Self::Forgeries => authority::forgeries(field, stop).await,
        }
    }
}
