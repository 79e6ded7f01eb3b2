use std::path::PathBuf;

use clap::{Args, Subcommand};
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Height, RegionId, TxRef};
use jsonrpsee::core::client::Error as ClientError;
use serde::Serialize;
use serde_json::json;

use super::args::RpcArgs;
use super::exit::UsageError;
use super::output::{print_json, print_text};
use super::{genesis, human};
use crate::rpc::{
    BidInfo, BlockKey, Follow, Followed, NodeApiClient, Page, RequestFilter, RpcClient, RpcError,
    ScoredRecord, StateName, TransactionKey, walk_to,
};

/// Ask a node about the chain.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  evchain query status\n  evchain query requests --region 5020 --open --json\n  evchain query tx 1042-3\n  evchain query follow blocks"
)]
pub struct QueryCommand {
    /// The nodes.
    #[command(flatten)]
    rpc: RpcArgs,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// About what.
    #[command(subcommand)]
    query: Query,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
enum Query {
    /// Where the node stands.
    Status,
    /// Which chain this is.
    Chain,
    /// What the chain started from.
    Genesis,
    /// A transaction, by its reference or id.
    Tx {
        /// Such as 1042-3, or 64 hexadecimal digits.
        transaction: TransactionKey,
    },
    /// Wait until a transaction is final.
    Wait {
        /// Its id.
        transaction: Hash,
        /// For how long at most.
        #[arg(long, default_value = "30s", value_parser = super::values::span)]
        timeout: evchain_protocol::primitives::Span,
    },
    /// A block's header.
    Header {
        /// A height, an id, or latest.
        #[arg(default_value = "latest")]
        block: BlockKey,
    },
    /// A block and its transactions.
    Block {
        /// A height, an id, or latest.
        #[arg(default_value = "latest")]
        block: BlockKey,
    },
    /// What a block did.
    Events {
        /// The block's height.
        height: Height,
    },
    /// The certificate that makes a block final.
    Finalization {
        /// The block's height.
        height: Height,
    },
    /// An account.
    Account {
        /// Whose.
        address: PublicKey,
    },
    /// A station, with its producer's track record.
    Station {
        /// Whose.
        producer: PublicKey,
    },
    /// The stations.
    Stations {
        /// Of this region only.
        #[arg(long)]
        region: Option<RegionId>,
    },
    /// A producer's track record: how its sessions were settled, and the doubt that g weighs.
    Record {
        /// Whose.
        producer: PublicKey,
    },
    /// A request.
    Request {
        /// Its reference.
        request: TxRef,
    },
    /// The requests that have not ended.
    Requests {
        /// Of this region only.
        #[arg(long)]
        region: Option<RegionId>,
        /// Of this consumer only.
        #[arg(long, value_name = "ADDRESS")]
        consumer: Option<PublicKey>,
        /// Only those that take bids still.
        #[arg(long)]
        open: bool,
    },
    /// The bids for a request, with their producers' track records.
    Bids {
        /// The request's reference.
        request: TxRef,
    },
    /// A single lock.
    Lock {
        /// Its reference.
        lock: TxRef,
    },
    /// The open single locks.
    Locks {
        /// Of this payer or payee only.
        #[arg(long, value_name = "ADDRESS")]
        party: Option<PublicKey>,
    },
    /// A payment in installments.
    Payment {
        /// Its reference.
        payment: TxRef,
    },
    /// The payments under way.
    Payments {
        /// Of this consumer or producer only.
        #[arg(long, value_name = "ADDRESS")]
        party: Option<PublicKey>,
    },
    /// A channel.
    Channel {
        /// Its reference.
        channel: TxRef,
    },
    /// The open channels.
    Channels {
        /// Of this consumer or producer only.
        #[arg(long, value_name = "ADDRESS")]
        party: Option<PublicKey>,
    },
    /// The chain's parameters.
    Params,
    /// Who runs the chain.
    Authorities,
    /// What authorities have proposed and not decided.
    Proposals,
    /// What authorities did that no honest one does, of this epoch and the one before.
    Evidence,
    /// A proof of what the state holds, which somebody can check who trusts the authorities only.
    Proof {
        /// params, treasury, authorities, account/ADDRESS, station/ADDRESS, request/REF,
        /// bid/REF/ADDRESS, lock/REF, payment/REF, channel/REF, proposal/REF, former-authorities,
        /// offence/EPOCH/ADDRESS/VIEW/KIND, record/ADDRESS or admissions/ADDRESS.
        name: StateName,
        /// Check it, starting from the authorities of this genesis, and show what it proves.
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
    },
    /// The node's peers.
    Peers,
    /// Print what becomes final from now on, one JSON line each, until interrupted.
    #[command(subcommand)]
    Follow(FollowWhat),
}

/// What can be followed.
#[derive(Debug, Subcommand)]
enum FollowWhat {
    /// Blocks.
    Blocks,
    /// New requests.
    Requests {
        /// Of this region only.
        #[arg(long)]
        region: Option<RegionId>,
    },
    /// New and lowered bids.
    Bids {
        /// For this request only.
        #[arg(long)]
        request: Option<TxRef>,
    },
    /// What happens to a party's money.
    Payments {
        /// Whose.
        party: PublicKey,
    },
}

/// Runs the command.
///
/// # Errors
/// Where no node answers, or there is no such thing.
pub(super) async fn run(command: QueryCommand) -> anyhow::Result<()> {
    let rpc = command.rpc.connect().await?;
    let show = Show { json: command.json };
    match command.query {
        Query::Status => show.answer(rpc.status().await),
        Query::Chain => show.answer(rpc.chain().await),
        Query::Genesis => show.answer(rpc.genesis().await),
        Query::Tx { transaction } => show.answer(rpc.transaction(transaction).await),
        Query::Wait { transaction, timeout } => show.answer(rpc.wait(transaction, timeout.get()).await),
        Query::Header { block } => show.answer(rpc.header(block).await),
        Query::Block { block } => show.answer(rpc.block(block).await),
        Query::Events { height } => show.answer(rpc.events(height).await),
        Query::Finalization { height } => show.answer(rpc.finalization(height).await),
        Query::Account { address } => show.answer(rpc.account(address).await),
        Query::Station { producer } => {
            let item = rpc.station(producer).await.map_err(RpcError::from)?;
            let record = rpc.record(producer).await.map_err(RpcError::from)?.scored;
            show.value(&WithRecord { item, record })
        }
        Query::Record { producer } => show.answer(rpc.record(producer).await),
        Query::Stations { region } => {
            show.value(&all(async |after| rpc.stations(region, after).await).await?)
        }
        Query::Request { request } => show.answer(rpc.energy_request(request).await),
        Query::Requests { region, consumer, open } => {
            let filter = RequestFilter { region, consumer, open };
            show.value(&all(async |after| rpc.requests(filter, after).await).await?)
        }
        Query::Bids { request } => show.value(&bids_with_records(&rpc, request).await?),
        Query::Lock { lock } => show.answer(rpc.lock(lock).await),
        Query::Locks { party } => show.value(&all(async |after| rpc.locks(party, after).await).await?),
        Query::Payment { payment } => show.answer(rpc.payment(payment).await),
        Query::Payments { party } => show.value(&all(async |after| rpc.payments(party, after).await).await?),
        Query::Channel { channel } => show.answer(rpc.channel(channel).await),
        Query::Channels { party } => show.value(&all(async |after| rpc.channels(party, after).await).await?),
        Query::Params => show.answer(rpc.params().await),
        Query::Authorities => show.answer(rpc.authorities().await),
        Query::Proposals => show.answer(rpc.proposals().await),
        Query::Evidence => show.answer(rpc.evidence().await),
        Query::Proof { name, genesis: None } => show.answer(rpc.proof(name).await),
        Query::Proof { name, genesis: Some(file) } => {
            let block = genesis::read(&file)?.build().map_err(|error| UsageError(error.to_string()))?;
            let proof = rpc.proof(name).await.map_err(RpcError::from)?;
            let client = walk_to(proof.epoch()?, &block, &rpc).await?;
            let (header, value) = proof.verify(&client)?;
            let value = serde_json::to_value(value)?;
            show.value(
                &json!({ "name": name, "height": header.height, "time": header.time_ms, "value": value }),
            )
        }
        Query::Peers => show.answer(rpc.peers().await),
        Query::Follow(what) => follow(&rpc, what).await,
    }
}

/// Something of a producer's, and its track record.
#[derive(Serialize)]
struct WithRecord<T> {
    #[serde(flatten)]
    item: T,
    record: ScoredRecord,
}

async fn bids_with_records(rpc: &RpcClient, request: TxRef) -> Result<Vec<WithRecord<BidInfo>>, RpcError> {
    let bids = rpc.bids(request).await?;
    let records = rpc.bidder_records(request).await?;
    let with_record = |item: BidInfo| {
        // Who bid between the two calls is left out.
        let record = records.iter().find(|record| record.producer == item.producer)?.scored;
        Some(WithRecord { item, record })
    };
    Ok(bids.into_iter().filter_map(with_record).collect())
}

/// How answers are shown.
#[derive(Clone, Copy)]
struct Show {
    json: bool,
}

impl Show {
    fn answer<T: Serialize>(self, answer: Result<T, ClientError>) -> anyhow::Result<()> {
        self.value(&answer.map_err(RpcError::from)?)
    }

    fn value<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        if self.json { print_json(value) } else { print_text(&human::show(value)?) }
    }
}

/// All entries of a list, page by page.
async fn all<T, K: Copy>(
    page: impl AsyncFn(Option<K>) -> Result<Page<T, K>, ClientError>,
) -> Result<Vec<T>, RpcError> {
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let mut next = page(after).await?;
        items.append(&mut next.items);
        after = next.next;
        if after.is_none() {
            return Ok(items);
        }
    }
}

async fn follow(rpc: &RpcClient, what: FollowWhat) -> anyhow::Result<()> {
    match what {
        FollowWhat::Blocks => print_all(rpc.follow_blocks().await?).await,
        FollowWhat::Requests { region } => print_all(rpc.follow_requests(region).await?).await,
        FollowWhat::Bids { request } => print_all(rpc.follow_bids(request).await?).await,
        FollowWhat::Payments { party } => print_all(rpc.follow_payments(party).await?).await,
    }
}

async fn print_all<T: Serialize + serde::de::DeserializeOwned + Send + 'static>(
    mut follow: Follow<T>,
) -> anyhow::Result<()> {
    loop {
        match follow.next().await {
            Followed::Item(item) => print_text(&serde_json::to_string(&item)?)?,
            Followed::Resumed => eprintln!("interrupted; goes on from here, what came between is not shown"),
        }
    }
}
