use std::path::PathBuf;

use clap::{Args, ValueEnum};
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Span, Timestamp, Window};
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Weights};
use evchain_protocol::session::{ConsumerPolicy, PaymentKind};
use evchain_protocol::state::auction::BiddingMode;

use super::agent::{decide_on_enter, exit_error, progress, stop_on_signals};
use super::args::{RpcArgs, WalletArgs};
use super::exit::UsageError;
use super::output::{aligned, print_json, print_text};
use super::values;
use crate::agents::consumer::{self, BiddingEnd, ChargeOrder, ConsumerConfig, Deposit, USUAL_MIN_STATIONS};
use crate::agents::{ChargeOutcome, ChargeReport};
use crate::rpc::{CallError, RpcError};

/// Buy energy: ask, choose the best bid, pay in installments, and take back what is left.
///
/// A fresh key of the wallet asks, which the main key pays for. Goes on with interrupted charges
/// first. Ctrl-C ends the session and settles it. The vehicle's meter is simulated.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain charge --region 17 --energy 20kWh --from +2m --for 1h --at 47.8095,13.0550 --max-price 15\n  evchain charge --region 17 --energy 20kWh --from +2m --for 1h --at 47.8095,13.0550 --max-price 15 \\\n      --pay channel --installments 60 --json\n  evchain charge --region 17 --energy 20kWh --from +5m --for 1h --at 47.8095,13.0550 --max-price 15 \\\n      --bidding updates --bids-for 2m --until converged --weigh-record 2\n  evchain charge --resume"
)]
pub struct ChargeArgs {
    /// Only go on with interrupted charges.
    #[arg(long)]
    resume: bool,
    /// The region in which to charge.
    #[arg(long, value_name = "NUMBER", required_unless_present = "resume")]
    region: Option<RegionId>,
    /// How much, such as 20kWh.
    #[arg(long, value_parser = values::energy, required_unless_present = "resume")]
    energy: Option<Energy>,
    /// From when, such as +2m; in tenths of a second.
    #[arg(long, value_name = "MOMENT", value_parser = values::moment, required_unless_present = "resume")]
    from: Option<Timestamp>,
    /// For how long, such as 1h; in tenths of a second.
    #[arg(long = "for", value_name = "SPAN", value_parser = values::span, required_unless_present = "resume")]
    length: Option<Span>,
    /// Where you are then; nobody is told.
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, value_parser = values::position, required_unless_present = "resume")]
    at: Option<Position>,
    /// The most to pay, in EUR.
    #[arg(long, value_name = "EUR", required_unless_present = "resume")]
    max_price: Option<Amount>,
    /// What a kilometre of way is worth to you, in EUR.
    #[arg(long, value_name = "EUR", default_value = "0.3000")]
    price_per_km: Amount,
    /// How much the price counts; 0 for not at all.
    #[arg(long, value_name = "FACTOR", default_value_t = 1)]
    weigh_price: u32,
    /// How much the way counts; 0 for not at all.
    #[arg(long, value_name = "FACTOR", default_value_t = 1)]
    weigh_distance: u32,
    /// How much the part of the price counts that the producer's track record puts in doubt; 0 for not at
    /// all.
    #[arg(long, value_name = "FACTOR", default_value_t = 0)]
    weigh_record: u32,
    /// No producer whose track record gives more doubt, in per mille; a newcomer's gives 250.
    #[arg(long, value_name = "PERMILLE", default_value_t = 1000)]
    max_doubt: u64,
    /// No station farther away, in km.
    #[arg(long, value_name = "KM", default_value_t = 20)]
    max_km: u32,
    /// How to pay, the best first.
    #[arg(long = "pay", value_enum, value_delimiter = ',', default_values_t = [Pay::Channel, Pay::Chain, Pay::Hashes])]
    kinds: Vec<Pay>,
    /// In how many installments.
    #[arg(long, default_value = "10", value_parser = installments)]
    installments: InstallmentCount,
    /// By how much the two meters may differ, in per mille of everything delivered so far. In all installments
    /// together it may not come to more than one of them.
    #[arg(long, value_name = "PERMILLE", default_value_t = ConsumerPolicy::default().tolerance_permille, value_parser = clap::value_parser!(u16).range(..=1000))]
    meter_tolerance: u16,
    /// Get the deposit back so long before the window if charging has not begun; not with channels.
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    refund: Option<Span>,
    /// Whether producers may lower their bids.
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Bidding::FirstOnly)]
    bidding: Bidding,
    /// How long to take bids at most.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = values::span)]
    bids_for: Span,
    /// When to decide.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Until::Deadline)]
    until: Until,
    /// With --until converged: how long no price may have been lower.
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = values::span)]
    converged_after: Span,
    /// Decide as soon as so many producers have bid.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    enough_bids: Option<u32>,
    /// Warn when the region has fewer stations.
    #[arg(long, value_name = "COUNT", default_value_t = USUAL_MIN_STATIONS)]
    min_stations: usize,
    /// The folder for what it must not forget [default: beside the wallet].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How many times as fast as in reality the simulated meter counts; as the producer's.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    speed: u32,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// The wallet.
    #[command(flatten)]
    wallet: WalletArgs,
    /// The nodes.
    #[command(flatten)]
    rpc: RpcArgs,
}

/// Whether bids can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bidding {
    /// Each producer's first bid stands.
    FirstOnly,
    /// Producers may lower their bids.
    Updates,
}

/// When the bidding ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// When the time for bids is over.
    Deadline,
    /// When the lowest price has not fallen for a while.
    Converged,
    /// When you press Enter, by what was bid until then.
    Enter,
}

/// A kind of payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pay {
    /// A channel.
    Channel,
    /// A hash chain.
    Chain,
    /// A hash for each installment.
    #[value(alias = "locks")]
    Hashes,
    /// A lock and a claim for each installment; needs --refund.
    Single,
}

impl Pay {
    const fn kind(self) -> PaymentKind {
        match self {
            Self::Channel => PaymentKind::Channel,
            Self::Chain => PaymentKind::Chain,
            Self::Hashes => PaymentKind::Hashes,
            Self::Single => PaymentKind::Single,
        }
    }
}

fn installments(text: &str) -> Result<InstallmentCount, String> {
    let count: u32 = text.parse().map_err(|_| format!("write a number, not '{text}'"))?;
    InstallmentCount::new(count).map_err(|error| error.to_string())
}

pub(super) async fn run(args: ChargeArgs) -> anyhow::Result<()> {
    let order = args.order()?;
    let wallet = args.wallet.open()?;
    let state = args.state.unwrap_or_else(|| wallet.path().with_extension("agent"));
    let policy = ConsumerPolicy { tolerance_permille: args.meter_tolerance, ..ConsumerPolicy::default() };
    let config = ConsumerConfig { speed: args.speed, policy, ..ConsumerConfig::new(state) };
    let rpc = args.rpc.connect().await?;
    let stop = stop_on_signals()?;
    let resumed = consumer::resume(&config, rpc.clone(), &wallet, progress(), stop.clone()).await;
    let (mut reports, mut failed, mut outcome) = (Vec::new(), None, Ok(()));
    for charge in resumed.map_err(exit_error)? {
        match charge {
            Ok(report) => {
                outcome = outcome.and_then(|()| check(&report.outcome));
                reports.push(report);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        outcome = Err(exit_error(error));
    } else if let Some(order) = order
        && !stop.is_cancelled()
    {
        if args.until == Until::Enter {
            decide_on_enter(order.decide_now.clone());
        }
        // What became of charges from before is in their reports.
        outcome = match Box::pin(consumer::run(&config, &order, rpc, &wallet, progress(), stop)).await {
            Ok(report) => {
                let outcome = check(&report.outcome);
                reports.push(report);
                outcome
            }
            Err(error) => Err(exit_error(error)),
        };
    }
    // Those of charges that are over, too, when the new one fails: nobody tells of them again.
    if args.json {
        print_json(&reports)?;
    } else {
        for report in &reports {
            print_text(&shown(report))?;
        }
    }
    outcome
}

impl ChargeArgs {
    /// What is wanted; none for `--resume`.
    fn order(&self) -> anyhow::Result<Option<ChargeOrder>> {
        let given = (self.region, self.energy, self.from, self.length, self.at, self.max_price);
        let (Some(region), Some(energy), Some(start), Some(length), Some(at), Some(max_price)) = given else {
            return Ok(None);
        };
        if self.resume {
            return Err(UsageError("--resume takes no order beside it".to_owned()).into());
        }
        if self.weigh_price == 0 && self.weigh_distance == 0 && self.weigh_record == 0 {
            let message = "with --weigh-price 0, --weigh-distance 0 and no --weigh-record nothing counts: change one of them";
            return Err(UsageError(message.to_owned()).into());
        }
        if self.bids_for == Span::ZERO {
            return Err(UsageError("--bids-for 0s leaves nobody time to bid".to_owned()).into());
        }
        let window = Window { start, end: start.saturating_after(length) };
        let choice = Choice {
            price_per_km: self.price_per_km,
            weights: Weights {
                price: self.weigh_price,
                distance: self.weigh_distance,
                record: self.weigh_record,
            },
            max_distance: Distance::new(u64::from(self.max_km) * 1_000),
            max_price,
            max_doubt: Doubt::new(self.max_doubt),
        };
        Ok(Some(ChargeOrder {
            kinds: self.kinds.iter().map(|kind| kind.kind()).collect(),
            installments: self.installments,
            deposit: self.refund.map_or(Deposit::Forfeit, Deposit::Refund),
            bidding: self.bids_for,
            mode: match self.bidding {
                Bidding::FirstOnly => BiddingMode::FirstOnly,
                Bidding::Updates => BiddingMode::Updates,
            },
            until: match self.until {
                Until::Deadline | Until::Enter => BiddingEnd::Deadline,
                Until::Converged => BiddingEnd::Converged(self.converged_after),
            },
            enough_bids: self.enough_bids,
            min_stations: self.min_stations,
            ..ChargeOrder::new(region, window, energy, at, choice)
        }))
    }
}

/// Scripts see by the exit code whether there was energy.
fn check(outcome: &ChargeOutcome) -> anyhow::Result<()> {
    let not_found = |message: &str| Err(RpcError::Call(CallError::NotFound(message.to_owned())).into());
    match outcome {
        ChargeOutcome::Charged | ChargeOutcome::Partial => Ok(()),
        ChargeOutcome::NoBids => not_found("nobody has bid"),
        ChargeOutcome::NoUsableBid => not_found("no bid can be taken: see the warnings"),
        ChargeOutcome::NotServed => anyhow::bail!("the producer did not serve"),
        ChargeOutcome::GivenUp { reason } => anyhow::bail!("given up: {reason}"),
    }
}

/// The report for people.
pub(super) fn shown(report: &ChargeReport) -> String {
    let outcome = match &report.outcome {
        ChargeOutcome::Charged => "charged".to_owned(),
        ChargeOutcome::Partial => "charged in part".to_owned(),
        ChargeOutcome::NoBids => "nobody has bid".to_owned(),
        ChargeOutcome::NoUsableBid => "no bid can be taken".to_owned(),
        ChargeOutcome::NotServed => "not served".to_owned(),
        ChargeOutcome::GivenUp { reason } => format!("given up: {reason}"),
    };
    let mut rows = vec![("outcome", outcome)];
    rows.extend(report.request.map(|request| ("request", request.to_string())));
    rows.extend(report.chosen.as_ref().map(|bid| ("producer", bid.producer.to_string())));
    rows.extend(report.chosen.as_ref().map(|bid| ("price", format!("EUR {}", bid.price))));
    rows.extend(report.chosen.as_ref().map(|bid| ("doubt", format!("{} per mille", bid.doubt.get()))));
    rows.extend(report.lowest_price.map(|price| ("lowest bid", format!("EUR {price}"))));
    if let Some(session) = &report.session {
        let outcome = &session.outcome;
        rows.push(("energy", values::show_energy(outcome.energy)));
        rows.push(("installments", format!("{} of {}", outcome.released, session.installments)));
    }
    rows.push(("paid", format!("EUR {}", report.paid)));
    rows.push(("fees", format!("EUR {}", report.fees)));
    rows.push(("returned", format!("EUR {}", report.returned)));
    rows.push(("took", values::show_span(report.ended.since(report.begun))));
    aligned(&rows)
}
