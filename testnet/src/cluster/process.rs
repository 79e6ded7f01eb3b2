use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use evchain_node::rpc::Endpoint;
use evchain_protocol::crypto::PublicKey;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a validator may take to stop by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Orders that wait for a validator's keeper.
const ORDERS: usize = 8;
/// The part of a log that is shown when a validator has ended.
const TAIL_BYTES: u64 = 2_000;

/// A validator of the testnet: its process, or its successors where it was started again.
#[derive(Debug)]
pub struct Validator {
    /// Its number, from 1.
    pub number: usize,
    /// Its key.
    pub key: PublicKey,
    /// Where its RPC is.
    pub rpc: Endpoint,
    /// Where its peers reach it.
    pub p2p: String,
    /// Where it writes its log.
    pub log: PathBuf,
    state: watch::Receiver<State>,
    orders: mpsc::Sender<Order>,
    keeper: JoinHandle<()>,
}

/// What has happened to a validator's process.
#[derive(Debug, Clone)]
pub enum Incident {
    /// It ended without being told to.
    Ended {
        /// Which.
        number: usize,
        /// How.
        how: String,
        /// When it starts again, if it does.
        again_after: Option<Duration>,
    },
    /// It was started again.
    Restarted {
        /// Which.
        number: usize,
        /// Its new process.
        pid: u32,
    },
    /// It could not be started again.
    NotStarted {
        /// Which.
        number: usize,
        /// Why not.
        reason: String,
    },
}

impl std::fmt::Display for Incident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended { number, how, again_after: Some(after) } => {
                write!(f, "validator {number} has ended ({how}); it starts again in {} s", after.as_secs())
            }
            Self::Ended { number, how, again_after: None } => {
                write!(f, "validator {number} has ended ({how})")
            }
            Self::Restarted { number, pid } => write!(f, "validator {number} runs again, as process {pid}"),
            Self::NotStarted { number, reason } => {
                write!(f, "validator {number} cannot be started again: {reason}")
            }
        }
    }
}

/// Where a validator's process stands.
#[derive(Debug, Clone)]
enum State {
    Running { pid: u32 },
    Ended { how: String },
}

enum Order {
    /// Kill it; it is started again as if it had ended by itself.
    Kill,
    /// Kill it, and start it again only when told.
    Crash,
    /// Stop it, and start it again only when told.
    Rest,
    /// Start it now.
    Wake,
    /// Stop it for good.
    Stop,
}

/// How to start a validator's process, each time anew.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// What comes before the program, such as `ip netns exec NAME`. It must become the program.
    pub(super) wrapper: Vec<std::ffi::OsString>,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<std::ffi::OsString>,
    pub(super) log: PathBuf,
}

/// What a validator is, beside its process.
pub(super) struct Identity {
    pub(super) number: usize,
    pub(super) key: PublicKey,
    pub(super) rpc: Endpoint,
    pub(super) p2p: String,
}

impl Validator {
    /// Starts the process and the task that keeps it.
    pub(super) fn start(
        identity: Identity,
        recipe: Recipe,
        restart_after: Option<Duration>,
        incidents: mpsc::Sender<Incident>,
    ) -> io::Result<Self> {
        let Identity { number, key, rpc, p2p } = identity;
        let child = recipe.spawn()?;
        let (state_sender, state) = watch::channel(running(&child));
        let (orders, order_receiver) = mpsc::channel(ORDERS);
        let log = recipe.log.clone();
        let keeper =
            Keeper { number, recipe, restart_after, incidents, state: state_sender, orders: order_receiver };
        let keeper = tokio::spawn(keeper.run(child));
        Ok(Self { number, key, rpc, p2p, log, state, orders, keeper })
    }

    /// The id of its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.pid_then()()
    }

    /// What gives the same later, also where this is gone.
    pub fn pid_then(&self) -> impl Fn() -> Option<u32> + Send + Sync + 'static {
        let state = self.state.clone();
        move || match *state.borrow() {
            State::Running { pid } => Some(pid),
            State::Ended { .. } => None,
        }
    }

    /// How it ended, if it does not run.
    pub fn ended(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Running { .. } => None,
            State::Ended { how } => Some(how.clone()),
        }
    }

    /// Kills its process as a crash would, without warning. It is started again as if it had ended
    /// by itself.
    pub async fn kill(&self) {
        // A keeper that is gone has no process.
        let _ = self.orders.send(Order::Kill).await;
    }

    /// Kills its process as a crash would; it is not started again before [`Self::wake`]. Returns when it
    /// has ended.
    pub async fn crash(&self) {
        let _ = self.orders.send(Order::Crash).await;
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| matches!(state, State::Ended { .. })).await;
    }

    /// Stops its process, which is not started again before [`Self::wake`]. Returns when it has ended.
    pub async fn rest(&self) {
        let _ = self.orders.send(Order::Rest).await;
        let mut state = self.state.clone();
        // The state of a keeper that is gone is its last.
        let _ = state.wait_for(|state| matches!(state, State::Ended { .. })).await;
    }

    /// Starts its process if it does not run.
    pub async fn wake(&self) {
        let _ = self.orders.send(Order::Wake).await;
    }

    /// Tells the process to stop, and sees to it that it does.
    pub async fn stop(self) {
        let _ = self.orders.send(Order::Stop).await;
        if let Err(error) = self.keeper.await {
            tracing::error!(%error, number = self.number, "testnet: the keeper of a validator failed");
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(cannot be read: {error})"))
    }
}

impl Recipe {
    fn spawn(&self) -> io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut line = self.wrapper.iter().map(AsRef::as_ref).chain([self.program.as_os_str()]);
        let first = line.next().unwrap_or(self.program.as_os_str());
        Command::new(first)
            .args(line)
            .args(&self.arguments)
            // The validator stops when its standard input ends, which it does however this process
            // ends: no validator outlives the testnet.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is for the testnet, which stops its validators itself.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Keeps one validator running.
struct Keeper {
    number: usize,
    recipe: Recipe,
    restart_after: Option<Duration>,
    incidents: mpsc::Sender<Incident>,
    state: watch::Sender<State>,
    orders: mpsc::Receiver<Order>,
}

impl Keeper {
    async fn run(mut self, first: Child) {
        let mut current = Some(first);
        loop {
            let mut again_after = self.restart_after;
            if let Some(child) = current.take() {
                match self.attend(child).await {
                    Ending::Itself(how) => {
                        self.state.send_replace(State::Ended { how: how.clone() });
                        self.tell(Incident::Ended { number: self.number, how, again_after });
                    }
                    Ending::Resting => {
                        self.state.send_replace(State::Ended { how: "told to".to_owned() });
                        again_after = None;
                    }
                    Ending::Stopped => return,
                }
            }
            if !self.pause(again_after).await {
                return;
            }
            match self.recipe.spawn() {
                Ok(child) => {
                    let state = running(&child);
                    if let State::Running { pid } = state {
                        self.tell(Incident::Restarted { number: self.number, pid });
                    }
                    self.state.send_replace(state);
                    current = Some(child);
                }
                Err(error) => {
                    self.tell(Incident::NotStarted { number: self.number, reason: error.to_string() });
                }
            }
        }
    }

    /// Waits until the process has ended, by itself or as told.
    async fn attend(&mut self, mut child: Child) -> Ending {
        // Taken, since waiting for a child closes what it still has.
        let stdin = child.stdin.take();
        loop {
            tokio::select! {
                status = child.wait() => return Ending::Itself(describe(status)),
                order = self.orders.recv() => match order {
                    Some(Order::Kill) => {
                        if let Err(error) = child.start_kill() {
                            tracing::warn!(%error, number = self.number, "testnet: cannot kill a validator");
                        }
                    }
                    Some(Order::Wake) => {}
                    Some(Order::Crash) => {
                        if let Err(error) = child.kill().await {
                            tracing::warn!(%error, number = self.number, "testnet: cannot kill a validator");
                        }
                        return Ending::Resting;
                    }
                    Some(Order::Rest) => {
                        stop(child, stdin).await;
                        return Ending::Resting;
                    }
                    Some(Order::Stop) | None => {
                        stop(child, stdin).await;
                        return Ending::Stopped;
                    }
                }
            }
        }
    }

    /// Waits until the process is due again; false if it never is.
    async fn pause(&mut self, mut again_after: Option<Duration>) -> bool {
        let ended = Instant::now();
        loop {
            let due = async {
                match again_after {
                    Some(after) => tokio::time::sleep_until(ended + after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return true,
                order = self.orders.recv() => match order {
                    Some(Order::Kill) => {}
                    Some(Order::Rest | Order::Crash) => again_after = None,
                    Some(Order::Wake) => return true,
                    Some(Order::Stop) | None => return false,
                }
            }
        }
    }

    fn tell(&self, incident: Incident) {
        // Who does not read them does not want to know.
        let _ = self.incidents.try_send(incident);
    }
}

/// How a process came to its end.
enum Ending {
    Itself(String),
    Resting,
    Stopped,
}

/// Ends a process: politely, then not.
async fn stop(mut child: Child, stdin: Option<ChildStdin>) {
    drop(stdin);
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        tracing::error!(%error, "testnet: cannot end a validator");
    }
}

fn running(child: &Child) -> State {
    match child.id() {
        Some(pid) => State::Running { pid },
        None => State::Ended { how: "at once".to_owned() },
    }
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("unknown: {error}"),
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
