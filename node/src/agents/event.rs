use std::fmt;
use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Amount, Energy, RegionId, Timestamp, TxRef};
use evchain_protocol::session::RejectReason;
use serde::{Deserialize, Serialize};

use super::report::{Phase, SessionReport, TransactionReport};

/// Is told what an agent does, as it does it. Called on the agent's task, so it must not block.
pub type Observer = Arc<dyn Fn(&AgentEvent) + Send + Sync>;

/// What an agent has just done, or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // handed on by reference
pub enum AgentEvent {
    /// A producer is ready: its record is up to date, and it bids and takes sessions at this address.
    Listening {
        /// The contact that its record or its bids state.
        contact: String,
    },
    /// A phase of a charge has begun.
    PhaseBegun {
        /// Which.
        phase: Phase,
    },
    /// A transaction is final.
    Final(TransactionReport),
    /// A consumer has asked for energy.
    Requested {
        /// The request.
        request: TxRef,
        /// The fresh key that asked.
        consumer: PublicKey,
    },
    /// A producer has bid.
    BidPlaced {
        /// For which request.
        request: TxRef,
        /// How much.
        price: Amount,
    },
    /// A producer does not bid.
    NotBidding {
        /// For which request.
        request: TxRef,
        /// Why not.
        reason: String,
    },
    /// A bid for the own request has come.
    BidHeard {
        /// The request.
        request: TxRef,
        /// Whose bid.
        producer: PublicKey,
        /// At which price.
        price: Amount,
    },
    /// A consumer has decided.
    Chosen {
        /// For whom.
        producer: PublicKey,
        /// At which price.
        price: Amount,
        /// How far away, in metres.
        distance_m: u64,
    },
    /// Consumer and producer agreed to begin.
    Accepted {
        /// The payment or channel.
        payment: TxRef,
    },
    /// The producer does not serve the consumer.
    Refused {
        /// The payment or channel.
        payment: TxRef,
        /// Why.
        reason: RejectReason,
    },
    /// An installment was released: the consumer gives it away, or the producer holds its proof.
    Released {
        /// The payment or channel.
        payment: TxRef,
        /// Which, from 0.
        index: u32,
    },
    /// An installment was released and delivered.
    Delivered {
        /// The payment or channel.
        payment: TxRef,
        /// Which, from 0.
        index: u32,
        /// The own meter.
        energy: Energy,
    },
    /// A session goes on after a crash.
    Resumed {
        /// The payment or channel.
        payment: TxRef,
    },
    /// A session is over and settled as far as this side has to.
    SessionEnded(SessionReport),
    /// The agent waits for this moment.
    Waiting {
        /// Until when.
        until: Timestamp,
        /// For what.
        reason: String,
    },
    /// A producer's watchtower holds this much of a channel.
    Guarded {
        /// The channel.
        payment: TxRef,
        /// Installments that its newest state releases.
        released: u32,
    },
    /// A watchtower takes channels under guard at this address.
    Watching {
        /// For `evchain produce --watchtower`.
        address: String,
        /// Channels that it guards from before.
        channels: usize,
    },
    /// A watchtower answers for this channel from now on.
    Guarding {
        /// Which.
        channel: TxRef,
        /// For whom.
        producer: PublicKey,
        /// Installments that the newest state releases.
        released: u32,
    },
    /// A watchtower brings a state to the chain.
    Posting {
        /// Of which channel.
        channel: TxRef,
        /// Installments that it releases.
        released: u32,
    },
    /// A channel under guard has ended.
    GuardEnded {
        /// Which.
        channel: TxRef,
    },
    /// Something that the user should know.
    Warned(Warning),
}

/// Something that the user should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// The region has so few stations that naming it gives the position away (P18 4.1).
    FewStations {
        /// The region.
        region: RegionId,
        /// Stations that it has.
        stations: usize,
        /// Stations that it should have, k.
        wanted: usize,
    },
    /// With one bid the commitment hides nothing (P18 4.1).
    OnlyOneBid {
        /// The request.
        request: TxRef,
    },
    /// Nobody bid, and the agent asks again if there is time.
    NoBids {
        /// The request.
        request: TxRef,
    },
    /// A bid that cannot be taken.
    UnusableBid {
        /// Whose.
        producer: PublicKey,
        /// Why.
        reason: String,
    },
    /// The nodes do not answer; the agent tries again.
    Unreachable {
        /// What they were asked for.
        action: String,
        /// What came of it.
        reason: String,
    },
    /// The other side cannot be reached; the agent tries again.
    PeerUnreachable {
        /// Whom.
        peer: PublicKey,
        /// What came of it.
        reason: String,
    },
    /// Something that is left for the user to look into.
    Trouble {
        /// What.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewStations { region, stations, wanted } => write!(
                f,
                "stations in region {region}: {stations}, fewer than {wanted}; naming it tells roughly where you are"
            ),
            Self::OnlyOneBid { request } => {
                write!(f, "request {request} has one bid only: everybody can tell whom you choose")
            }
            Self::NoBids { request } => write!(f, "nobody has bid for request {request}"),
            Self::UnusableBid { producer, reason } => {
                write!(f, "the bid of {producer} is left out: {reason}")
            }
            Self::Unreachable { action, reason } => write!(f, "{action}: {reason}; trying again"),
            Self::PeerUnreachable { peer, reason } => {
                write!(f, "cannot reach {peer}: {reason}; trying again")
            }
            Self::Trouble { reason } => f.write_str(reason),
        }
    }
}
