use std::str::FromStr;

use evchain_node::agents::producer::Reservation;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Energy, Position, RegionId, Span, Timestamp};
use evchain_protocol::session::PaymentKind;
use serde::Serialize;

use super::agents::lead;
use crate::data::{ConsumerKind, RequestRow, StationRow};

/// Into how long a scenario is pressed where no speed is given: 100 sessions then end in less than
/// five minutes, with the start and the last settlements.
const TARGET: Span = Span::new(180_000);
/// The most producers that run: each has a network endpoint and a subscription of its own.
const MAX_PRODUCERS: usize = 64;
/// What each window gets on top of its compressed length, since starting a session is not compressed.
const WINDOW_BASE: Span = Span::new(4_000);
/// The same for each installment, whose round trip is not compressed either.
const WINDOW_PER_INSTALLMENT: Span = Span::new(150);
/// How many ms one W needs for one Wh.
const MS_W_PER_WH: u128 = 3_600_000;

/// How many times faster than in reality the scenario runs: whole, and at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Speed(u32);

impl Speed {
    /// How many times faster.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// How long something takes in the scenario.
    pub fn compress(self, span: Span) -> Span {
        Span::new(span.get() / u64::from(self.0))
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let speed = text.parse().ok().filter(|speed| (1..=1_000_000).contains(speed));
        speed.map(Self).ok_or_else(|| "a speed is a whole number from 1 to 1000000".to_owned())
    }
}

/// Which sessions pay how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMix {
    /// Independent hashes, hash chains and channels in turn, unless the file says.
    Mix,
    /// Independent hashes.
    Locks,
    /// One hash chain.
    Chain,
    /// A channel.
    Channel,
    /// A lock of its own for each installment, as in P21. Not among those of `mix`: it takes two transactions
    /// for each installment, and half a minute more before each window.
    Single,
}

impl PaymentMix {
    fn kind(self, index: usize) -> PaymentKind {
        match self {
            Self::Mix => [PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel][index % 3],
            Self::Locks => PaymentKind::Hashes,
            Self::Chain => PaymentKind::Chain,
            Self::Channel => PaymentKind::Channel,
            Self::Single => PaymentKind::Single,
        }
    }
}

/// How rows become a scenario.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Only stations of this region, and requests of files without regions are asked there.
    pub region: Option<RegionId>,
    /// How many requests to take, those that nobody can serve not counted.
    pub sessions: usize,
    /// N.
    pub installments: InstallmentCount,
    /// Which sessions pay how.
    pub payment: PaymentMix,
    /// How much faster than in reality; where none is given, so that it takes about three minutes.
    pub speed: Option<Speed>,
    /// What producers keep free for those they have bid for.
    pub reservation: Reservation,
}

/// A producer that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// What the file says about it.
    pub row: StationRow,
    /// Its region.
    pub region: RegionId,
}

/// A consumer that takes part, with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// The line of its request.
    pub line: u64,
    /// What to call it.
    pub name: String,
    /// What it is.
    pub kind: ConsumerKind,
    /// R.
    pub region: RegionId,
    /// Where it is, which nobody else learns.
    pub position: Position,
    /// When it asks, counted from the scenario's start.
    pub asks_after: Span,
    /// How long before T it asks, not compressed.
    pub lead: Span,
    /// How long T is, compressed.
    pub window: Span,
    /// e.
    pub energy: Energy,
    /// How it pays.
    pub payment: PaymentKind,
    /// N.
    pub installments: InstallmentCount,
}

/// A request that nobody can serve, and that is not made for that reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its line.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// A scenario, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who sells.
    pub producers: Vec<Producer>,
    /// Stations of the region that were left out, for there are too many.
    pub producers_left_out: usize,
    /// Who buys, in the order in which they ask.
    pub consumers: Vec<Consumer>,
    /// Requests that were left out.
    pub skipped: Vec<Skipped>,
    /// How much faster than in reality.
    pub speed: Speed,
    /// What producers keep free for those they have bid for.
    pub reservation: Reservation,
}

/// Why rows make no scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No station at the place.
    #[error("no station lies in region {0}: its number is in the column region_id of the stations")]
    NoStations(RegionId),
    /// No station with a region at all.
    #[error("no station lies in any region")]
    NoRegions,
    /// No request is left.
    #[error("there is no request that a station can serve ({0} were left out)")]
    NoRequests(usize),
}

impl Plan {
    /// Makes a scenario of rows.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(
        stations: Vec<StationRow>,
        requests: Vec<RequestRow>,
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        let (producers, producers_left_out) = producers(stations, options.region)?;
        let mut requests = requests;
        requests.sort_by_key(|request| (request.arrival, request.line));
        let mut skipped = Vec::new();
        let mut taken = Vec::new();
        for request in requests {
            if taken.len() == options.sessions {
                break;
            }
            match placed(&request, &producers, options.region, taken.len()) {
                Ok(place) => taken.push((request, place)),
                Err(reason) => skipped.push(Skipped { line: request.line, reason }),
            }
        }
        let Some((first, _)) = taken.first() else {
            return Err(PlanError::NoRequests(skipped.len()));
        };
        let begin = first.arrival;
        let speed = options.speed.unwrap_or_else(|| fitting_speed(begin, taken.iter().map(|(row, _)| row)));
        let consumer = |(index, (row, place)): (usize, (RequestRow, Place))| {
            consumer(index, row, place, begin, speed, options)
        };
        let consumers = taken.into_iter().enumerate().map(consumer).collect();
        let reservation = options.reservation;
        Ok(Self { producers, producers_left_out, consumers, skipped, speed, reservation })
    }
}

/// Where a request is made.
#[derive(Clone, Copy)]
struct Place {
    region: RegionId,
    position: Position,
}

fn producers(
    stations: Vec<StationRow>,
    region: Option<RegionId>,
) -> Result<(Vec<Producer>, usize), PlanError> {
    let producer = |row: StationRow| row.region.map(|region| Producer { row, region });
    let wanted = |producer: &Producer| region.is_none_or(|region| region == producer.region);
    let mut producers: Vec<_> = stations.into_iter().filter_map(producer).filter(wanted).collect();
    if producers.is_empty() {
        return Err(region.map_or(PlanError::NoRegions, PlanError::NoStations));
    }
    let left_out = producers.len().saturating_sub(MAX_PRODUCERS);
    producers.truncate(MAX_PRODUCERS);
    Ok((producers, left_out))
}

/// Where the request is made, or why nobody can serve it.
fn placed(
    request: &RequestRow,
    producers: &[Producer],
    region: Option<RegionId>,
    index: usize,
) -> Result<Place, String> {
    if request.requested == Energy::ZERO {
        return Err("it asks for no energy".to_owned());
    }
    if request.window() == Span::ZERO {
        return Err("its window has no length".to_owned());
    }
    let asked = request.region.or(region).ok_or("it has no region, and none is given")?;
    let here: Vec<_> = producers.iter().filter(|producer| producer.region == asked).collect();
    let Some(power_w) = here.iter().map(|producer| producer.row.power_w).max() else {
        return Err(format!("no station lies in its region {asked}"));
    };
    if !can_deliver(power_w, request.requested, request.window()) {
        return Err(format!(
            "no station can give {} Wh in {} min: the strongest has {}.{} kW",
            request.requested.get(),
            request.window().get() / 60_000,
            power_w / 1000,
            power_w % 1000 / 100,
        ));
    }
    // Files of requests from elsewhere say not where: the vehicle stands at one station after the other.
    let position = request.position.unwrap_or(here[index % here.len()].row.position);
    Ok(Place { region: asked, position })
}

fn can_deliver(power_w: u32, energy: Energy, window: Span) -> bool {
    u128::from(energy.get()) * MS_W_PER_WH <= u128::from(power_w) * u128::from(window.get())
}

fn fitting_speed<'a>(begin: Timestamp, requests: impl Iterator<Item = &'a RequestRow>) -> Speed {
    let end = requests.map(|request| request.declared_departure).max().unwrap_or(begin);
    let speed = end.since(begin).get().div_ceil(TARGET.get()).max(1);
    Speed(u32::try_from(speed).unwrap_or(u32::MAX))
}

fn consumer(
    index: usize,
    row: RequestRow,
    place: Place,
    begin: Timestamp,
    speed: Speed,
    options: &PlanOptions,
) -> Consumer {
    let per_installment = WINDOW_PER_INSTALLMENT.get() * u64::from(options.installments.get());
    let window =
        speed.compress(row.window()).get().saturating_add(WINDOW_BASE.get()).saturating_add(per_installment);
    let payment = match options.payment {
        PaymentMix::Mix => row.payment.unwrap_or(PaymentMix::Mix.kind(index)),
        fixed => fixed.kind(index),
    };
    Consumer {
        line: row.line,
        name: row.name.unwrap_or_else(|| format!("request {}", index + 1)),
        kind: row.kind,
        region: place.region,
        position: place.position,
        asks_after: speed.compress(row.arrival.since(begin)),
        lead: lead(payment, options.installments),
        window: Span::new(window),
        energy: row.requested,
        payment,
        installments: options.installments,
    }
}

/// By how much a scenario lengthens each compressed window.
pub fn window_addition(installments: InstallmentCount) -> Span {
    Span::new(WINDOW_BASE.get() + WINDOW_PER_INSTALLMENT.get() * u64::from(installments.get()))
}
