//! The consumer's choice, which the papers leave to it: g(d, b) (P21 III-C, P18 3.3), and how a producer's
//! track record enters it (P21 IV-A). Pure functions on integers, so that both sides of a replay compute
//! the same.

use serde::{Deserialize, Serialize};

use crate::crypto::PublicKey;
use crate::primitives::{Amount, Position, TxRef};
use crate::state::record::TrackRecord;

/// A distance over ground, in metres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Distance(u64);

impl Distance {
    /// The distance of this many metres.
    pub const fn new(metres: u64) -> Self {
        Self(metres)
    }

    /// The number of metres.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The distance between two places, rounded down.
    ///
    /// Equirectangular: the east-west part is shortened by the cosine of the middle latitude, on a
    /// sphere of 6371 km. Up to 200 km and 70 degrees of latitude it is within 0.1 % and 2 m of the
    /// great circle on that sphere, and the sphere within 0.6 % of the earth. Farther away it still
    /// orders places sensibly, without a bound.
    pub fn between(a: Position, b: Position) -> Self {
        let north = i64::from(a.latitude_e7).abs_diff(i64::from(b.latitude_e7));
        let around = i64::from(a.longitude_e7).abs_diff(i64::from(b.longitude_e7));
        // The short way round the globe: over the date line if need be.
        let east = around.min(TURN_E7.saturating_sub(around));
        let middle = i64::midpoint(i64::from(a.latitude_e7), i64::from(b.latitude_e7)).unsigned_abs();
        let east = u128::from(east).saturating_mul(u128::from(cosine_e6(middle))) / COSINE_UNIT;
        let north = u128::from(north);
        let square = north.saturating_mul(north).saturating_add(east.saturating_mul(east));
        let metres = square.isqrt().saturating_mul(METRES_PER_DEGREE) / DEGREE_UNITS;
        Self(u64::try_from(metres).unwrap_or(u64::MAX))
    }
}

/// One degree in the unit of [`Position`].
const DEGREE_E7: u64 = 10_000_000;
/// The same, for the multiplication by metres.
const DEGREE_UNITS: u128 = DEGREE_E7 as u128;
/// A full turn in the unit of [`Position`].
const TURN_E7: u64 = 360 * DEGREE_E7;
/// One degree of a great circle on a sphere with the earth's mean radius of 6371 km.
const METRES_PER_DEGREE: u128 = 111_195;
/// A cosine of 1.
const COSINE_UNIT: u128 = 1_000_000;

/// The cosines of 0 to 90 degrees, in 1e-6.
#[rustfmt::skip]
const COSINES_E6: [u32; 91] = [
    1_000_000, 999_848, 999_391, 998_630, 997_564, 996_195, 994_522, 992_546, 990_268, 987_688,
    984_808, 981_627, 978_148, 974_370, 970_296, 965_926, 961_262, 956_305, 951_057, 945_519,
    939_693, 933_580, 927_184, 920_505, 913_545, 906_308, 898_794, 891_007, 882_948, 874_620,
    866_025, 857_167, 848_048, 838_671, 829_038, 819_152, 809_017, 798_636, 788_011, 777_146,
    766_044, 754_710, 743_145, 731_354, 719_340, 707_107, 694_658, 681_998, 669_131, 656_059,
    642_788, 629_320, 615_661, 601_815, 587_785, 573_576, 559_193, 544_639, 529_919, 515_038,
    500_000, 484_810, 469_472, 453_990, 438_371, 422_618, 406_737, 390_731, 374_607, 358_368,
    342_020, 325_568, 309_017, 292_372, 275_637, 258_819, 241_922, 224_951, 207_912, 190_809,
    173_648, 156_434, 139_173, 121_869, 104_528, 87_156, 69_756, 52_336, 34_899, 17_452,
    0,
];

/// The cosine of an angle from 0 to 90 degrees, in 1e-6. Between the table's whole degrees it is
/// interpolated, which is at most 4e-5 too low.
fn cosine_e6(angle_e7: u64) -> u64 {
    let degree = usize::try_from(angle_e7 / DEGREE_E7).unwrap_or(usize::MAX);
    let at = |degree: usize| COSINES_E6.get(degree).copied().map_or(0, u64::from);
    let (below, above) = (at(degree), at(degree.saturating_add(1)));
    let fall = below.saturating_sub(above).saturating_mul(angle_e7 % DEGREE_E7) / DEGREE_E7;
    below.saturating_sub(fall)
}

/// How much of a session the consumer expects to lose by a producer's fault, in per mille of its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Doubt(u64);

impl Doubt {
    /// More than any record gives.
    pub const MAX: Self = Self(u64::MAX);
    /// Of a producer of whom nothing is known.
    pub const NEWCOMER: Self = Self(PRIOR_SHORTFALL / PRIOR_SESSIONS);

    /// This many per mille.
    pub const fn new(permille: u64) -> Self {
        Self(permille)
    }

    /// The number of per mille.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// What a track record says: the mean shortfall of its sessions, completed ones with 0, as if
    /// there were four more of which one broke off after the deposit, and each lost dispute was
    /// such a session besides.
    ///
    /// `(1000 + shortfall + 1000 * disputes lost) / (4 + sessions + disputes lost)`, rounded down. So a
    /// newcomer has 250, and nobody more than 1000. Sessions of which nothing was paid do not count:
    /// anybody can have them with a producer for nothing but fees.
    pub fn of(record: &TrackRecord) -> Self {
        let lost = u128::from(record.disputes_lost);
        let sessions = u128::from(record.sessions()).saturating_add(lost);
        let shortfall = lost.saturating_mul(PERMILLE).saturating_add(record.shortfall.into());
        let doubt = shortfall
            .saturating_add(PRIOR_SHORTFALL.into())
            .checked_div(sessions.saturating_add(PRIOR_SESSIONS.into()));
        Self(doubt.and_then(|doubt| u64::try_from(doubt).ok()).unwrap_or(u64::MAX))
    }
}

/// How many sessions every producer is thought to have had before its first.
const PRIOR_SESSIONS: u64 = 4;
/// The shortfall of those together: one of them was broken off after the deposit.
const PRIOR_SHORTFALL: u64 = 1000;
/// The whole.
const PERMILLE: u128 = 1000;

/// A bid as the consumer weighs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The producer, i.
    pub producer: PublicKey,
    /// Its most recent price, b of P21.
    pub price: Amount,
    /// How far away it is, d of P21.
    pub distance: Distance,
    /// What the producer's track record says.
    pub doubt: Doubt,
    /// The transaction of its most recent bid.
    pub placed: TxRef,
}

/// How much price, way and record count in [`Choice`], each a factor. With zero that one does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// For the price.
    pub price: u32,
    /// For what the way is worth.
    pub distance: u32,
    /// For the part of the price that the producer's record puts in doubt.
    pub record: u32,
}

impl Default for Weights {
    /// The papers' g(d, b), where a euro is a euro and the record does not count.
    fn default() -> Self {
        Self { price: 1, distance: 1, record: 0 }
    }
}

/// What the consumer's choice g weighs. The lowest weighted sum of price, way and doubt wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What a kilometre of way is worth to the consumer.
    pub price_per_km: Amount,
    /// How much each counts.
    pub weights: Weights,
    /// No offer farther away than this.
    pub max_distance: Distance,
    /// No offer above this price.
    pub max_price: Amount,
    /// No offer of a producer whose record gives more doubt.
    pub max_doubt: Doubt,
}

impl Choice {
    /// g: the price, the way's worth and the price's part in doubt, each times its weight, in thousandths
    /// of [`Amount`] units. With the record's weight at 1 that is what the offer costs if the doubt comes
    /// true on average. `None` for an offer that is out of reach, too dear or too doubtful.
    pub fn cost(&self, offer: &Offer) -> Option<u128> {
        let is_too_doubtful = offer.doubt > self.max_doubt;
        if offer.distance > self.max_distance || offer.price > self.max_price || is_too_doubtful {
            return None;
        }
        let way = u128::from(offer.distance.get()).saturating_mul(u128::from(self.price_per_km.get()));
        let price = u128::from(offer.price.get()).saturating_mul(METRES_PER_KM);
        let doubtful = u128::from(offer.price.get()).saturating_mul(offer.doubt.get().into());
        let weighted = |worth: u128, weight: u32| worth.saturating_mul(weight.into());
        let Weights { price: by_price, distance: by_distance, record: by_record } = self.weights;
        let cost = weighted(price, by_price).saturating_add(weighted(way, by_distance));
        Some(cost.saturating_add(weighted(doubtful, by_record)))
    }

    /// The best of these offers, argmin g.
    ///
    /// Posted tariffs often tie. Of offers that cost the same the cheaper wins, then the nearer, then the
    /// one that was placed first, then the smaller key: the order in which offers are given never
    /// matters.
    pub fn best<'a>(&self, offers: impl IntoIterator<Item = &'a Offer>) -> Option<&'a Offer> {
        offers
            .into_iter()
            .filter_map(|offer| self.cost(offer).map(|cost| (cost, offer)))
            .min_by_key(|(cost, offer)| (*cost, offer.price, offer.distance, offer.placed, offer.producer))
            .map(|(_, offer)| offer)
    }
}

const METRES_PER_KM: u128 = 1000;
