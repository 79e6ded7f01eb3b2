use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use evchain_protocol::crypto::{Hash, Preimage, PublicKey};
use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Span, Timestamp, TxRef};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::{MAX_CONTACT_BYTES, PaymentKinds};
use evchain_protocol::text::Text;

use super::super::args::{KeyArgs, RpcArgs};
use super::super::genesis::roles_of;
use super::super::secret::CountArg;
use super::super::values::{energy, moment, position, power_w, span};
use crate::agents::consumer::USUAL_MIN_STATIONS;

/// Send a transaction by hand and wait until it is final.
///
/// Amounts are in EUR, energies and lengths of time have units, moments are +2h or RFC 3339. `+2h` counts
/// from the last tenth of a second, the unit of times in requests and bids.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain tx transfer evc1... 12.50\n  evchain tx request --region 5020 --energy 20kWh --start +1h --end +3h --bids-until +10m\n  evchain tx bid 1042-3 8.40 --max-installments 10\n  evchain tx commit 1042-3 --producer evc1... --opening opening.json\n  evchain tx lock-installments 1042-3 --opening opening.json --secret chain.json --installments 10\n  evchain tx claim 1050-0 --installment 9 --preimage 64_HEX_DIGITS"
)]
pub struct TxCommand {
    /// The nodes.
    #[command(flatten)]
    pub rpc: RpcArgs,
    /// Who sends.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Return when a node has taken the transaction, without waiting until it is final.
    #[arg(long, global = true)]
    pub no_wait: bool,
    /// How long to wait until it is final, at most a minute.
    #[arg(long, global = true, value_name = "SPAN", value_parser = span, default_value = "30s")]
    pub timeout: Span,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub kind: TxKind,
}

/// The kinds of transactions.
#[derive(Debug, Subcommand)]
pub enum TxKind {
    /// Pay another key. One without account becomes a consumer that you sponsor.
    Transfer {
        /// Whom.
        to: PublicKey,
        /// How much, in EUR.
        amount: Amount,
    },
    /// Give a participant roles, all that it has already among them (authorities only).
    Admit {
        /// Whom.
        participant: PublicKey,
        /// consumer, producer, auditor; with commas between.
        #[arg(long, value_parser = roles_of)]
        roles: Roles,
        /// Its withdrawal account: where its balance can go if it is ever revoked. Only the admission that
        /// makes the account names one, and it stays.
        #[arg(long, value_name = "ADDRESS")]
        withdraw_to: Option<PublicKey>,
    },
    /// Shut a participant out (authorities only). More than two thirds have to agree: the first command
    /// proposes it, the same command of others approves, and with the last it takes effect at once.
    ///
    /// It can still settle what is open, and withdraw its balance to its withdrawal account.
    Revoke {
        /// Whom.
        participant: PublicKey,
        /// Where its balance can go, if it has no withdrawal account (`evchain query account` shows it).
        #[arg(long, value_name = "ADDRESS")]
        withdraw_to: Option<PublicKey>,
    },
    /// Give a participant exactly these roles, or a revoked one back its own (authorities only). More than two
    /// thirds have to agree, as for `revoke`.
    SetRoles {
        /// Whom.
        participant: PublicKey,
        /// consumer, producer, auditor; with commas between.
        #[arg(long, value_parser = roles_of)]
        roles: Roles,
    },
    /// Send all that your revoked account has to its withdrawal account. It costs nothing.
    Withdraw,
    /// Propose a new authority (authorities only). More than two thirds have to approve.
    ProposeAdd {
        /// Whom.
        authority: PublicKey,
    },
    /// Propose that an authority leaves (authorities only).
    ProposeRemove {
        /// Whom.
        authority: PublicKey,
    },
    /// Propose another value for a parameter (authorities only).
    ProposeParam {
        /// The parameter, as `evchain query params --json` names it.
        name: String,
        /// Its value, as that shows it.
        value: String,
    },
    /// Approve a proposal (authorities only). There is no way back.
    Approve {
        /// Its reference.
        proposal: TxRef,
    },
    /// Report what an authority did and no honest one does.
    Report {
        /// The evidence, as JSON.
        #[arg(long, value_name = "FILE")]
        evidence: PathBuf,
    },
    /// Record your charging station.
    Station {
        /// The region in which it stands.
        #[arg(long)]
        region: RegionId,
        /// Where it stands: latitude,longitude.
        #[arg(long, value_parser = position, allow_hyphen_values = true, value_name = "LAT,LON")]
        position: Position,
        /// What one connector gives at most.
        #[arg(long, value_parser = power_w, value_name = "POWER")]
        power: u32,
        /// How many vehicles can charge at a time.
        #[arg(long, default_value_t = 1)]
        connectors: u16,
        /// How to reach you.
        #[arg(long, default_value = "", value_parser = contact)]
        contact: Text<MAX_CONTACT_BYTES>,
    },
    /// Ask for energy. A key asks again when its last request is decided, over or without bids.
    ///
    /// Times are in whole tenths of a second. A window is at most 19 days long, and bids end at most 9 days
    /// before it.
    Request {
        /// In which region.
        #[arg(long)]
        region: RegionId,
        /// How much.
        #[arg(long, value_parser = energy)]
        energy: Energy,
        /// From when on.
        #[arg(long, value_parser = moment, value_name = "TIME")]
        start: Timestamp,
        /// Until when.
        #[arg(long, value_parser = moment, value_name = "TIME")]
        end: Timestamp,
        /// Until when producers can bid.
        #[arg(long, value_parser = moment, value_name = "TIME")]
        bids_until: Timestamp,
        /// Let producers lower their bids.
        #[arg(long)]
        updates: bool,
        /// Warn when the region has fewer stations, as naming it then tells roughly where you are.
        #[arg(long, value_name = "COUNT", default_value_t = USUAL_MIN_STATIONS)]
        min_stations: usize,
    },
    /// Offer a price for a request, or a lower one.
    ///
    /// --cancel-by is in whole tenths of a second.
    Bid {
        /// The request's reference.
        request: TxRef,
        /// For all of the energy, in EUR.
        price: Amount,
        /// How you accept to be paid: hashes, chain, channel, single; with commas between.
        #[arg(long, default_value = "hashes,chain,channel", value_parser = kinds_of)]
        kinds: PaymentKinds,
        /// The most installments that you accept.
        #[arg(long, default_value = "10", value_name = "N")]
        max_installments: CountArg,
        /// Where you are, if you have no station record (a vehicle): latitude,longitude. Only the
        /// consumer can read it.
        #[arg(long, value_parser = position, allow_hyphen_values = true, value_name = "LAT,LON")]
        position: Option<Position>,
        /// How to reach you there.
        #[arg(long, default_value = "", value_parser = contact)]
        contact: Text<MAX_CONTACT_BYTES>,
        /// Show position and contact to everybody.
        #[arg(long, requires = "position")]
        public: bool,
        /// Until when the consumer can cancel and gets everything back [default: never].
        #[arg(long, value_parser = moment, value_name = "TIME")]
        cancel_by: Option<Timestamp>,
    },
    /// Decide for a bid without saying for which.
    ///
    /// The chain takes it as the decision of your newest request.
    Commit {
        /// The request's reference; it must be your newest.
        request: TxRef,
        /// Whose bid.
        #[arg(long, value_name = "ADDRESS")]
        producer: PublicKey,
        /// The new file for what opens the commitment. The producer wants to see it.
        #[arg(long, value_name = "FILE")]
        opening: PathBuf,
    },
    /// Lock money for who shows the preimage of a hash.
    Lock {
        /// Who can claim it.
        payee: PublicKey,
        /// How much, in EUR.
        amount: Amount,
        /// The hash.
        #[arg(long, conflicts_with = "secret")]
        hash: Option<Hash>,
        /// The file with the preimage; made if there is none.
        #[arg(long, value_name = "FILE", required_unless_present = "hash")]
        secret: Option<PathBuf>,
        /// When it returns.
        #[arg(long, value_parser = moment, value_name = "TIME")]
        deadline: Timestamp,
    },
    /// Lock a bid's price in installments.
    LockInstallments(InstallmentsArgs),
    /// Claim a lock or installments with what releases them.
    Claim {
        /// The reference of the lock or payment.
        object: TxRef,
        /// The preimage, or a hash chain's link of --installment.
        #[arg(long, conflicts_with = "secret")]
        preimage: Option<Preimage>,
        /// A secret file to take it from.
        #[arg(long, value_name = "FILE", required_unless_present = "preimage")]
        secret: Option<PathBuf>,
        /// The installment, the first being 0. Of a hash chain, and of a file with preimages, all up
        /// to it are claimed.
        #[arg(long, value_name = "K", default_value_t = 0)]
        installment: u32,
    },
    /// Cancel a payment or channel while the bid still lets you.
    Cancel {
        /// Its reference.
        object: TxRef,
    },
    /// Lock a bid's price in a channel.
    ChannelOpen {
        /// The request's reference.
        request: TxRef,
        /// Whose bid; or see --opening.
        #[arg(long, value_name = "ADDRESS", required_unless_present = "opening")]
        producer: Option<PublicKey>,
        /// The commitment's file, which names the producer.
        #[arg(long, value_name = "FILE")]
        opening: Option<PathBuf>,
        /// N.
        #[arg(long, value_name = "N")]
        installments: CountArg,
        /// How long a forced close can be challenged.
        #[arg(long, value_parser = span, default_value = "1m", value_name = "SPAN")]
        challenge: Span,
        /// When it pays out if nobody closes it [default: as early as the chain lets it].
        #[arg(long, value_parser = moment, value_name = "TIME")]
        deadline: Option<Timestamp>,
    },
    /// Close a channel with a state that the other side signed.
    ChannelClose {
        /// The state.
        #[arg(long, value_name = "FILE")]
        state: PathBuf,
    },
    /// Close a channel without the other side.
    ChannelForceClose {
        /// The channel's reference.
        channel: TxRef,
        /// The newest state that the other side signed [default: the initial one].
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
    },
    /// Answer a forced close with a newer state.
    ChannelChallenge {
        /// The state.
        #[arg(long, value_name = "FILE")]
        state: PathBuf,
    },
    /// Start or answer a forced close of anybody's channel, with a state that both sides signed.
    ChannelPost {
        /// The state, signed by the consumer.
        #[arg(long, value_name = "FILE")]
        consumer_state: PathBuf,
        /// The same state, signed by the producer.
        #[arg(long, value_name = "FILE")]
        producer_state: PathBuf,
    },
}

/// What a payment in installments needs.
#[derive(Debug, Args)]
pub struct InstallmentsArgs {
    /// The request's reference.
    pub request: TxRef,
    /// Whose bid; or see --opening.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "opening")]
    pub producer: Option<PublicKey>,
    /// The commitment's file, which names the producer.
    #[arg(long, value_name = "FILE")]
    pub opening: Option<PathBuf>,
    /// The secret file; made if there is none.
    #[arg(long, value_name = "FILE")]
    pub secret: PathBuf,
    /// With one hash chain, or with a hash for each installment.
    #[arg(long, value_enum, default_value_t = LockKind::Chain)]
    pub locks: LockKind,
    /// N, for a new secret file.
    #[arg(long, value_name = "N")]
    pub installments: Option<CountArg>,
    /// Get the deposit back at this time, before the window's start, if the producer does not claim
    /// it. Without this it goes to the producer at the window's start.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    pub refund_at: Option<Timestamp>,
}

/// How installments are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LockKind {
    /// One hash chain.
    Chain,
    /// A hash for each.
    Hashes,
}

fn contact(text: &str) -> Result<Text<MAX_CONTACT_BYTES>, String> {
    Text::new(text).map_err(|error| error.to_string())
}

fn kinds_of(text: &str) -> Result<PaymentKinds, String> {
    text.split(',').try_fold(PaymentKinds::NONE, |kinds, name| {
        Ok(kinds.with(name.trim().parse::<PaymentKinds>().map_err(|error| error.to_string())?))
    })
}
