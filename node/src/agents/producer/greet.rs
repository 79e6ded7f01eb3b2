//! Hears a new connection's first message, and asks the chain whether it is true.
//!
//! The agent asks its node about each connection of a customer, whom the chain shows. Strangers are judged few at a
//! time, on one look, and never in a customer's place.

use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Span, TxRef};
use evchain_protocol::session::{ChainFacts, Message, Open, PaymentKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::agents::chain::availability::sold_at_once;
use crate::agents::chain::nodes::Nodes;
use crate::agents::error::AgentError;
use crate::network::{GuestKeys, SessionStream};
use crate::rpc::{NodeApiClient, Status};

/// How long a new connection may stay silent.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// The same for a stranger.
const FIRST_MESSAGE_OF_STRANGER: Duration = Duration::from_secs(3);
/// Strangers that are judged at the same time. One that comes meanwhile is closed. A consumer that has just paid loses
/// nothing by it: it tries again, and is a customer by then.
const MAX_JUDGED: usize = 4;
/// How long a stranger waits for its look, so that nonsense costs its sender time, and a node few questions.
const BEFORE_LOOK: Duration = Duration::from_millis(250);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the own node may need to have a block that the consumer's has.
const CATCH_UP: Duration = Duration::from_secs(5);
/// The pause between looks at a node that is behind.
const POLL: Duration = Duration::from_millis(100);
/// What a consumer needs to hear that it should cancel, and to do it: some finalities, and the way.
const CANCEL_TIME: Span = Span::new(2_000);

/// A connection that has said what it wants.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) stream: SessionStream,
    pub(super) message: Message,
    /// For an `Open`.
    pub(super) facts: Option<Facts>,
    /// A stranger's place among those that are judged.
    _look: Option<OwnedSemaphorePermit>,
}

/// What an `Open` is checked against.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) chain: ChainFacts,
    /// The chain's parameters, which can change with each epoch.
    pub(super) params: Params,
    /// Whether all connectors are sold to others, who paid before, and the consumer can still cancel (O9).
    pub(super) sold_out: bool,
}

impl Greeted {
    /// The payment that it is about, if it can begin or go on with a session.
    pub(super) fn payment(&self) -> Option<TxRef> {
        match &self.message {
            Message::Open(open) => Some(open.payment),
            Message::Resume(resume) => Some(resume.payment),
            _ => None,
        }
    }
}

/// What is needed to judge connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Greeter {
    nodes: Nodes,
    own: PublicKey,
    /// The connectors of a producer that sells more than it has.
    overbooked: Option<u16>,
    /// Whose connections are asked about each time.
    expected: watch::Receiver<GuestKeys>,
    /// One permit for each stranger that is judged.
    looks: Arc<Semaphore>,
}

impl Greeter {
    pub(super) fn new(
        nodes: Nodes,
        own: PublicKey,
        overbooked: Option<u16>,
        expected: watch::Receiver<GuestKeys>,
    ) -> Self {
        Self { nodes, own, overbooked, expected, looks: Arc::new(Semaphore::new(MAX_JUDGED)) }
    }

    /// Waits for the first message. None for a connection that says nothing of use, and for a stranger that
    /// comes while others are judged.
    pub(super) async fn greet(mut self, mut stream: SessionStream) -> Option<Greeted> {
        let remote = stream.remote();
        let within = if self.expects(&remote) { FIRST_MESSAGE } else { FIRST_MESSAGE_OF_STRANGER };
        let bytes = stream.receive(within).await.ok()?;
        let message = match Message::decode(&bytes) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%remote, %error, "producer: a first message that is none");
                return None;
            }
        };
        if let Message::Open(open) = &message {
            self.wait_for_news(&remote, open.payment).await;
        }
        if self.expects(&remote) {
            return self.look(stream, message, None).await;
        }
        let Ok(look) = Arc::clone(&self.looks).try_acquire_owned() else {
            tracing::debug!(%remote, "producer: closing a stranger, as others are judged");
            return None;
        };
        sleep(BEFORE_LOOK).await;
        timeout(LOOK_TIMEOUT, self.look(stream, message, Some(look))).await.ok()?
    }

    fn expects(&self, key: &PublicKey) -> bool {
        self.expected.borrow().contains(key)
    }

    /// A payment in a block that this agent does not know of yet: its consumer's node may have it a little
    /// earlier. Who paid is expected soon after the block is known.
    async fn wait_for_news(&mut self, remote: &PublicKey, payment: TxRef) {
        if self.nodes.newest() < payment.height() {
            let is_expected = self.expected.wait_for(|expected| expected.contains(remote));
            // In vain where the block does not come: the look finds that out.
            let _ = timeout(CATCH_UP, is_expected).await;
        }
    }

    async fn look(
        self,
        stream: SessionStream,
        message: Message,
        look: Option<OwnedSemaphorePermit>,
    ) -> Option<Greeted> {
        let Self { nodes, own, overbooked, .. } = self;
        let Message::Open(open) = &message else {
            return Some(Greeted { stream, message, facts: None, _look: look });
        };
        let looked = async {
            let params = "ask for the chain's parameters";
            let params = nodes.need(params, |rpc| async move { rpc.params().await }).await?;
            let Some(chain) = facts(&nodes, own, open).await? else { return Ok(None) };
            let sold_out = is_sold_out(&nodes, own, overbooked, open, &chain).await?;
            Ok::<_, AgentError>(Some(Facts { chain, params, sold_out }))
        };
        match looked.await {
            Ok(Some(facts)) => Some(Greeted { stream, message, facts: Some(facts), _look: look }),
            Ok(None) => {
                let (remote, block) = (stream.remote(), open.payment.height());
                tracing::warn!(%remote, %block, "producer: closing, as the node does not have the payment's block; is it behind?");
                None
            }
            Err(error) => {
                let remote = stream.remote();
                tracing::warn!(%remote, %error, "producer: cannot ask the chain about a session");
                None
            }
        }
    }
}

/// O9. Only a producer that overbooks can be sold out: one that keeps a connector for each bid sells no more than it has.
async fn is_sold_out(
    nodes: &Nodes,
    own: PublicKey,
    overbooked: Option<u16>,
    open: &Open,
    facts: &ChainFacts,
) -> Result<bool, AgentError> {
    let (Some(request), Some(bid)) = (&facts.request, &facts.bid) else { return Ok(false) };
    let Some(connectors) = overbooked else { return Ok(false) };
    // Single locks can't be taken back.
    let can_cancel = open.kind != PaymentKind::Single;
    if !can_cancel || facts.time.saturating_after(CANCEL_TIME) >= bid.cancel_by {
        return Ok(false);
    }
    let sold = sold_at_once(nodes, own, request.window, |other| other < open.payment).await?;
    Ok(sold >= usize::from(connectors))
}

/// What the final chain says about an `Open`.
///
/// The questions go to one node, one after the other, and blocks may come between. That is as good
/// as one state: a commitment stands when the payment does and ends the bidding, and a payment only
/// ever loses installments. The time comes before the payment: what is still there later was not cancelled
/// until then (S8).
///
/// None while no node has the payment's block: the consumer is not told that it has not paid, which would be for good,
/// only because this producer's node is behind.
async fn facts(nodes: &Nodes, own: PublicKey, open: &Open) -> Result<Option<ChainFacts>, AgentError> {
    if !has_block_of(nodes, open.payment).await? {
        return Ok(None);
    }
    let name = open.opening.request;
    let request = nodes.ask("ask for a request", |rpc| async move { rpc.energy_request(name).await }).await?;
    let bids =
        nodes.ask("ask for bids", |rpc| async move { rpc.bids(name).await }).await?.unwrap_or_default();
    let status = status(nodes).await?;
    nodes.saw(status.height);
    let payment = match &request {
        Some(request) => nodes.paying(open, &request.value).await?,
        None => None,
    };
    Ok(Some(ChainFacts {
        chain: nodes.chain(),
        time: status.time,
        request: request.map(|found| found.value),
        bid: bids.into_iter().find(|bid| bid.producer == own).map(|bid| bid.bid),
        payment,
        served: false,
    }))
}

/// Whether the payment's block is there, or comes within [`CATCH_UP`]: the consumer's node may have it a little earlier.
async fn has_block_of(nodes: &Nodes, payment: TxRef) -> Result<bool, AgentError> {
    let has_block = async {
        loop {
            let height = status(nodes).await?.height;
            nodes.saw(height);
            if height >= payment.height() {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    timeout(CATCH_UP, has_block).await.unwrap_or(Ok(false))
}

async fn status(nodes: &Nodes) -> Result<Status, AgentError> {
    nodes.need("ask where the chain is", |rpc| async move { rpc.status().await }).await
}
