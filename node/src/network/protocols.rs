//! The names on the wire, all bound to the chain.

use evchain_protocol::crypto::ChainId;
use libp2p::StreamProtocol;
use libp2p::gossipsub::IdentTopic;

/// What gossip is about. Every topic of the network is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Encoded transactions, a batch in each message.
    Transactions,
    /// Encoded finalization certificates, one in each message.
    Finalizations,
    /// Where an authority can be reached, signed by it, one record in each message.
    Addresses,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Transactions, Self::Finalizations, Self::Addresses];

    /// Its last part on the wire, and its label in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Finalizations => "finalizations",
            Self::Addresses => "addresses",
        }
    }
}

/// What two peers talk about over a direct stream of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Consumer and producer: a charging session.
    Charging,
    /// Producer and watchtower.
    Watching,
}

/// The protocol and topic names of one chain.
#[derive(Debug, Clone)]
pub(super) struct Protocols {
    /// What peers tell each other by identify; holds the whole chain id.
    pub(super) version: String,
    /// Frames between authorities.
    pub(super) consensus: StreamProtocol,
    /// Requests for catching up.
    pub(super) sync: StreamProtocol,
    /// Sessions between consumer and producer.
    pub(super) session: StreamProtocol,
    /// A producer's states for its watchtower.
    watch: StreamProtocol,
    prefix: String,
}

impl Protocols {
    /// Hexadecimal digits of the chain id in the names: enough to keep chains apart by accident;
    /// a peer that lies about its chain is found out by the signatures it sends.
    const PREFIX_DIGITS: usize = 16;

    pub(super) fn new(chain: ChainId) -> Self {
        let id = chain.to_string();
        let prefix: String = id.chars().take(Self::PREFIX_DIGITS).collect();
        let name = |protocol: &str| {
            StreamProtocol::try_from_owned(format!("/evchain/{prefix}/{protocol}/1"))
                .expect("the name starts with a slash")
        };
        Self {
            version: format!("evchain/1/{id}"),
            consensus: name("consensus"),
            sync: name("sync"),
            session: name("session"),
            watch: name("watch"),
            prefix,
        }
    }

    pub(super) fn of_service(self, service: Service) -> StreamProtocol {
        match service {
            Service::Charging => self.session,
            Service::Watching => self.watch,
        }
    }

    pub(super) fn gossip_topic(&self, topic: Topic) -> IdentTopic {
        IdentTopic::new(format!("/evchain/{}/gossip/{}/1", self.prefix, topic.name()))
    }
}
