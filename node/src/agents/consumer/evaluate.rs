//! Which bid: the evaluation of P21 III-C.

use std::collections::{BTreeMap, BTreeSet};

use evchain_protocol::crypto::{ChainId, KeyPair, PublicKey};
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Position, TxRef};
use evchain_protocol::sealed::{OpenError, SealedFor};
use evchain_protocol::session::PaymentKind;
use evchain_protocol::session::decide::{Distance, Doubt, Offer};
use evchain_protocol::state::auction::{BidPosition, MAX_CONTACT_BYTES, Place, Station};
use evchain_protocol::text::Text;

use super::config::ChargeOrder;
use crate::agents::report::ConsideredBid;
use crate::network::Multiaddr;
use crate::rpc::BidInfo;

/// A bid and where it leads.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) bid: BidInfo,
    pub(super) position: Position,
    pub(super) contact: Text<MAX_CONTACT_BYTES>,
    /// What the station gives; vehicles do not say.
    pub(super) power_w: Option<u32>,
    pub(super) kind: PaymentKind,
}

impl Candidate {
    /// Whether the bid, as the commitment froze it (B5 of the ledger), is the one that was chosen, or differs
    /// by a lower price alone.
    pub(super) fn is_kept_by(&self, frozen: &BidInfo, count: InstallmentCount, reader: &Reader<'_>) -> bool {
        let (chosen, now) = (&self.bid.bid, &frozen.bid);
        let same_place = match (reader.place(&self.bid), reader.place(frozen)) {
            (Ok(before), Ok(now)) => before == now,
            _ => false,
        };
        same_place
            && now.price <= chosen.price
            && now.cancel_by >= chosen.cancel_by
            && now.kinds.contains(self.kind.offered())
            && count <= now.max_installments
    }
}

/// The bids as they were weighed, and the best.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) considered: Vec<ConsideredBid>,
    pub(super) best: Option<(Candidate, ConsideredBid)>,
}

/// What the chain says of those who bid.
#[derive(Debug, Default)]
pub(super) struct Bidders {
    /// The records of their stations.
    pub(super) stations: BTreeMap<PublicKey, Station>,
    /// What their track records come to.
    pub(super) doubts: BTreeMap<PublicKey, Doubt>,
}

/// Reads what is sealed to the consumer.
pub(super) struct Reader<'a> {
    pub(super) chain: ChainId,
    /// The key that asked.
    pub(super) key: &'a KeyPair,
}

impl Reader<'_> {
    /// Where the bid itself says that it is; none for a station's, whose record tells.
    fn place(&self, bid: &BidInfo) -> Result<Option<Place>, OpenError> {
        match &bid.bid.position {
            BidPosition::Public(place) => Ok(Some(place.clone())),
            BidPosition::Sealed(sealed) => {
                let context = SealedFor { chain: self.chain, request: bid.request, producer: bid.producer };
                sealed.open(self.key, &context).map(Some)
            }
            BidPosition::Station => Ok(None),
        }
    }
}

/// Weighs the bids. `placed` tells when each was heard of, `sold_out` who has no connector left in the
/// window.
pub(super) fn evaluate(
    order: &ChargeOrder,
    bids: &[BidInfo],
    reader: &Reader<'_>,
    bidders: &Bidders,
    placed: &BTreeMap<PublicKey, TxRef>,
    sold_out: &BTreeSet<PublicKey>,
) -> Evaluation {
    let mut considered = Vec::new();
    let mut candidates = Vec::new();
    for bid in bids {
        let (producer, price) = (bid.producer, bid.bid.price);
        let doubt = bidders.doubts.get(&producer).copied().unwrap_or(Doubt::NEWCOMER);
        let offer = candidate(order, bid.clone(), reader, &bidders.stations).and_then(|candidate| {
            if sold_out.contains(&producer) {
                return Err("its connectors are sold in this window".to_owned());
            }
            let distance = Distance::between(order.position, candidate.position);
            let placed = placed.get(&producer).copied().unwrap_or(TxRef::MAX);
            let offer = Offer { producer, price, distance, doubt, placed };
            match order.choice.cost(&offer) {
                Some(_) => Ok((offer, candidate)),
                None if price > order.choice.max_price => Err("it costs more than you would pay".to_owned()),
                None if doubt > order.choice.max_doubt => Err(format!(
                    "its record gives a doubt of {} per mille, more than you would take",
                    doubt.get()
                )),
                None => Err(format!("it is {} m away, farther than you would go", distance.get())),
            }
        });
        considered.push(ConsideredBid {
            producer,
            price,
            distance_m: offer.as_ref().ok().map(|(offer, _)| offer.distance.get()),
            doubt,
            unusable: offer.as_ref().err().cloned(),
        });
        candidates.extend(offer.ok());
    }
    let best = order.choice.best(candidates.iter().map(|(offer, _)| offer)).copied();
    let best = best.and_then(|best| {
        let (_, candidate) = candidates.into_iter().find(|(offer, _)| *offer == best)?;
        let weighed = considered.iter().find(|bid| bid.producer == best.producer)?.clone();
        Some((candidate, weighed))
    });
    Evaluation { considered, best }
}

/// What a bid comes to, or why it cannot be taken.
fn candidate(
    order: &ChargeOrder,
    bid: BidInfo,
    reader: &Reader<'_>,
    stations: &BTreeMap<PublicKey, Station>,
) -> Result<Candidate, String> {
    let place = reader.place(&bid).map_err(|error| format!("its place cannot be read: {error}"))?;
    let (position, contact, power_w) = if let Some(place) = place {
        (place.position, place.contact, None)
    } else {
        let station = stations.get(&bid.producer).ok_or("its station has no record")?;
        (station.position, station.contact.clone(), Some(station.power_w))
    };
    if let Err(error) = contact.as_str().parse::<Multiaddr>() {
        return Err(format!("its contact is no address for a session ({error})"));
    }
    let kind = order.kinds.iter().copied().find(|kind| bid.bid.kinds.contains(kind.offered()));
    let kind = kind.ok_or("it offers no kind of payment that you accept")?;
    Ok(Candidate { bid, position, contact, power_w, kind })
}
