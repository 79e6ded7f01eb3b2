use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evchain_node::rpc::RpcClient;
use evchain_node::wallet::Sender;
use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::primitives::{Amount, Nonce};
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, SignedTransaction};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::FaultError;
use super::trial::BOUND;

/// How long a payer waits at one validator before it asks the next.
const TRY: Duration = Duration::from_secs(5);
/// The pause after a validator did not help, and between payments.
const PAUSE: Duration = Duration::from_millis(50);
/// What each payment moves.
pub(super) const PAYMENT: Amount = Amount::new(1);

/// Payers that pay one after the other, each on its own, through whichever validator helps.
#[derive(Debug)]
pub(super) struct Load {
    stop: CancellationToken,
    payers: JoinSet<Paid>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    finals: AtomicU64,
}

/// What all payers have done.
#[derive(Debug, Default)]
pub(super) struct Paid {
    /// Payments that a validator called final.
    pub(super) finals: Vec<Payment>,
    /// What did not become final.
    pub(super) failures: Vec<String>,
}

/// A payment that a validator called final.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payment {
    pub(super) transaction: Hash,
    pub(super) block: Hash,
}

impl Load {
    /// Begins to pay. `clients` ask one validator each, and all of them answer now.
    pub(super) async fn start(
        payers: Vec<KeyPair>,
        to: PublicKey,
        clients: &[RpcClient],
    ) -> Result<Self, FaultError> {
        let (stop, counts) = (CancellationToken::new(), Arc::new(Counts::default()));
        let mut tasks = JoinSet::new();
        for (index, key) in payers.into_iter().enumerate() {
            let senders = clients.iter().map(|client| Sender::new(client.clone(), key.clone())).collect();
            let payer = Payer { senders, current: index, to, counts: counts.clone() };
            let first = payer.sender().next_nonce().await?;
            tasks.spawn(payer.run(first, stop.clone()));
        }
        Ok(Self { stop, payers: tasks, counts })
    }

    /// Payments that were signed so far.
    pub(super) fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Payments that are final so far.
    pub(super) fn finals(&self) -> u64 {
        self.counts.finals.load(Ordering::Relaxed)
    }

    /// Lets every payer finish what it has begun.
    pub(super) async fn finish(&mut self) -> Result<Paid, FaultError> {
        self.stop.cancel();
        let mut all = Paid::default();
        while let Some(paid) = self.payers.join_next().await {
            let paid = paid?;
            all.finals.extend(paid.finals);
            all.failures.extend(paid.failures);
        }
        Ok(all)
    }
}

struct Payer {
    /// The payer at each validator.
    senders: Vec<Sender>,
    current: usize,
    to: PublicKey,
    counts: Arc<Counts>,
}

impl Payer {
    async fn run(mut self, first: Nonce, stop: CancellationToken) -> Paid {
        let mut paid = Paid::default();
        let mut nonce = first;
        while !stop.is_cancelled() {
            let action = Action::Transfer(Transfer { to: self.to, amount: PAYMENT });
            let signed = self.sender().sign(nonce, action);
            self.counts.sent.fetch_add(1, Ordering::Relaxed);
            match self.pay(&signed, &stop).await {
                Ok(payment) => paid.finals.push(payment),
                Err(reason) => {
                    paid.failures.push(format!("payment {} is not final: {reason}", signed.id()));
                    return paid;
                }
            }
            self.counts.finals.fetch_add(1, Ordering::Relaxed);
            let Ok(next) = nonce.next() else { return paid };
            nonce = next;
            tokio::time::sleep(PAUSE).await;
        }
        paid
    }

    /// Sends one payment to one validator after the other until it is final. Once the load is to
    /// stop, not much longer: by then nothing is wrong any more.
    async fn pay(&mut self, signed: &SignedTransaction, stop: &CancellationToken) -> Result<Payment, String> {
        let mut given_up_at = None;
        loop {
            let reason = match self.sender().send_signed(signed, TRY).await {
                Ok(finality) => return Ok(Payment { transaction: signed.id(), block: finality.block }),
                // A rejection too: a validator that lags behind does not know the nonce.
                Err(error) => error.to_string(),
            };
            if stop.is_cancelled() {
                let given_up_at = *given_up_at.get_or_insert_with(|| Instant::now() + BOUND);
                if Instant::now() >= given_up_at {
                    return Err(reason);
                }
            }
            self.current += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn sender(&self) -> &Sender {
        &self.senders[self.current % self.senders.len()]
    }
}
