use std::path::{Path, PathBuf};

use anyhow::Context;
use evchain_protocol::codec::List;
use evchain_protocol::commitment::Opening;
use evchain_protocol::compact::NotCompact;
use evchain_protocol::crypto::{Hash, Preimage, PublicKey};
use evchain_protocol::governance::{Change, ParamChange, StandingChange};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Span, Timestamp, TxRef, Window};
use evchain_protocol::sealed::{SealedFor, SealedPlace};
use evchain_protocol::state::auction::{Bid, BidPosition, BiddingMode, Place, Station};
use evchain_protocol::state::channel::CoSignedState;
use evchain_protocol::state::payment::{HashLocks, Payment};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::channel::{
    ChallengeChannel, CloseChannel, ForceCloseChannel, OpenChannel,
};
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimHashes, ClaimLock, IndexedPreimage};
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::evidence::ReportOffence;
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::participant::Admit;
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::request::RequestTerms;
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::withdraw::Withdraw;

use super::super::exit::UsageError;
use super::super::genesis::read_text;
use super::super::secret::{Secret, SecretFile, read_channel_state};
use super::args::{InstallmentsArgs, LockKind, TxKind};
use super::{vote, warn};
use crate::rpc::{CallError, NodeApiClient, RpcClient, RpcError};
use crate::wallet::{WalletError, private_file};

/// What the command line asks for, as an action. Secrets are on disk when this returns.
///
/// # Errors
/// Where a file cannot be read or written, or the chain does not have what the action is about.
pub(super) async fn action(kind: TxKind, rpc: &RpcClient, sender: PublicKey) -> anyhow::Result<Action> {
    Ok(match kind {
        TxKind::Transfer { to, amount } => Action::Transfer(Transfer { to, amount }),
        TxKind::Admit { participant, roles, withdraw_to } => {
            Action::Admit(Admit { participant, roles, withdraw_to })
        }
        TxKind::Revoke { participant, withdraw_to } => vote::revoke(rpc, participant, withdraw_to).await?,
        TxKind::SetRoles { participant, roles } => {
            vote::propose_or_approve(rpc, StandingChange::SetRoles { account: participant, roles }).await?
        }
        TxKind::Withdraw => withdraw(rpc, sender).await?,
        TxKind::ProposeAdd { authority } => propose(Change::AddAuthority(authority)),
        TxKind::ProposeRemove { authority } => propose(Change::RemoveAuthority(authority)),
        TxKind::ProposeParam { name, value } => propose(Change::SetParam(param_change(&name, &value)?)),
        TxKind::Approve { proposal } => Action::Approve(Approve { proposal }),
        TxKind::Report { evidence } => {
            Action::ReportOffence(ReportOffence { evidence: read_json(&evidence)? })
        }
        TxKind::Station { region, position, power, connectors, contact } => {
            let station = Station { region, position, power_w: power, connectors, contact };
            Action::RecordStation(RecordStation { station })
        }
        TxKind::Request { region, energy, start, end, bids_until: bid_deadline, updates, min_stations } => {
            let mode = if updates { BiddingMode::Updates } else { BiddingMode::FirstOnly };
            let terms = RequestTerms { region, window: Window { start, end }, energy, mode, bid_deadline };
            place_request(rpc, terms, min_stations).await?
        }
        TxKind::Bid { request, price, kinds, max_installments, position, contact, public, cancel_by } => {
            let place = position.map(|position| Place { position, contact });
            let position = bid_position(rpc, place, public, request, sender).await?;
            let cancel_by = cancel_by.unwrap_or(Timestamp::ZERO);
            let bid = Bid { price, kinds, max_installments: max_installments.0, position, cancel_by };
            Action::PlaceBid(PlaceBid::new(request, bid).map_err(not_compact)?)
        }
        TxKind::Commit { request, producer, opening } => {
            commit(rpc, sender, request, producer, &opening).await?
        }
        TxKind::Lock { payee, amount, hash, secret, deadline } => {
            let hash = lock_hash(hash, secret.as_deref())?;
            Action::CreateLock(CreateLock { payee, amount, hash, deadline })
        }
        TxKind::LockInstallments(args) => lock_installments(&args)?,
        TxKind::Claim { object, preimage, secret, installment } => {
            let release = Release::new(preimage, secret)?;
            Action::Claim(claim(rpc, object, &release, installment).await?)
        }
        TxKind::Cancel { object } => Action::Cancel(cancel(rpc, object).await?),
        TxKind::ChannelOpen { request, producer, opening, installments, challenge, deadline } => {
            let producer = producer_of(producer, opening.as_deref(), request)?;
            let deadline = match deadline {
                Some(deadline) => deadline,
                None => earliest_deadline(rpc, request, challenge).await?,
            };
            Action::OpenChannel(OpenChannel { request, producer, count: installments.0, challenge, deadline })
        }
        TxKind::ChannelClose { state } => {
            Action::CloseChannel(CloseChannel { state: read_channel_state(&state)? })
        }
        TxKind::ChannelForceClose { channel, state } => Action::ForceCloseChannel(ForceCloseChannel {
            channel,
            state: state.as_deref().map(read_channel_state).transpose()?,
        }),
        TxKind::ChannelChallenge { state } => {
            Action::ChallengeChannel(ChallengeChannel { state: read_channel_state(&state)? })
        }
        TxKind::ChannelPost { consumer_state, producer_state } => post(&consumer_state, &producer_state)?,
    })
}

async fn withdraw(rpc: &RpcClient, sender: PublicKey) -> anyhow::Result<Action> {
    let account = rpc.account(sender).await.map_err(RpcError::from)?.account;
    match account.withdraw_to {
        Some(to) => Ok(Action::Withdraw(Withdraw { to })),
        None => {
            Err(UsageError(format!("{sender} is not revoked: `evchain tx transfer` sends its money")).into())
        }
    }
}

async fn place_request(rpc: &RpcClient, terms: RequestTerms, min_stations: usize) -> anyhow::Result<Action> {
    let region = terms.region;
    let request = terms.try_into().map_err(not_compact)?;
    warn::of_few_stations(rpc, region, min_stations).await?;
    Ok(Action::PlaceRequest(request))
}

/// A state with both signatures.
fn post(consumer_state: &Path, producer_state: &Path) -> anyhow::Result<Action> {
    let [by_consumer, by_producer] =
        [read_channel_state(consumer_state)?, read_channel_state(producer_state)?];
    anyhow::ensure!(by_consumer.state == by_producer.state, "the two files hold different states");
    let (consumer, producer) = (by_consumer.signature, by_producer.signature);
    let state = CoSignedState { state: by_consumer.state, consumer, producer };
    Ok(Action::PostState(PostState { state }))
}

/// The first moment that a channel's deadline can be (C3).
async fn earliest_deadline(rpc: &RpcClient, request: TxRef, challenge: Span) -> anyhow::Result<Timestamp> {
    let window = rpc.energy_request(request).await.map_err(RpcError::from)?.value.window;
    let params = rpc.params().await.map_err(RpcError::from)?;
    Ok(window.end.after(params.claim_margin)?.after(challenge)?)
}

/// Where a bidder delivers: at its station, or at a place that only the request's consumer can read
/// unless it is to be public.
async fn bid_position(
    rpc: &RpcClient,
    place: Option<Place>,
    public: bool,
    request: TxRef,
    producer: PublicKey,
) -> anyhow::Result<BidPosition> {
    let place = match place {
        None => return Ok(BidPosition::Station),
        Some(place) if public => return Ok(BidPosition::Public(place)),
        Some(place) => place,
    };
    let consumer = rpc.energy_request(request).await.map_err(RpcError::from)?.value.consumer;
    let bid = SealedFor { chain: rpc.chain_id(), request, producer };
    let sealed = SealedPlace::seal(&place, &consumer, &bid, &private_file::random_bytes()?);
    Ok(BidPosition::Sealed(sealed.map_err(|error| UsageError(error.to_string()))?))
}

/// What no transaction can say is for the user to change.
fn not_compact(error: NotCompact) -> UsageError {
    UsageError(error.to_string())
}

fn propose(change: Change) -> Action {
    Action::Propose(Propose { change })
}

/// The change of a parameter, by its name and value in JSON.
fn param_change(name: &str, value: &str) -> Result<ParamChange, UsageError> {
    if !ParamChange::NAMES.contains(&name) {
        let known = ParamChange::NAMES.join(", ");
        return Err(UsageError(format!("'{name}' is no parameter that can change: use one of {known}")));
    }
    let wrong = |error: serde_json::Error| UsageError(format!("'{value}' is no value for {name}: {error}"));
    let value: serde_json::Value = serde_json::from_str(value).map_err(wrong)?;
    serde_json::from_value(serde_json::json!({ "name": name, "value": value })).map_err(wrong)
}

fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = read_text(file)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what it should be", file.display()))
}

async fn commit(
    rpc: &RpcClient,
    consumer: PublicKey,
    request: TxRef,
    producer: PublicKey,
    file: &Path,
) -> anyhow::Result<Action> {
    // The chain takes it as the decision of the newest request, whatever is meant here (B9).
    let account = rpc.account(consumer).await.map_err(RpcError::from)?.account;
    if account.newest_request != Some(request) {
        let newest = match account.newest_request {
            Some(newest) => format!("it is {newest}"),
            None => "it has none".to_owned(),
        };
        return Err(UsageError(format!("{request} is not the newest request of {consumer}: {newest}")).into());
    }
    let bids = rpc.bids(request).await.map_err(RpcError::from)?;
    let bid = bids.iter().find(|bid| bid.producer == producer).ok_or_else(|| {
        let message =
            format!("{producer} has no bid for {request}: `evchain query bids {request}` lists them");
        RpcError::Call(CallError::NotFound(message))
    })?;
    warn::of_single_bid(request, bids.len());
    let secret = private_file::random_preimage()?;
    let opening = Opening { request, price: bid.bid.price, consumer, producer, secret };
    // A commitment that cannot be opened is worth nothing, so the file is there before it is sent.
    SecretFile::create(file, Secret::Opening { opening })?;
    Ok(Action::Commit(Commit { commitment: opening.commitment(rpc.chain_id()) }))
}

fn lock_installments(args: &InstallmentsArgs) -> anyhow::Result<Action> {
    let producer = producer_of(args.producer, args.opening.as_deref(), args.request)?;
    let secret = match SecretFile::read(&args.secret) {
        Ok(file) => file.secret,
        Err(WalletError::MissingSecret(_)) => {
            let count = args.installments.ok_or_else(|| {
                let file = args.secret.display();
                UsageError(format!("there is no file {file} yet: give --installments for a new one"))
            })?;
            let secret = match args.locks {
                LockKind::Chain => Secret::new_chain(count.0)?,
                LockKind::Hashes => Secret::new_preimages(count.0)?,
            };
            SecretFile::create(&args.secret, secret)?.secret
        }
        Err(error) => return Err(error.into()),
    };
    let locks = match (&secret, args.locks) {
        (Secret::HashChain { seed, installments }, LockKind::Chain) => {
            let anchor = HashChain::new(*seed, *installments).anchor();
            InstallmentLocks::Chain(ChainAnchor { anchor, count: *installments })
        }
        (Secret::Preimages { preimages }, LockKind::Hashes) => {
            InstallmentLocks::Hashes(List::new(preimages.iter().map(Preimage::lock).collect())?)
        }
        (other, _) => return Err(wrong_kind(&args.secret, other).into()),
    };
    let deposit = args.refund_at.map_or(DepositRule::Forfeit, DepositRule::Refund);
    Ok(Action::LockInstallments(LockInstallments { request: args.request, producer, deposit, locks }))
}

/// What a claim is made with.
enum Release {
    Preimage(Preimage),
    File(Secret, PathBuf),
}

impl Release {
    fn new(preimage: Option<Preimage>, secret: Option<PathBuf>) -> anyhow::Result<Self> {
        match (preimage, secret) {
            (Some(preimage), _) => Ok(Self::Preimage(preimage)),
            (None, Some(file)) => Ok(Self::File(SecretFile::read(&file)?.secret, file)),
            (None, None) => Err(UsageError("--preimage or --secret is needed".to_owned()).into()),
        }
    }

    fn of(&self, index: u32) -> Result<Preimage, UsageError> {
        match self {
            Self::Preimage(preimage) => Ok(*preimage),
            Self::File(secret, path) => secret
                .release(index)
                .ok_or_else(|| UsageError(format!("{} has nothing for installment {index}", path.display()))),
        }
    }
}

async fn claim(rpc: &RpcClient, object: TxRef, release: &Release, index: u32) -> anyhow::Result<Claim> {
    if found(rpc.lock(object).await)?.is_some() {
        return Ok(Claim::Lock(ClaimLock { lock: object, preimage: release.of(0)? }));
    }
    let payment = found(rpc.payment(object).await)?.ok_or_else(|| {
        RpcError::Call(CallError::NotFound(format!(
            "there is no lock or payment {object}, or no longer: it is settled, or its deadline has passed"
        )))
    })?;
    match &payment.value.locks {
        HashLocks::Chain(_) => {
            Ok(Claim::Chain(ClaimChain { payment: object, index, link: release.of(index)? }))
        }
        HashLocks::Hashes(_) => {
            let preimages = claimed_hashes(&payment.value, release, index)?;
            Ok(Claim::Hashes(ClaimHashes { payment: object, preimages: List::new(preimages)? }))
        }
    }
}

/// With a file every unsettled installment up to `index`, with a preimage the one that it is of.
fn claimed_hashes(
    payment: &Payment,
    release: &Release,
    index: u32,
) -> Result<Vec<IndexedPreimage>, UsageError> {
    let first = if matches!(release, Release::Preimage(_)) { index } else { 0 };
    (first..=index)
        // One that is settled is claimed only if it is the one asked for: the ledger says why not.
        .filter(|other| *other == index || !payment.is_settled(*other))
        .map(|index| Ok(IndexedPreimage { index, preimage: release.of(index)? }))
        .collect()
}

async fn cancel(rpc: &RpcClient, object: TxRef) -> anyhow::Result<Cancel> {
    if found(rpc.payment(object).await)?.is_some() {
        return Ok(Cancel::Payment(object));
    }
    if found(rpc.channel(object).await)?.is_some() {
        return Ok(Cancel::Channel(object));
    }
    Err(RpcError::Call(CallError::NotFound(format!("there is no payment or channel {object}, or no longer")))
        .into())
}

/// An answer, or none where the node has no such thing.
fn found<T>(answer: Result<T, jsonrpsee::core::client::Error>) -> Result<Option<T>, RpcError> {
    match answer.map_err(RpcError::from) {
        Ok(value) => Ok(Some(value)),
        Err(RpcError::Call(CallError::NotFound(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

fn producer_of(
    producer: Option<PublicKey>,
    opening: Option<&Path>,
    request: TxRef,
) -> anyhow::Result<PublicKey> {
    let Some(file) = opening else {
        return Ok(producer.ok_or_else(|| UsageError("--producer or --opening is needed".to_owned()))?);
    };
    match SecretFile::read(file)?.secret {
        Secret::Opening { opening } if opening.request != request => {
            let message = format!("{} is about request {}, not {request}", file.display(), opening.request);
            Err(UsageError(message).into())
        }
        Secret::Opening { opening } if producer.is_some_and(|producer| producer != opening.producer) => {
            Err(UsageError(format!("{} names {}, not --producer", file.display(), opening.producer)).into())
        }
        Secret::Opening { opening } => Ok(opening.producer),
        other => Err(wrong_kind(file, &other).into()),
    }
}

/// The hash to lock behind: the one given, or that of a file's preimage.
fn lock_hash(hash: Option<Hash>, secret: Option<&Path>) -> anyhow::Result<Hash> {
    match (hash, secret) {
        (Some(hash), _) => Ok(hash),
        (None, Some(file)) => Ok(preimage_of(file)?.lock()),
        (None, None) => Err(UsageError("--hash or --secret is needed".to_owned()).into()),
    }
}

/// The preimage in a file, which is made if there is none.
fn preimage_of(file: &Path) -> anyhow::Result<Preimage> {
    let secret = match SecretFile::read(file) {
        Ok(file) => file.secret,
        Err(WalletError::MissingSecret(_)) => SecretFile::create(file, Secret::new_preimage()?)?.secret,
        Err(error) => return Err(error.into()),
    };
    match secret {
        Secret::Preimage { preimage } => Ok(preimage),
        other => Err(wrong_kind(file, &other).into()),
    }
}

fn wrong_kind(file: &Path, secret: &Secret) -> UsageError {
    UsageError(format!("{} holds {}, which is not what is needed here", file.display(), secret.kind()))
}
