use std::fmt;
use std::time::Duration;

use evchain_node::agents::sessions::Side;
use evchain_protocol::session::PaymentKind;

use crate::fault::chance::Chance;
use crate::report::payment_name;

const KINDS: [PaymentKind; 4] =
    [PaymentKind::Channel, PaymentKind::Chain, PaymentKind::Hashes, PaymentKind::Single];
/// Of these numbers of installments each record has its case.
const SHORT: [u32; 3] = [1, 2, 10];
/// Of this one the seed chooses so many for each kind and victim.
const LONG: u32 = 100;
const LONG_SAMPLES: usize = 4;
const VICTIMS: [Victim; 3] = [Victim::Consumer, Victim::Producer, Victim::Both];

/// One case of two is hit at once, the others so much later at most, in ms.
const LATER_MS: u64 = 50;
/// How long a consumer without any record lives at most, in ms.
const EARLY_MS: u64 = 100;
/// How long a victim is away at most, in ms.
const PAUSE_MS: u64 = 300;
/// One victim of so many is killed once more as it goes on, so long after its start at most, in ms.
const AGAIN: u64 = 4;
const AGAIN_MS: u64 = 300;

/// Which pairs of agents are tried, for [`FaultKind::Agents`](crate::fault::FaultKind::Agents).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cases {
    /// Every one.
    All,
    /// So many, which the seed chooses.
    Sample(usize),
    /// So many of those that need no deadline of the chain to pass, which the seed chooses.
    Quick(usize),
    /// The one with this number, as a failure names it.
    One(usize),
}

/// One pair of agents, and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// From 1. The same seed gives the same case the same number.
    pub(super) number: usize,
    pub(super) kind: PaymentKind,
    /// N.
    pub(super) count: u32,
    pub(super) victim: Victim,
    pub(super) moment: Moment,
    /// How long after that moment.
    pub(super) later: Duration,
    /// How long until the victim starts again.
    pub(super) pause: Duration,
    /// How long after that it is killed once more, if it is.
    pub(super) again: Option<Duration>,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Consumer,
    Producer,
    Both,
}

/// The moment when one side's journal has so many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) side: Side,
    pub(super) records: u32,
}

impl Cases {
    /// The chosen ones, in the order in which they are tried.
    pub(super) fn of(self, seed: u64) -> Vec<Case> {
        let mut chance = Chance::new(seed);
        let mut cases: Vec<_> =
            all(seed).into_iter().map(|case| (chance.below(turns(&case)), case)).collect();
        // Those of equal turns stay in the order of their numbers.
        cases.sort_by_key(|(turn, _)| *turn);
        let mut cases: Vec<_> = cases.into_iter().map(|(_, case)| case).collect();
        match self {
            Self::All => {}
            Self::Sample(count) => cases.truncate(count),
            Self::Quick(count) => {
                cases.retain(Case::is_quick);
                cases.truncate(count);
            }
            Self::One(number) => cases.retain(|case| case.number == number),
        }
        cases
    }
}

/// From how many turns a case gets one by chance. What takes long, as single locks that wait for their
/// deadlines, comes rather early.
const fn turns(case: &Case) -> u64 {
    match (case.kind, case.count) {
        (_, LONG) => 2_000,
        (PaymentKind::Single, _) => 5_000,
        _ => 10_000,
    }
}

/// Every case that there is.
fn all(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for count in SHORT.into_iter().chain([LONG]) {
            for victim in VICTIMS {
                let mut moments = moments(kind, count, victim);
                if count == LONG {
                    let mut chance = Chance::new(seed.wrapping_add(cases.len() as u64));
                    moments = (0..LONG_SAMPLES).map(|_| pick(&mut chance, &moments)).collect();
                }
                for moment in moments {
                    cases.push(Case::new(cases.len() + 1, seed, (kind, count), victim, moment));
                }
            }
        }
    }
    cases
}

/// Every moment at which this victim is worth a kill.
fn moments(kind: PaymentKind, count: u32, victim: Victim) -> Vec<Moment> {
    let of =
        |side, records: std::ops::RangeInclusive<u32>| records.map(move |records| Moment { side, records });
    let bought = records_of_consumer(kind, count);
    match victim {
        // Before its first record, too.
        Victim::Consumer => of(Side::Buys, 0..=bought).collect(),
        // Of what a producer does before a session nothing is in its journals: its bid and its record.
        Victim::Producer => of(Side::Buys, 1..=records_before_session(kind, count))
            .chain(of(Side::Sells, 1..=records_of_producer(kind, count)))
            .collect(),
        Victim::Both => of(Side::Buys, 1..=bought).collect(),
    }
}

/// The consumer's records until its price is locked: the beginning, two each for the money, the request and
/// the commitment, the decision, and what locks.
const fn records_before_session(kind: PaymentKind, count: u32) -> u32 {
    match kind {
        PaymentKind::Single => 8 + 2 * count + 1,
        _ => 8 + 2,
    }
}

/// Those of an undisturbed consumer: what comes before, *Begun*, *Accepted*, releases and deliveries, *Ended*,
/// *Receipted*, and two for what is left.
const fn records_of_consumer(kind: PaymentKind, count: u32) -> u32 {
    records_before_session(kind, count) + 2 + installments(kind, count) + 2 + 2
}

/// Those of an undisturbed producer: *Accepted*, releases and deliveries, *Ended*, *Receipted*, and what the
/// chain has settled.
const fn records_of_producer(kind: PaymentKind, count: u32) -> u32 {
    let settled = match (kind, count) {
        (PaymentKind::Single, _) => count,
        // A single deposit pays itself at the window's end (I5).
        (PaymentKind::Hashes | PaymentKind::Chain, 1) => 0,
        _ => 1,
    };
    1 + installments(kind, count) + 2 + settled
}

/// A release and a delivery each; a channel's deposit takes no release (S3).
const fn installments(kind: PaymentKind, count: u32) -> u32 {
    match kind {
        PaymentKind::Channel => 2 * count - 1,
        _ => 2 * count,
    }
}

impl Case {
    fn new(number: usize, seed: u64, paid: (PaymentKind, u32), victim: Victim, moment: Moment) -> Self {
        let mut chance = Chance::new(seed ^ (number as u64).rotate_left(32));
        let mut below = |most| Duration::from_millis(chance.below(most));
        let later = match moment.records {
            0 => below(EARLY_MS),
            _ if below(2).is_zero() => Duration::ZERO,
            _ => below(LATER_MS),
        };
        let pause = below(PAUSE_MS);
        let again = below(AGAIN).is_zero().then(|| below(AGAIN_MS));
        let (kind, count) = paid;
        Self { number, kind, count, victim, moment, later, pause, again }
    }

    /// A channel is closed and a hash chain claimed as soon as all is delivered. The only deposit of one
    /// installment, and those of independent hashes, pay themselves at a deadline.
    const fn is_quick(&self) -> bool {
        matches!(self.kind, PaymentKind::Channel | PaymentKind::Chain) && self.count > 1 && self.count < LONG
    }

    /// The name of a wallet's file and of the folder's.
    pub(super) fn name_of(&self, side: Side) -> String {
        let who = match side {
            Side::Buys => "vehicle",
            Side::Sells => "station",
        };
        format!("{who}-{}", self.number)
    }
}

impl Victim {
    pub(super) const fn has(self, side: Side) -> bool {
        match side {
            Side::Buys => matches!(self, Self::Consumer | Self::Both),
            Side::Sells => matches!(self, Self::Producer | Self::Both),
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumer => "consumer",
            Self::Producer => "producer",
            Self::Both => "consumer and producer",
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind, count, victim, moment: Moment { side, records }, later, .. } = self;
        let side = match side {
            Side::Buys => "consumer",
            Side::Sells => "producer",
        };
        let (kind, later) = (payment_name(*kind), later.as_millis());
        write!(
            f,
            "case {number} ({kind}, N = {count}; {victim} killed {later} ms after the {side}'s record {records})"
        )
    }
}

fn pick(chance: &mut Chance, moments: &[Moment]) -> Moment {
    let index = usize::try_from(chance.below(moments.len() as u64)).unwrap_or_default();
    moments[index]
}
