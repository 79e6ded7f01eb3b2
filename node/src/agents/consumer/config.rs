use std::path::PathBuf;

use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Energy, Position, RegionId, Span, Timestamp, Window};
use evchain_protocol::session::decide::Choice;
use evchain_protocol::session::{ConsumerPolicy, PaymentKind};
use evchain_protocol::state::auction::BiddingMode;
use evchain_protocol::transaction::request::{PlaceRequest, RequestTerms};
use tokio::sync::watch;

use crate::agents::error::AgentError;

/// k: with fewer stations in a region, asking there tells roughly where one is (P18 4.1).
pub const USUAL_MIN_STATIONS: usize = 3;

/// How a consumer's agent works.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// Where its journals lie, in a folder `sessions`.
    pub state_dir: PathBuf,
    /// How many times as fast as in reality its simulated meter counts. The producer's must be the same.
    pub speed: u32,
    /// What its simulated meter counts at most, in W; none for the power of the station chosen. A
    /// vehicle that takes less than the station gives sees too little energy and stops.
    pub power_w: Option<u32>,
    /// How patient and careful it is.
    pub policy: ConsumerPolicy,
}

impl ConsumerConfig {
    /// With the usual settings.
    pub fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, speed: 1, power_w: None, policy: ConsumerPolicy::default() }
    }
}

/// What a consumer wants.
#[derive(Debug, Clone)]
pub struct ChargeOrder {
    /// R, the region in which it asks.
    pub region: RegionId,
    /// T, when it charges, in whole tenths of a second: [`Window::on_ticks`] makes it so.
    pub window: Window,
    /// e, how much.
    pub energy: Energy,
    /// Where it is, or will be. Stays here: nobody is told (P18 3.1).
    pub position: Position,
    /// g, what it weighs. `max_price` is also what the fresh key is given to pay with.
    pub choice: Choice,
    /// How it pays, the best first. Of a bid it takes the first that the bid offers.
    pub kinds: Vec<PaymentKind>,
    /// N, or what the bid offers if that is less.
    pub installments: InstallmentCount,
    /// What becomes of the deposit if the session never begins; channels know `Forfeit` only, single locks `Refund`.
    pub deposit: Deposit,
    /// How long producers may bid.
    pub bidding: Span,
    /// Whether bids can be lowered meanwhile.
    pub mode: BiddingMode,
    /// When it decides, at the latest at the end of `bidding`.
    pub until: BiddingEnd,
    /// Decides early, as soon as so many producers have bid.
    pub enough_bids: Option<u32>,
    /// Decides early: the consumer stops the bidding.
    pub decide_now: DecideNow,
    /// k: warns when the region has fewer stations.
    pub min_stations: usize,
    /// How often it asks, with a fresh key each time, while nobody bids.
    pub max_attempts: u32,
}

/// Lets a consumer stop the bidding by hand. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct DecideNow(watch::Sender<()>);

impl DecideNow {
    /// Decides in the attempt that is under way, once somebody has bid. It says nothing of the next one,
    /// which has other bids.
    pub fn decide(&self) {
        self.0.send_replace(());
    }

    /// Hears what is decided from now on.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// When the bidding ends (P18 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BiddingEnd {
    /// At the request's bid deadline.
    Deadline,
    /// When the lowest price has not fallen for so long.
    Converged(Span),
}

/// What becomes of a deposit when the session never begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deposit {
    /// The producer gets it at the window's start.
    Forfeit,
    /// It comes back so long before the window's start (`t_max` of P21 III-D). Charging must begin before.
    Refund(Span),
}

impl ChargeOrder {
    /// The usual order: any kind of payment, 10 installments, half a minute for bids.
    pub fn new(region: RegionId, window: Window, energy: Energy, position: Position, choice: Choice) -> Self {
        Self {
            region,
            window,
            energy,
            position,
            choice,
            kinds: vec![PaymentKind::Channel, PaymentKind::Chain, PaymentKind::Hashes],
            installments: InstallmentCount::new(10).unwrap_or(InstallmentCount::ONE),
            deposit: Deposit::Forfeit,
            bidding: Span::new(30_000),
            mode: BiddingMode::FirstOnly,
            until: BiddingEnd::Deadline,
            enough_bids: None,
            decide_now: DecideNow::default(),
            min_stations: USUAL_MIN_STATIONS,
            max_attempts: 5,
        }
    }

    /// Whether it can be carried out, from now on.
    ///
    /// # Errors
    /// [`AgentError::Settings`], with what to do.
    pub(super) fn check(&self, now: Timestamp, tolerance_permille: u16) -> Result<(), AgentError> {
        let (count, settings) = (u64::from(self.installments.get()), |text| Err(AgentError::Settings(text)));
        if count > self.energy.get() {
            let most = self.energy.get();
            return settings(format!(
                "an installment carries at least 1 Wh: ask for at most {most} installments"
            ));
        }
        // "Who has lost what" of the session.
        if count * u64::from(tolerance_permille) > 1000 {
            let (most, least) = (1000 / tolerance_permille, 1000 / count);
            return settings(format!(
                "meters that may differ by {tolerance_permille} per mille of everything could hide more than one of \
                 {count} installments: ask for at most {most} (--installments), or allow for at most {least} per \
                 mille (--meter-tolerance)"
            ));
        }
        if self.kinds.contains(&PaymentKind::Single) && self.deposit == Deposit::Forfeit {
            let text = "the deposit of single locks always comes back at a deadline: say how long before the \
                        window (--refund)";
            return settings(text.to_owned());
        }
        let bid_deadline = now.saturating_after(self.bidding).min(self.window.start).floor_to_tick();
        self.request(bid_deadline).map(|_| ())
    }

    /// The request for it that takes bids until then.
    pub(super) fn request(&self, bid_deadline: Timestamp) -> Result<PlaceRequest, AgentError> {
        let Self { region, window, energy, mode, .. } = *self;
        PlaceRequest::try_from(RequestTerms { region, window, energy, mode, bid_deadline })
            .map_err(|error| AgentError::Settings(format!("this cannot be asked for: {error}")))
    }
}

#[cfg(test)]
pub(super) mod tests;
