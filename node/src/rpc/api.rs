//! Every method and subscription, in one table.

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::event::EventRecord;
use evchain_protocol::genesis::Genesis;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Epoch, Height, RegionId, TxRef};
use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;

use super::authority_types::{AuthoritiesInfo, EpochStepInfo, OffenceInfo, ProposalInfo};
use super::record::RecordInfo;
use super::state_name::StateName;
use super::types::{
    AccountInfo, BidInfo, BlockInfo, BlockKey, BlockNotice, ChainInfo, ChannelInfo, Finality,
    FinalizationInfo, HeaderInfo, LockInfo, Page, PartyNotice, PaymentInfo, PeerEntry, ProofInfo,
    RequestFilter, RequestInfo, StationInfo, Status, TransactionInfo, TransactionKey,
};

/// What a node answers. Errors are those of [`CallError`](super::CallError).
#[rpc(server, client, namespace = "evchain")]
pub trait NodeApi {
    /// Where the node stands.
    #[method(name = "status")]
    async fn status(&self) -> RpcResult<Status>;

    /// Which chain this is.
    #[method(name = "chain")]
    async fn chain(&self) -> RpcResult<ChainInfo>;

    /// What the chain started from. Refused where it is larger than a response may be.
    #[method(name = "genesis", blocking)]
    fn genesis(&self) -> RpcResult<Genesis>;

    /// Takes a signed transaction, in hexadecimal, and gives its id. Sending one again is no error.
    #[method(name = "submit")]
    async fn submit(&self, transaction: String) -> RpcResult<Hash>;

    /// As `submit`, then as `wait`.
    #[method(name = "submitAndWait", with_extensions)]
    async fn submit_and_wait(&self, transaction: String, timeout_ms: u64) -> RpcResult<Finality>;

    /// Waits until a transaction is final, or rejected, or the time is over. At most
    /// [`MAX_WAIT_MS`](super::MAX_WAIT_MS).
    #[method(name = "wait", with_extensions)]
    async fn wait(&self, transaction: Hash, timeout_ms: u64) -> RpcResult<Finality>;

    /// A transaction, final or waiting for a block, by its id or reference.
    #[method(name = "transaction")]
    async fn transaction(&self, transaction: TransactionKey) -> RpcResult<TransactionInfo>;

    /// A final block's header.
    #[method(name = "header", blocking)]
    fn header(&self, block: BlockKey) -> RpcResult<HeaderInfo>;

    /// A final block, its transactions in short.
    #[method(name = "block", blocking)]
    fn block(&self, block: BlockKey) -> RpcResult<BlockInfo>;

    /// The events of a final block, in order.
    #[method(name = "events", blocking)]
    fn events(&self, height: Height) -> RpcResult<Vec<EventRecord>>;

    /// The certificate that makes a block final.
    #[method(name = "finalization", blocking)]
    fn finalization(&self, height: Height) -> RpcResult<FinalizationInfo>;

    /// An account. Not found is an error.
    #[method(name = "account")]
    async fn account(&self, address: PublicKey) -> RpcResult<AccountInfo>;

    /// A producer's station record.
    #[method(name = "station", blocking)]
    fn station(&self, producer: PublicKey) -> RpcResult<StationInfo>;

    /// Stations, in the order of their keys.
    #[method(name = "stations", blocking)]
    fn stations(
        &self,
        region: Option<RegionId>,
        after: Option<PublicKey>,
    ) -> RpcResult<Page<StationInfo, PublicKey>>;

    /// A producer's track record. Without settled sessions it has zeros; not found is a key without account.
    #[method(name = "record", blocking)]
    fn record(&self, producer: PublicKey) -> RpcResult<RecordInfo>;

    /// The track records of those who bid for a request, in the order of their keys.
    #[method(name = "bidderRecords", blocking)]
    fn bidder_records(&self, request: TxRef) -> RpcResult<Vec<RecordInfo>>;

    /// A request that has not ended.
    #[method(name = "request", blocking)]
    fn energy_request(&self, request: TxRef) -> RpcResult<RequestInfo>;

    /// Requests that have not ended, oldest first.
    #[method(name = "requests", blocking)]
    fn requests(&self, filter: RequestFilter, after: Option<TxRef>) -> RpcResult<Page<RequestInfo, TxRef>>;

    /// The bids for a request, in the order of their producers' keys.
    #[method(name = "bids", blocking)]
    fn bids(&self, request: TxRef) -> RpcResult<Vec<BidInfo>>;

    /// A single lock that is open.
    #[method(name = "lock", blocking)]
    fn lock(&self, lock: TxRef) -> RpcResult<LockInfo>;

    /// Open single locks, of one party or of all, oldest first.
    #[method(name = "locks", blocking)]
    fn locks(&self, party: Option<PublicKey>, after: Option<TxRef>) -> RpcResult<Page<LockInfo, TxRef>>;

    /// A payment in installments that is under way.
    #[method(name = "payment", blocking)]
    fn payment(&self, payment: TxRef) -> RpcResult<PaymentInfo>;

    /// Payments under way, of one party or of all, oldest first.
    #[method(name = "payments", blocking)]
    fn payments(&self, party: Option<PublicKey>, after: Option<TxRef>)
    -> RpcResult<Page<PaymentInfo, TxRef>>;

    /// A channel that is open.
    #[method(name = "channel", blocking)]
    fn channel(&self, channel: TxRef) -> RpcResult<ChannelInfo>;

    /// Open channels, of one party or of all, oldest first.
    #[method(name = "channels", blocking)]
    fn channels(&self, party: Option<PublicKey>, after: Option<TxRef>)
    -> RpcResult<Page<ChannelInfo, TxRef>>;

    /// The chain's parameters, as of now.
    #[method(name = "params", blocking)]
    fn params(&self) -> RpcResult<Params>;

    /// Who runs the chain, as of now.
    #[method(name = "authorities", blocking)]
    fn authorities(&self) -> RpcResult<AuthoritiesInfo>;

    /// The proposals on which the authorities have not decided, oldest first.
    #[method(name = "proposals", blocking)]
    fn proposals(&self) -> RpcResult<Vec<ProposalInfo>>;

    /// The offences of authorities that are recorded: of this epoch and the one before.
    #[method(name = "evidence", blocking)]
    fn evidence(&self) -> RpcResult<Vec<OffenceInfo>>;

    /// How an epoch that is over went over into the next: what a light client needs to follow.
    #[method(name = "epochStep", blocking)]
    fn epoch_step(&self, epoch: Epoch) -> RpcResult<EpochStepInfo>;

    /// A proof of what the state holds under a name, or that it holds nothing.
    #[method(name = "proof")]
    async fn proof(&self, name: StateName) -> RpcResult<ProofInfo>;

    /// The peers with which the node has a connection.
    #[method(name = "peers")]
    async fn peers(&self) -> RpcResult<Vec<PeerEntry>>;
}

/// What a node tells without being asked again, over WebSocket, as blocks become final.
///
/// Who does not keep up is dropped: the subscription ends with a message that says so.
#[rpc(server, client, namespace = "evchain")]
pub trait EventsApi {
    /// Final blocks, each height once and in order.
    #[subscription(name = "subscribeBlocks" => "block", unsubscribe = "unsubscribeBlocks", item = BlockNotice, with_extensions)]
    async fn subscribe_blocks(&self) -> SubscriptionResult;

    /// New requests, of one region or of all.
    #[subscription(name = "subscribeRequests" => "request", unsubscribe = "unsubscribeRequests", item = RequestInfo, with_extensions)]
    async fn subscribe_requests(&self, region: Option<RegionId>) -> SubscriptionResult;

    /// New and lowered bids, for one request or for all.
    #[subscription(name = "subscribeBids" => "bid", unsubscribe = "unsubscribeBids", item = BidInfo, with_extensions)]
    async fn subscribe_bids(&self, request: Option<TxRef>) -> SubscriptionResult;

    /// What happens to the locks, payments, channels and transfers of a party.
    #[subscription(name = "subscribePayments" => "payment", unsubscribe = "unsubscribePayments", item = PartyNotice, with_extensions)]
    async fn subscribe_payments(&self, party: PublicKey) -> SubscriptionResult;
}
