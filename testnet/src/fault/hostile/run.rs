use std::sync::Arc;
use std::time::Duration;

use evchain_node::wallet::{Sender, Wallet};
use evchain_protocol::primitives::Span;
use evchain_protocol::state::account::Roles;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::participant::Admit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::attack::{Attack, Role, Sent};
use super::authority;
use super::field::{Field, attackers};
use super::figures::{AttackFigures, Figures, Measured, names};
use super::honest::{Honest, Service, honest};
use super::watch::{Watch, drops};
use crate::fault::error::FaultError;
use crate::fault::report::{FaultKind, FaultReport};
use crate::fault::run::FaultOptions;
use crate::fault::trial::{ALL, Trial, new_chain_with};
use crate::progress::Progress;

/// The authority whose key the attacker has, counted from 1; before that it is the validator that restarts.
const SEAT: usize = 4;
/// Those that are left then.
const OTHERS: [usize; 3] = [1, 2, 3];
/// D of the consensus: the validators are on one machine, and a silent leader costs twice as much.
const HOP_BOUND: Span = Span::new(150);
/// In blocks. No epoch ends during the trial, so that epoch 1 is the next one all the time, as `early-messages` has it.
const EPOCH_LENGTH: u64 = 1_000_000;
/// Within this time after an attack everything is as before.
const RECOVERY: Duration = Duration::from_secs(5);
/// How long is measured where nobody attacks.
const CALM: Duration = Duration::from_secs(3);
/// The others refuse a peer for 10 minutes at most (`node/docs/network.md`).
const WELCOME_WITHIN: Duration = Duration::from_mins(11);
/// How long a validator that restarts during an attack is down.
const DOWN: Duration = Duration::from_secs(1);

/// Attacks by strangers and participants, one after the other and all at once; then those by an authority,
/// whose validator rests meanwhile.
pub(in crate::fault) async fn hostile(
    options: &FaultOptions,
    progress: &Progress,
) -> Result<FaultReport, FaultError> {
    let accounts: Vec<_> = attackers().into_iter().chain(honest()).collect();
    let files = new_chain_with(options, &accounts, |params| {
        params.hop_bound = HOP_BOUND;
        params.idle_interval = HOP_BOUND;
        params.epoch_length = EPOCH_LENGTH;
    })?;
    let trial = Trial::start_at(FaultKind::Hostile, files, Vec::new(), options, progress).await?;
    let mut siege = Siege::begin(trial, options.attack).await?;
    let chosen = |role: Role| options.attacks.iter().copied().filter(move |attack| attack.role() == role);
    let strangers: Vec<_> = chosen(Role::Stranger).chain(chosen(Role::Participant)).collect();
    for attack in &strangers {
        siege.attack(&[*attack]).await?;
    }
    if strangers.len() > 1 {
        siege.attack(&strangers).await?;
    }
    if chosen(Role::Authority).next().is_some() {
        siege.trial.cluster.validators()[SEAT - 1].rest().await;
        siege.trial.note(format!("validator {SEAT} rests, and an attacker has its key"));
        // One leader of four is silent from now on, which is no attack's doing.
        siege.calm = calm(&mut siege.honest).await;
        for attack in chosen(Role::Authority) {
            siege.wait_for_welcome().await;
            siege.attack(&[attack]).await?;
        }
        // The validator itself has done nothing, and would be refused for what the attacker did.
        siege.wait_for_welcome().await;
        siege.trial.cluster.validators()[SEAT - 1].wake().await;
    }
    siege.end().await
}

/// A trial whose honest clients and validators are watched while others attack.
struct Siege {
    trial: Trial,
    field: Arc<Field>,
    honest: Honest,
    watch: Watch,
    length: Duration,
    /// What honest clients get without attack.
    calm: Service,
    figures: Vec<AttackFigures>,
}

impl Siege {
    async fn begin(mut trial: Trial, length: Duration) -> Result<Self, FaultError> {
        let files = trial.cluster.files();
        let authority = Wallet::open(&files.validator_wallet_path(SEAT))?.main_key();
        let chain = trial.clients[0].chain_id();
        let field = Arc::new(Field::of(&trial.cluster, chain, authority)?);
        let mut honest = Honest::start(files, &trial.clients[..OTHERS.len()]).await?;
        let watch = Watch::start(&trial.cluster);
        trial.goes_on(&ALL, "before").await;
        let calm = calm(&mut honest).await;
        Ok(Self { trial, field, honest, watch, length, calm, figures: Vec::new() })
    }

    /// Attacks in all these ways at the same time, and measures what honest clients get.
    async fn attack(&mut self, attacks: &[Attack]) -> Result<(), FaultError> {
        let name = names(attacks);
        let drops_before = drops(&self.trial.cluster).await;
        let (begun, stop) = (Instant::now(), CancellationToken::new());
        let mut running = JoinSet::new();
        for attack in attacks {
            let (field, stop) = (Arc::clone(&self.field), stop.clone());
            let attack = *attack;
            running.spawn(async move { attack.run(&field, &stop).await });
        }
        self.meanwhile(attacks).await?;
        tokio::time::sleep_until(begun + self.length).await;
        let ended = Instant::now();
        stop.cancel();
        let mut sent: Sent = 0;
        while let Some(outcome) = running.join_next().await {
            sent += outcome??;
        }
        sleep(RECOVERY.saturating_sub(ended.elapsed())).await;
        let recovered = Instant::now();
        let after = calm(&mut self.honest).await;
        let mut meanwhile = self.watch.condition(begun, recovered);
        if attacks == [Attack::HalfOpen] {
            // It was killed on purpose.
            meanwhile.silent.remove(&SEAT);
        }
        let measured = Measured {
            name,
            sent,
            before: self.calm,
            during: self.honest.service(begun, ended),
            after,
            meanwhile,
            afterwards: self.watch.condition(recovered, Instant::now()),
            drops: drops(&self.trial.cluster).await.saturating_sub(drops_before),
        };
        let figures = AttackFigures::judge(measured);
        self.trial.progress(&format!(
            "{}: {} sent, {} of {} transfers a second, {} MB",
            figures.attack, figures.sent, figures.during, figures.before, figures.peak_mb
        ));
        for failure in figures.failures.iter().chain(&figures.delays) {
            self.trial.fail(failure.clone());
        }
        self.figures.push(figures);
        Ok(())
    }

    /// Waits until the attacker's seat is no longer refused for its last attack: otherwise the next one reaches nobody.
    async fn wait_for_welcome(&mut self) {
        let begun = Instant::now();
        while !authority::is_welcome(&self.field).await {
            if begun.elapsed() > WELCOME_WITHIN {
                return self.trial.fail("the attacker's seat is refused for longer than any refusal lasts");
            }
            sleep(CALM).await;
        }
        let waited = begun.elapsed();
        if waited > RECOVERY {
            self.trial.progress(&format!("the seat is let in again after {} s", waited.as_secs()));
        }
    }

    /// What honest operators do while some attacks last.
    async fn meanwhile(&mut self, attacks: &[Attack]) -> Result<(), FaultError> {
        match attacks {
            [Attack::HalfOpen] => self.restart().await,
            [Attack::SilentTeller] => self.join().await,
            _ => Ok(()),
        }
    }

    /// A validator restarts and has to find all others.
    async fn restart(&mut self) -> Result<(), FaultError> {
        sleep(DOWN).await;
        let validator = &self.trial.cluster.validators()[SEAT - 1];
        validator.crash().await;
        sleep(DOWN).await;
        validator.wake().await;
        let begun = Instant::now();
        let peers = self.trial.has_peers(SEAT, OTHERS.len(), RECOVERY).await;
        let waited = begun.elapsed().as_millis();
        self.trial.note(format!(
            "half-open: validator {SEAT} started again and had {peers} peers after {waited} ms"
        ));
        self.trial
            .check(peers >= OTHERS.len(), &format!("half-open: a restarted validator has {peers} peers"));
        self.trial.incidents();
        Ok(())
    }

    /// A node joins that knows one honest peer, and has to get the chain from those who answer.
    async fn join(&mut self) -> Result<(), FaultError> {
        let number = self.trial.cluster.add_newcomer()?;
        self.admit(number).await?;
        let begun = Instant::now();
        self.trial.join(number, 1).await?;
        let target = self.trial.height(1).await;
        self.trial.goes_on(&[number], "silent-teller: a node that joins").await;
        let waited = begun.elapsed().as_millis();
        let reached = target.map_or_else(String::new, |height| format!(" past block {height}"));
        self.trial.note(format!("silent-teller: a node that joined went on{reached} after {waited} ms"));
        Ok(())
    }

    /// The first authority lets a newcomer's key in.
    async fn admit(&self, number: usize) -> Result<(), FaultError> {
        let files = self.trial.cluster.files();
        let participant = files.validators()[number - 1];
        let admit = Admit { participant, roles: Roles::AUDITOR, withdraw_to: None };
        let authority = Wallet::open(&files.validator_wallet_path(1))?.main_key();
        let sender = Sender::new(self.trial.clients[0].clone(), authority);
        let admitted = sender.send(Action::Admit(admit), RECOVERY).await;
        admitted.map(drop).map_err(|error| FaultError::NotAdmitted(error.to_string()))
    }

    async fn end(mut self) -> Result<FaultReport, FaultError> {
        drop(self.watch);
        self.honest.finish().await?;
        self.trial.goes_on(&ALL, "after all attacks").await;
        self.trial.incidents();
        for line in Figures(&self.figures).to_string().lines() {
            self.trial.report.notes.push(line.to_owned());
        }
        self.trial.report.attacks = self.figures;
        self.trial.finish().await
    }
}

/// What honest clients get while nobody attacks.
async fn calm(honest: &mut Honest) -> Service {
    let begun = Instant::now();
    sleep(CALM).await;
    let ended = Instant::now();
    // What was due at the end is final a moment later.
    sleep(Duration::from_secs(1)).await;
    honest.service(begun, ended)
}
