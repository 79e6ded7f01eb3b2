use std::path::{Path, PathBuf};

use clap::Subcommand;
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::{Hash, KeyPair, Preimage, PublicKey};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::TxRef;
use evchain_protocol::sealed::SealedFor;
use evchain_protocol::state::auction::{BidPosition, Place};
use evchain_protocol::state::channel::{ChannelState, SignedChannelState};
use serde::{Deserialize, Serialize};

use super::args::{KeyArgs, RpcArgs};
use super::exit::UsageError;
use super::genesis::read_text;
use super::human;
use super::output::{print_json, print_text};
use crate::rpc::{CallError, NodeApiClient, RpcClient, RpcError};
use crate::wallet::{WalletError, private_file};

const VERSION: u32 = 1;

/// Make and look at the files with what only you must know: preimages, hash chains, openings.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  evchain secret new --out r.json\n  evchain secret new --chain 10 --out chain.json\n  evchain secret show chain.json --installment 3"
)]
pub enum SecretCommand {
    /// Make a secret in a new file: a preimage, or what N installments need.
    New {
        /// The file, which must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// A hash chain for N installments.
        #[arg(long, value_name = "N", conflicts_with = "hashes")]
        chain: Option<CountArg>,
        /// A preimage of its own for each of N installments.
        #[arg(long, value_name = "N")]
        hashes: Option<CountArg>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what is in a secret file: what it locks with, and the secret if asked for.
    Show {
        /// The file.
        file: PathBuf,
        /// Show the secret that releases this installment, the first being 0. Whoever knows it can
        /// claim.
        #[arg(long, value_name = "K")]
        installment: Option<u32>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show where a vehicle is that has bid for your request.
    #[command(after_help = "Example:\n  evchain secret place 1042-3 evc1... --wallet alice.json")]
    Place {
        /// The request's reference.
        request: TxRef,
        /// Who has bid.
        producer: PublicKey,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The key that made the request.
        #[command(flatten)]
        key: KeyArgs,
        /// The nodes.
        #[command(flatten)]
        rpc: RpcArgs,
    },
}

/// Sign what stands beside the chain.
#[derive(Debug, Subcommand)]
pub enum ChannelStateCommand {
    /// Sign a channel's state with a wallet's key and print it as JSON, for the other side.
    #[command(after_help = "Example:\n  evchain channel-state sign 1042-3 --released 4 > state.json")]
    Sign {
        /// The channel's reference.
        channel: TxRef,
        /// How many installments it releases to the producer.
        #[arg(long)]
        released: u32,
        /// Agree that the channel ends with this state.
        #[arg(long)]
        closing: bool,
        /// The nodes, which tell whether there is such a channel.
        #[command(flatten)]
        rpc: RpcArgs,
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
    },
}

/// A number of installments on the command line.
#[derive(Debug, Clone, Copy)]
pub struct CountArg(pub InstallmentCount);

impl std::str::FromStr for CountArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count: u32 = text.parse().map_err(|_| format!("'{text}' is no number of installments"))?;
        InstallmentCount::new(count).map(Self).map_err(|error| error.to_string())
    }
}

/// A secret file.
#[derive(Serialize, Deserialize)]
pub(super) struct SecretFile {
    version: u32,
    #[serde(flatten)]
    pub(super) secret: Secret,
}

/// What it holds.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Secret {
    /// r of a single lock.
    Preimage { preimage: Preimage },
    /// The seed of a hash chain.
    HashChain { seed: Preimage, installments: InstallmentCount },
    /// `r_k` of each installment.
    Preimages { preimages: Vec<Preimage> },
    /// What opens a commitment.
    Opening { opening: Opening },
}

impl SecretFile {
    /// Writes a secret to a new file.
    pub(super) fn create(path: &Path, secret: Secret) -> Result<Self, WalletError> {
        let file = Self { version: VERSION, secret };
        private_file::create(path, &file)?;
        Ok(file)
    }

    /// Reads a secret file.
    pub(super) fn read(path: &Path) -> Result<Self, WalletError> {
        let file: Self = private_file::read(path).map_err(|error| match error {
            WalletError::Missing(path) => WalletError::MissingSecret(path),
            other => other,
        })?;
        if file.version != VERSION {
            let reason =
                format!("it has version {}, and this program reads version {VERSION} only", file.version);
            return Err(WalletError::malformed(path, &reason));
        }
        Ok(file)
    }
}

impl Secret {
    /// A fresh preimage.
    pub(super) fn new_preimage() -> Result<Self, WalletError> {
        Ok(Self::Preimage { preimage: private_file::random_preimage()? })
    }

    /// A fresh hash chain.
    pub(super) fn new_chain(installments: InstallmentCount) -> Result<Self, WalletError> {
        Ok(Self::HashChain { seed: private_file::random_preimage()?, installments })
    }

    /// Fresh preimages.
    pub(super) fn new_preimages(installments: InstallmentCount) -> Result<Self, WalletError> {
        let preimages = (0..installments.get()).map(|_| private_file::random_preimage());
        Ok(Self::Preimages { preimages: preimages.collect::<Result<_, _>>()? })
    }

    /// What releases installment `index`; of a single preimage that is installment 0.
    pub(super) fn release(&self, index: u32) -> Option<Preimage> {
        let place = usize::try_from(index).ok()?;
        match self {
            Self::Preimage { preimage } => (index == 0).then_some(*preimage),
            Self::HashChain { seed, installments } => HashChain::new(*seed, *installments).link(index),
            Self::Preimages { preimages } => preimages.get(place).copied(),
            Self::Opening { .. } => None,
        }
    }

    /// What it is called where another was wanted.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Preimage { .. } => "a preimage",
            Self::HashChain { .. } => "a hash chain",
            Self::Preimages { .. } => "preimages of installments",
            Self::Opening { .. } => "the opening of a commitment",
        }
    }

    fn view(&self) -> SecretView {
        let mut view = SecretView { kind: self.kind(), ..SecretView::default() };
        match self {
            Self::Preimage { preimage } => view.hash = Some(preimage.lock()),
            Self::HashChain { seed, installments } => {
                view.anchor = Some(HashChain::new(*seed, *installments).anchor());
                view.installments = Some(installments.get());
            }
            Self::Preimages { preimages } => view.installments = u32::try_from(preimages.len()).ok(),
            Self::Opening { opening } => view.opening = Some(*opening),
        }
        view
    }
}

/// A secret as it is shown: without what must not be known, but for an opening, which its owner
/// shows to the producer.
#[derive(Default, Serialize)]
struct SecretView {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installments: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preimage: Option<Preimage>,
}

/// Runs the command.
///
/// # Errors
/// Where a file cannot be read or written, or no node answers.
pub(super) async fn run(command: SecretCommand) -> anyhow::Result<()> {
    match command {
        SecretCommand::New { out, chain, hashes, json } => {
            let secret = match (chain, hashes) {
                (Some(count), _) => Secret::new_chain(count.0)?,
                (None, Some(count)) => Secret::new_preimages(count.0)?,
                (None, None) => Secret::new_preimage()?,
            };
            show(&SecretFile::create(&out, secret)?.secret.view(), json)
        }
        SecretCommand::Show { file, installment, json } => {
            let secret = SecretFile::read(&file)?.secret;
            let mut view = secret.view();
            if let Some(index) = installment {
                let missing = || UsageError(format!("{} has no installment {index}", file.display()));
                view.preimage = Some(secret.release(index).ok_or_else(missing)?);
            }
            show(&view, json)
        }
        SecretCommand::Place { request, producer, json, key, rpc } => {
            let key = key.wallet.open()?.key(key.index);
            let place = sealed_place(&rpc.connect().await?, &key, request, producer).await?;
            if json { print_json(&place) } else { print_text(&human::show(&place)?) }
        }
    }
}

/// What a bid tells the consumer alone.
async fn sealed_place(
    rpc: &RpcClient,
    key: &KeyPair,
    request: TxRef,
    producer: PublicKey,
) -> anyhow::Result<Place> {
    let bids = rpc.bids(request).await.map_err(RpcError::from)?;
    let bid = bids
        .into_iter()
        .find(|bid| bid.producer == producer)
        .ok_or_else(|| RpcError::Call(CallError::NotFound(format!("{producer} has no bid for {request}"))))?;
    let context = SealedFor { chain: rpc.chain_id(), request, producer };
    match bid.bid.position {
        BidPosition::Sealed(sealed) => Ok(sealed.open(key, &context).map_err(|error| {
            UsageError(format!("the place cannot be read: {error}; --key names the key that asked"))
        })?),
        BidPosition::Public(place) => Ok(place),
        BidPosition::Station => {
            let message = format!("it is a station's: `evchain query station {producer}`");
            Err(UsageError(message).into())
        }
    }
}

fn show(view: &SecretView, json: bool) -> anyhow::Result<()> {
    if json { print_json(view) } else { print_text(&human::show(view)?) }
}

/// Runs the command.
///
/// # Errors
/// Where the wallet cannot be read or no node answers.
pub(super) async fn run_channel_state(command: ChannelStateCommand) -> anyhow::Result<()> {
    let ChannelStateCommand::Sign { channel, released, closing, rpc, key } = command;
    let key = key.wallet.open()?.key(key.index);
    let rpc = rpc.connect().await?;
    let open = rpc.channel(channel).await.map_err(RpcError::from)?.value;
    // What the ledger would not take is not signed either.
    if ![open.consumer, open.producer].contains(&key.public_key()) {
        let address = key.public_key();
        return Err(
            UsageError(format!("{address} is no party of channel {channel}: choose another --key")).into()
        );
    }
    if released > open.count.get() {
        let count = open.count;
        return Err(UsageError(format!("channel {channel} has {count} installments only")).into());
    }
    print_json(&ChannelState { channel, released, closing }.sign(&key, rpc.chain_id()))
}

/// A signed state that `channel-state sign` printed.
pub(super) fn read_channel_state(path: &Path) -> anyhow::Result<SignedChannelState> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|error| UsageError(format!("{} is no signed channel state: {error}", path.display())).into())
}
