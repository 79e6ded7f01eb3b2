//! Keeps a watchtower up to date with the newest states of the own channels (W1 to W3 of the session).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::primitives::TxRef;
use evchain_protocol::session::WatchMessage;
use evchain_protocol::state::channel::CoSignedState;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Warning};
use crate::agents::nodes::Nodes;
use crate::network::{
    Multiaddr, NetworkLimits, Service, SessionEndpoint, SessionError, SessionStream, key_in,
};

/// The first pause after the tower could not be reached; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long the tower has to answer. It asks its node.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a connection stays that nothing is said on.
const IDLE: Duration = Duration::from_secs(30);

/// The newest state of each session that runs.
type Newest = BTreeMap<TxRef, CoSignedState>;

/// Where sessions leave their newest states. Never waits; without a tower it does nothing.
#[derive(Clone, Default)]
pub(super) struct Guarding(Option<Arc<Tower>>);

struct Tower {
    newest: watch::Sender<Newest>,
    /// Ends with the agent, at once.
    _client: AbortOnDropHandle<()>,
}

impl Guarding {
    /// Begins to tell this tower, if there is one, until the last clone is dropped.
    pub(super) fn start(tower: Option<&Multiaddr>, nodes: &Nodes, key: &KeyPair) -> Result<Self, AgentError> {
        let Some(address) = tower else { return Ok(Self::default()) };
        let peer = key_in(address).ok_or_else(|| {
            AgentError::Settings(format!("the watchtower's address must end in its key, /p2p/...: {address}"))
        })?;
        let (endpoint, _) =
            SessionEndpoint::start(Service::Watching, None, nodes.chain(), key, NetworkLimits::default())?;
        let (newest, states) = watch::channel(Newest::new());
        let client = Client {
            nodes: nodes.clone(),
            endpoint,
            peer,
            address: address.clone(),
            states,
            answered: BTreeMap::new(),
            stream: None,
            said: None,
        };
        let client = AbortOnDropHandle::new(tokio::spawn(client.run()));
        Ok(Self(Some(Arc::new(Tower { newest, _client: client }))))
    }

    /// Asks for guard with this state, which is on disk.
    pub(super) fn hold(&self, state: Option<CoSignedState>) {
        if let (Some(tower), Some(state)) = (&self.0, state) {
            tower.newest.send_modify(|newest| {
                newest.insert(state.state.channel, state);
            });
        }
    }

    /// The session is over: its channel has paid out.
    pub(super) fn let_go(&self, payment: TxRef) {
        if let Some(tower) = &self.0 {
            tower.newest.send_modify(|newest| {
                newest.remove(&payment);
            });
        }
    }
}

struct Client {
    nodes: Nodes,
    endpoint: SessionEndpoint,
    peer: PublicKey,
    address: Multiaddr,
    states: watch::Receiver<Newest>,
    /// What the tower has answered to, by channel: installments released.
    answered: BTreeMap<TxRef, u32>,
    stream: Option<SessionStream>,
    /// The trouble that the user was told of.
    said: Option<String>,
}

impl Client {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(state) = self.next_unanswered() else {
                match timeout(IDLE, self.states.changed()).await {
                    Ok(Ok(())) => {}
                    // The agent has ended.
                    Ok(Err(_)) => return,
                    Err(_) => self.stream = None,
                }
                continue;
            };
            match self.ask(&state).await {
                Ok(answer) => {
                    pause = FIRST_PAUSE;
                    self.said = None;
                    self.hear(&state, answer);
                }
                Err(error) => {
                    self.stream = None;
                    self.warn(&error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// A state that the tower has not answered to.
    fn next_unanswered(&mut self) -> Option<CoSignedState> {
        let newest = self.states.borrow_and_update();
        self.answered.retain(|channel, _| newest.contains_key(channel));
        let is_new = |state: &CoSignedState| {
            self.answered.get(&state.state.channel).is_none_or(|released| *released < state.state.released)
        };
        newest.values().copied().find(is_new)
    }

    async fn ask(&mut self, state: &CoSignedState) -> Result<WatchMessage, SessionError> {
        if self.stream.is_none() {
            let opened = self.endpoint.open_session(self.peer, vec![self.address.clone()]).await?;
            self.stream = Some(opened);
            // The tower may have come back without what it had.
            self.answered.clear();
        }
        let stream = self.stream.as_mut().ok_or(SessionError::Closed)?;
        stream.send(&WatchMessage::Guard(*state).encode()).await?;
        let bytes = stream.receive(ANSWER).await?;
        WatchMessage::decode(&bytes).map_err(|error| SessionError::Failed(error.to_string()))
    }

    fn hear(&mut self, state: &CoSignedState, answer: WatchMessage) {
        let (payment, released) = (state.state.channel, state.state.released);
        self.answered.insert(payment, released);
        match answer {
            WatchMessage::Guarded(it) if it.channel == payment && it.released >= released => {
                self.nodes.observe(&AgentEvent::Guarded { payment, released: it.released });
            }
            WatchMessage::Refused(it) if it.channel == payment => {
                self.warn(&format!("{payment}: {}", it.reason));
            }
            _ => self.warn(&format!("{payment}: the watchtower answers something else")),
        }
    }

    fn warn(&mut self, reason: &str) {
        if self.said.as_deref() != Some(reason) {
            self.said = Some(reason.to_owned());
            let reason = format!("not under guard by {}: {reason}", self.peer);
            self.nodes.warn(Warning::Trouble { reason });
        }
    }
}
