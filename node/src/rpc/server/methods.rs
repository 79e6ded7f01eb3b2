use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::block::Header;
use evchain_protocol::codec;
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::finality::{Certificate, Subject};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::light::StateEntryProof;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Epoch, Height, RegionId, TxRef};
use evchain_protocol::state::account::{Account, Roles, Standing};
use evchain_protocol::state::authority::Authorities;
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::value::{MAX_VALUE_BYTES, StateValue};
use jsonrpsee::Extensions;
use jsonrpsee::core::{RpcResult, async_trait};

use super::health;
use super::hosts::Caller;
use super::queries::{Queries, no_request};
use super::rejection::rejected;
use crate::clock;
use crate::mempool::{Outcome, PoolError, SubmitError};
use crate::node::NodeHandle;
use crate::rpc::api::NodeApiServer;
use crate::rpc::authority_types::{AuthoritiesInfo, EpochStepInfo, OffenceInfo, ProposalInfo};
use crate::rpc::error::CallError;
use crate::rpc::record::RecordInfo;
use crate::rpc::state_name::StateName;
use crate::rpc::types::{
    AccountInfo, BidInfo, BlockInfo, BlockKey, ChainInfo, ChannelInfo, Finality, FinalizationInfo,
    HeaderInfo, HexBytes, LockInfo, MAX_WAIT_MS, Named, Page, PaymentInfo, PeerEntry, ProofInfo,
    RequestFilter, RequestInfo, StationInfo, Status, TransactionInfo, TransactionKey,
};

/// The most headers between a proven state and the certificate that makes it final.
const MAX_PROOF_HEADERS: usize = 256;

/// Answers calls.
#[derive(Clone)]
pub(super) struct Methods {
    pub(super) node: NodeHandle,
    pub(super) queries: Queries,
}

impl Methods {
    async fn take(&self, transaction: &str) -> Result<Hash, CallError> {
        let bytes = hex::decode(transaction.trim_start_matches("0x")).map_err(|error| {
            CallError::InvalidInput(format!("the transaction is not hexadecimal: {error}"))
        })?;
        match self.node.mempool.submit(&bytes).await {
            Ok(id) => Ok(id),
            // Sent twice, on purpose or by a client that changed nodes.
            Err(SubmitError::AlreadyFinal(place)) => Ok(self.queries.finality(place)?.transaction),
            Err(SubmitError::Pool(PoolError::Known)) => {
                let signed = evchain_protocol::transaction::SignedTransaction::from_bytes(&bytes);
                signed.map(|signed| signed.id()).map_err(|error| CallError::InvalidInput(error.to_string()))
            }
            Err(SubmitError::Rejected(reason)) => Err(rejected(&reason)),
            Err(error @ (SubmitError::Malformed(_) | SubmitError::Unverified(_))) => {
                Err(CallError::InvalidInput(error.to_string()))
            }
            Err(SubmitError::Pool(error)) => Err(CallError::Busy(error.to_string())),
            Err(SubmitError::Failed(error)) => Err(CallError::Failed(error.to_string())),
        }
    }

    /// Waits for a transaction, in a place that is free again when the call ends.
    async fn outcome(
        &self,
        extensions: &Extensions,
        transaction: Hash,
        timeout_ms: u64,
    ) -> Result<Finality, CallError> {
        let waited_ms = timeout_ms.min(MAX_WAIT_MS);
        let place = extensions.get::<Arc<Caller>>().and_then(|caller| caller.wait_place());
        // Without a place, or room for what it holds, the call is told how things stand now.
        let outcome = match &place {
            Some(_) => {
                let outcome = self.node.mempool.outcome(transaction);
                tokio::time::timeout(Duration::from_millis(waited_ms), outcome).await
            }
            None => Ok(self.node.mempool.standing(transaction).await),
        };
        match outcome {
            Ok(Outcome::Final(place)) => self.read(move |queries| queries.finality(place)).await,
            Ok(Outcome::Dropped(reason)) => Err(rejected(&reason)),
            Ok(Outcome::Waiting) => Err(CallError::Unwatched { transaction }),
            Ok(Outcome::Forgotten) => Err(CallError::NotFound(format!(
                "transaction {transaction} is neither final nor waiting at this node. Other nodes may have it, so it \
                 may still become final while its nonce is unused: if it is to be sent again, then the same signed \
                 bytes, and no new transaction in its place"
            ))),
            Ok(Outcome::Failed(error)) => Err(CallError::Failed(error)),
            Err(_) => Err(CallError::TimedOut { transaction, waited_ms }),
        }
    }

    /// Reads from disk where that holds up nobody else.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Queries) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let queries = self.queries.clone();
        let answer = tokio::task::spawn_blocking(move || question(&queries)).await;
        answer.map_err(|error| CallError::Failed(error.to_string()))?
    }

    fn authorities_now(&self) -> Result<Authorities, CallError> {
        let missing = || "the state names no authorities".to_owned();
        self.queries.object(StateKey::Authorities, missing, |value| match value {
            StateValue::Authorities(authorities) => Some(authorities),
            _ => None,
        })
    }

    fn finalization_of(&self, height: Height) -> Result<(Height, Certificate), CallError> {
        self.queries.chain().finalization(height)?.ok_or_else(|| {
            CallError::NotFound(match height {
                Height::ZERO => "block 0 is the genesis, which needs no certificate".to_owned(),
                _ => format!("no certificate for block {height} is here"),
            })
        })
    }

    /// The headers from one that was proven to the one that a certificate names, and that certificate.
    fn headers_to_certificate(&self, first: &Header) -> Result<(Vec<HexBytes>, Certificate), CallError> {
        let (last, certificate) = self.finalization_of(first.height)?;
        let mut height = first.height;
        let mut headers = vec![HexBytes(codec::encode(first))];
        while height < last {
            height = height.next().map_err(|error| CallError::Failed(error.to_string()))?;
            if headers.len() >= MAX_PROOF_HEADERS {
                return Err(CallError::Busy(
                    "no certificate is near enough to the newest block: ask again".to_owned(),
                ));
            }
            headers.push(self.queries.header(BlockKey::Height(height))?.encoded);
        }
        Ok((headers, certificate))
    }
}

#[async_trait]
impl NodeApiServer for Methods {
    async fn status(&self) -> RpcResult<Status> {
        let chain = self.queries.chain();
        let tip = chain.tip();
        let consensus = self.node.consensus.status();
        let mempool = self.node.mempool.status();
        let peers = self.node.network.connected_peers().await.map_or(0, |peers| peers.len());
        Ok(Status {
            chain: chain.chain(),
            name: chain.genesis().name.to_string(),
            height: tip.height,
            block: tip.hash(),
            time: tip.time_ms,
            tip_age_ms: clock::now().since(tip.time_ms),
            syncing: health::is_syncing(&self.node),
            epoch: tip.epoch,
            view: consensus.view,
            leader: consensus.leader,
            votes: consensus.votes,
            node: self.node.network.local_key(),
            peers,
            waiting_transactions: mempool.transactions,
            waiting_bytes: mempool.bytes,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    async fn chain(&self) -> RpcResult<ChainInfo> {
        let chain = self.queries.chain();
        let genesis = chain.genesis();
        Ok(ChainInfo {
            id: chain.chain(),
            name: genesis.name.to_string(),
            genesis_time: genesis.time,
            treasury: genesis.treasury,
        })
    }

    fn genesis(&self) -> RpcResult<Genesis> {
        Ok(self.queries.chain().genesis().clone())
    }

    async fn submit(&self, transaction: String) -> RpcResult<Hash> {
        Ok(self.take(&transaction).await?)
    }

    async fn submit_and_wait(
        &self,
        extensions: &Extensions,
        transaction: String,
        timeout_ms: u64,
    ) -> RpcResult<Finality> {
        let id = self.take(&transaction).await?;
        Ok(self.outcome(extensions, id, timeout_ms).await?)
    }

    async fn wait(&self, extensions: &Extensions, transaction: Hash, timeout_ms: u64) -> RpcResult<Finality> {
        Ok(self.outcome(extensions, transaction, timeout_ms).await?)
    }

    async fn transaction(&self, transaction: TransactionKey) -> RpcResult<TransactionInfo> {
        if let TransactionKey::Id(id) = transaction
            && let Some(waiting) = self.node.mempool.lookup(vec![id]).await.pop().flatten()
        {
            return Ok(TransactionInfo {
                id,
                bytes: waiting.encoded_len(),
                finality: None,
                signed: waiting.signed().clone(),
            });
        }
        let info = self.read(move |queries| {
            let place = match transaction {
                TransactionKey::Place(place) => place,
                TransactionKey::Id(id) => queries.chain().place_of(&id)?.ok_or_else(|| {
                    CallError::NotFound(format!("no transaction with the id {id} is final or waiting here"))
                })?,
            };
            let finality = queries.finality(place)?;
            let signed = queries.signed(place)?;
            Ok(TransactionInfo {
                id: finality.transaction,
                bytes: finality.bytes,
                finality: Some(finality),
                signed,
            })
        });
        Ok(info.await?)
    }

    fn header(&self, block: BlockKey) -> RpcResult<HeaderInfo> {
        Ok(self.queries.header(block)?)
    }

    fn block(&self, block: BlockKey) -> RpcResult<BlockInfo> {
        Ok(self.queries.block(block)?)
    }

    fn events(&self, height: Height) -> RpcResult<Vec<EventRecord>> {
        Ok(self.queries.events(height)?)
    }

    fn finalization(&self, height: Height) -> RpcResult<FinalizationInfo> {
        let (height, certificate) = self.finalization_of(height)?;
        let Subject::Finalize(subject) = certificate.subject else {
            return Err(CallError::Failed("the stored certificate is not a finalization".to_owned()).into());
        };
        // Indexes count in the set of the certificate's epoch, which may not be that of now.
        let authorities = self.queries.chain().authorities_of(subject.epoch).map_err(CallError::from)?;
        let signers = authorities.map(|authorities| {
            let keys = certificate.signers.iter().map(|index| authorities.set.key(index.get().into()));
            keys.flatten().copied().collect()
        });
        Ok(FinalizationInfo {
            height,
            block: subject.block,
            epoch: subject.epoch,
            view: subject.view,
            signer_indexes: certificate.signers.iter().collect(),
            signers,
            certificate: HexBytes(codec::encode(&certificate)),
        })
    }

    async fn account(&self, address: PublicKey) -> RpcResult<AccountInfo> {
        let account = self
            .read(move |queries| {
                let chain = queries.chain();
                if let Some(account) = chain.state().account(&address)? {
                    return Ok(account);
                }
                // G7: what it acts with until its first transaction makes its account.
                if chain.authorities()?.set.index_of(&address).is_some() {
                    return Ok(Account::new(Amount::ZERO, Standing::Admitted(Roles::NONE)));
                }
                Err(CallError::NotFound(format!(
                    "{address} has no account: an authority admits it, or a participant pays it first"
                )))
            })
            .await?;
        let next_nonce = self.node.mempool.next_nonce(address).await.unwrap_or(account.nonce);
        // A sponsored account's follows from its standing, and is shown all the same.
        let account = Account { withdraw_to: account.withdrawal_account(), ..account };
        Ok(AccountInfo { address, account, next_nonce })
    }

    fn station(&self, producer: PublicKey) -> RpcResult<StationInfo> {
        let missing = || format!("{producer} has no station record");
        let station = self.queries.object(StateKey::Station(producer), missing, |value| match value {
            StateValue::Station(station) => Some(station),
            _ => None,
        })?;
        Ok(StationInfo { producer, station })
    }

    fn stations(
        &self,
        region: Option<RegionId>,
        after: Option<PublicKey>,
    ) -> RpcResult<Page<StationInfo, PublicKey>> {
        let wanted = |info: &StationInfo| region.is_none_or(|region| region == info.station.region);
        Ok(self.queries.stations(after, wanted)?)
    }

    fn record(&self, producer: PublicKey) -> RpcResult<RecordInfo> {
        Ok(self.queries.record(producer)?)
    }

    fn bidder_records(&self, request: TxRef) -> RpcResult<Vec<RecordInfo>> {
        Ok(self.queries.bidder_records(request)?)
    }

    fn energy_request(&self, request: TxRef) -> RpcResult<RequestInfo> {
        let value =
            self.node.chain.reader().state().get(&StateKey::Request(request)).map_err(CallError::from)?;
        match value {
            Some(StateValue::Request(value)) => Ok(Named { name: request, value }),
            _ => Err(no_request(request).into()),
        }
    }

    fn requests(&self, filter: RequestFilter, after: Option<TxRef>) -> RpcResult<Page<RequestInfo, TxRef>> {
        let now = self.queries.chain().tip().time_ms;
        let pick = |value| match value {
            StateValue::Request(request) => Some(request),
            _ => None,
        };
        let page = self.queries.named(StateKey::Request, after, pick, |request| {
            filter.region.is_none_or(|region| region == request.region)
                && filter.consumer.is_none_or(|consumer| consumer == request.consumer)
                && (!filter.open || (request.commitment.is_none() && now < request.bid_deadline))
        })?;
        Ok(page)
    }

    fn bids(&self, request: TxRef) -> RpcResult<Vec<BidInfo>> {
        Ok(self.queries.bids(request)?)
    }

    fn lock(&self, lock: TxRef) -> RpcResult<LockInfo> {
        let missing = || format!("there is no lock {lock}, or no longer: it was claimed or returned");
        let value = self.queries.object(StateKey::Lock(lock), missing, |value| match value {
            StateValue::Lock(lock) => Some(lock),
            _ => None,
        })?;
        Ok(Named { name: lock, value })
    }

    fn locks(&self, party: Option<PublicKey>, after: Option<TxRef>) -> RpcResult<Page<LockInfo, TxRef>> {
        let pick = |value| match value {
            StateValue::Lock(lock) => Some(lock),
            _ => None,
        };
        let page = self.queries.named(StateKey::Lock, after, pick, |lock| {
            party.is_none_or(|party| party == lock.payer || party == lock.payee)
        })?;
        Ok(page)
    }

    fn payment(&self, payment: TxRef) -> RpcResult<PaymentInfo> {
        let missing =
            || format!("there is no payment {payment}, or no longer: all its installments are settled");
        let value = self.queries.object(StateKey::Payment(payment), missing, |value| match value {
            StateValue::Payment(payment) => Some(payment),
            _ => None,
        })?;
        Ok(Named { name: payment, value })
    }

    fn payments(
        &self,
        party: Option<PublicKey>,
        after: Option<TxRef>,
    ) -> RpcResult<Page<PaymentInfo, TxRef>> {
        let pick = |value| match value {
            StateValue::Payment(payment) => Some(payment),
            _ => None,
        };
        let page = self.queries.named(StateKey::Payment, after, pick, |payment| {
            party.is_none_or(|party| party == payment.consumer || party == payment.producer)
        })?;
        Ok(page)
    }

    fn channel(&self, channel: TxRef) -> RpcResult<ChannelInfo> {
        let missing = || format!("there is no channel {channel}, or no longer: it has paid out");
        let value = self.queries.object(StateKey::Channel(channel), missing, |value| match value {
            StateValue::Channel(channel) => Some(channel),
            _ => None,
        })?;
        Ok(Named { name: channel, value })
    }

    fn channels(
        &self,
        party: Option<PublicKey>,
        after: Option<TxRef>,
    ) -> RpcResult<Page<ChannelInfo, TxRef>> {
        let pick = |value| match value {
            StateValue::Channel(channel) => Some(channel),
            _ => None,
        };
        let page = self.queries.named(StateKey::Channel, after, pick, |channel| {
            party.is_none_or(|party| party == channel.consumer || party == channel.producer)
        })?;
        Ok(page)
    }

    fn params(&self) -> RpcResult<Params> {
        Ok(self.queries.chain().state().params().map_err(CallError::from)?)
    }

    fn authorities(&self) -> RpcResult<AuthoritiesInfo> {
        Ok(self.authorities_now()?.into())
    }

    fn proposals(&self) -> RpcResult<Vec<ProposalInfo>> {
        let Authorities { set, .. } = self.authorities_now()?;
        Ok(self.queries.proposals(&set)?)
    }

    fn evidence(&self) -> RpcResult<Vec<OffenceInfo>> {
        Ok(self.queries.offences()?)
    }

    fn epoch_step(&self, epoch: Epoch) -> RpcResult<EpochStepInfo> {
        let end = self.queries.end_of(epoch, self.authorities_now()?.epoch)?;
        let (_, certificate) = self.finalization_of(end.header.height)?;
        let mut step = EpochStepInfo {
            header: HexBytes(codec::encode(&end.header)),
            certificate: HexBytes(codec::encode(&certificate)),
            joined: Vec::new(),
            left: Vec::new(),
        };
        for record in &end.events {
            match record.event {
                Event::AuthorityJoined { authority } => step.joined.push(authority),
                Event::AuthorityLeft { authority } => step.left.push(authority),
                _ => {}
            }
        }
        Ok(step)
    }

    async fn proof(&self, name: StateName) -> RpcResult<ProofInfo> {
        let failed = |error: &dyn std::fmt::Display| CallError::Failed(error.to_string());
        let proven = self.node.chain.prove(*name.key()).await.map_err(|error| failed(&error))?;
        let height = proven.header.height;
        let value = match &proven.value {
            None => None,
            Some(bytes) => {
                let value: StateValue =
                    codec::decode(bytes, MAX_VALUE_BYTES).map_err(|error| failed(&error))?;
                Some(serde_json::to_value(value).map_err(|error| failed(&error))?)
            }
        };
        let proof =
            StateEntryProof::from_parts(proven.value, proven.proof).map_err(|error| failed(&error))?;
        let methods = self.clone();
        let (headers, certificate) =
            tokio::task::spawn_blocking(move || methods.headers_to_certificate(&proven.header))
                .await
                .map_err(|error| failed(&error))??;
        Ok(ProofInfo {
            name,
            height,
            value,
            proof: HexBytes(codec::encode(&proof)),
            headers,
            certificate: HexBytes(codec::encode(&certificate)),
        })
    }

    async fn peers(&self) -> RpcResult<Vec<PeerEntry>> {
        let peers = self.node.network.connected_peers().await;
        let peers = peers.map_err(|error| CallError::Failed(error.to_string()))?;
        let entry = |peer: crate::network::PeerInfo| PeerEntry {
            key: peer.key,
            address: peer.address.to_string(),
            is_authority: peer.is_authority,
            agent: peer.agent,
        };
        Ok(peers.into_iter().map(entry).collect())
    }
}
