//! Keeps a watchtower up to date with the newest states of the own channels (W1 to W3 of the session).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::primitives::TxRef;
use evchain_protocol::session::{GuardRefusal, WatchMessage};
use evchain_protocol::state::channel::CoSignedState;
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use self::questions::{Newest, Next, Questions};
use crate::agents::chain::nodes::Nodes;
use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Warning};
use crate::network::{
    Multiaddr, NetworkLimits, Service, SessionEndpoint, SessionError, SessionStream, key_in,
};

mod questions;

/// The first pause after the tower could not be reached; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long the tower has to answer. It asks its node.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a connection stays that nothing is said on.
const IDLE: Duration = Duration::from_secs(30);

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
            questions: Questions::default(),
            stream: None,
            said: BTreeMap::new(),
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
    questions: Questions,
    stream: Option<SessionStream>,
    /// The trouble that the user was told of: with a channel, or with the tower itself.
    said: BTreeMap<Option<TxRef>, String>,
}

impl Client {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let state = match self.next() {
                Next::Ask(state) => state,
                Next::Wait(again) => {
                    if self.wait(again).await.is_err() {
                        // The agent has ended.
                        return;
                    }
                    continue;
                }
            };
            match self.ask(&state).await {
                Ok(answer) => {
                    pause = FIRST_PAUSE;
                    self.said.remove(&None);
                    self.hear(&state, answer);
                }
                Err(error) => {
                    self.stream = None;
                    self.warn(None, error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn next(&mut self) -> Next {
        let newest = self.states.borrow_and_update();
        self.said.retain(|about, _| about.is_none_or(|channel| newest.contains_key(&channel)));
        self.questions.next(&newest, Instant::now())
    }

    /// Waits for a change, or until then; lets go of a stream that nothing is said on meanwhile.
    async fn wait(&mut self, again: Option<Instant>) -> Result<(), RecvError> {
        let idle = Instant::now() + IDLE;
        let until = again.map_or(idle, |again| again.min(idle));
        match timeout_at(until, self.states.changed()).await {
            Ok(changed) => changed?,
            Err(_) if until == idle => self.stream = None,
            Err(_) => {}
        }
        Ok(())
    }

    async fn ask(&mut self, state: &CoSignedState) -> Result<WatchMessage, SessionError> {
        if self.stream.is_none() {
            let opened = self.endpoint.open_session(self.peer, vec![self.address.clone()]).await?;
            self.stream = Some(opened);
            self.questions.connected();
        }
        let stream = self.stream.as_mut().ok_or(SessionError::Closed)?;
        stream.send(&WatchMessage::Guard(*state).encode()).await?;
        let bytes = stream.receive(ANSWER).await?;
        WatchMessage::decode(&bytes).map_err(|error| SessionError::Failed(error.to_string()))
    }

    fn hear(&mut self, state: &CoSignedState, answer: WatchMessage) {
        let (payment, released) = (state.state.channel, state.state.released);
        let (reason, why) = match answer {
            WatchMessage::Guarded(it) if it.channel == payment && it.released >= released => {
                self.questions.guarded(state);
                self.said.remove(&Some(payment));
                self.nodes.observe(&AgentEvent::Guarded { payment, released: it.released });
                return;
            }
            WatchMessage::Refused(it) if it.channel == payment => (Some(it.reason), it.reason.to_string()),
            _ => (None, "the watchtower answers something else".to_owned()),
        };
        if reason != Some(GuardRefusal::Answered) {
            // The tower closes it.
            self.stream = None;
        }
        self.questions.refused(state, reason, Instant::now());
        self.warn(Some(payment), format!("{payment}: {why}"));
    }

    /// Tells the user once.
    fn warn(&mut self, about: Option<TxRef>, reason: String) {
        if self.said.get(&about) != Some(&reason) {
            let warning = format!("not under guard by {}: {reason}", self.peer);
            self.said.insert(about, reason);
            self.nodes.warn(Warning::Trouble { reason: warning });
        }
    }
}
