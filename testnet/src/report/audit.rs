use std::collections::BTreeSet;
use std::time::Duration;

use evchain_node::rpc::{BlockKey, NodeApiClient, RpcClient, RpcError};
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Amount, Height};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

/// How often the money is counted anew when it moves meanwhile.
const ATTEMPTS: usize = 20;
/// The pause before it is counted anew.
const PAUSE: Duration = Duration::from_millis(300);
/// Questions that are under way at the same time.
const QUESTIONS: usize = 16;

/// Whether all validators hold the same state and all of the money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// All the money that the chain started with.
    pub supply: Amount,
    /// The newest height that all validators have.
    pub height: Height,
    /// Each validator.
    pub validators: Vec<ValidatorAudit>,
}

/// What one validator holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidatorAudit {
    /// Which, from 1.
    pub number: usize,
    /// Its block at the common height, which names all that came before.
    pub block: Hash,
    /// The state after it.
    pub state_root: Hash,
    /// What all accounts hold.
    pub in_accounts: Amount,
    /// What locks, payments and channels hold.
    pub locked: Amount,
}

/// Why there is no audit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// A validator does not answer.
    #[error("validator {number}: {source}")]
    Rpc {
        /// Which, from 1.
        number: usize,
        /// Why.
        source: RpcError,
    },
    /// More money than can be counted.
    #[error("validator {0} shows more money than an amount can count")]
    TooMuch(usize),
}

impl Audit {
    /// Asks every validator for its tip, all balances and all that is locked.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn run(
        validators: &[RpcClient],
        accounts: &BTreeSet<PublicKey>,
        supply: Amount,
    ) -> Result<Self, AuditError> {
        let mut height = None;
        for (index, rpc) in validators.iter().enumerate() {
            let tip = rpc.status().await.map_err(failed(index + 1))?.height;
            height = Some(height.map_or(tip, |lowest: Height| lowest.min(tip)));
        }
        let height = height.unwrap_or(Height::ZERO);
        let mut audits = Vec::new();
        for (index, rpc) in validators.iter().enumerate() {
            let header = rpc.header(BlockKey::Height(height)).await.map_err(failed(index + 1))?;
            let (in_accounts, locked) = count(index + 1, rpc, accounts, supply).await?;
            let (block, state_root) = (header.block, header.header.state_root);
            audits.push(ValidatorAudit { number: index + 1, block, state_root, in_accounts, locked });
        }
        Ok(Self { supply, height, validators: audits })
    }

    /// Whether every validator holds all of the money and no more.
    pub fn is_conserved(&self) -> bool {
        let total = |audit: &ValidatorAudit| audit.in_accounts.checked_add(audit.locked);
        self.validators.iter().all(|audit| total(audit) == Ok(self.supply))
    }

    /// Whether all validators have the same chain and the same state.
    pub fn is_agreed(&self) -> bool {
        let same = |pair: &[ValidatorAudit]| {
            (pair[0].block, pair[0].state_root) == (pair[1].block, pair[1].state_root)
        };
        self.validators.windows(2).all(same)
    }
}

/// Counts until the sum is right or the attempts are over: the answers are from one block after
/// the other, so money that moves meanwhile is counted twice or not at all.
async fn count(
    number: usize,
    rpc: &RpcClient,
    accounts: &BTreeSet<PublicKey>,
    supply: Amount,
) -> Result<(Amount, Amount), AuditError> {
    let mut counted = (Amount::ZERO, Amount::ZERO);
    for _ in 0..ATTEMPTS {
        let balances = balances(rpc, accounts).await.map_err(failed(number))?;
        let locked = locked(rpc).await.map_err(failed(number))?;
        counted = (sum(number, balances)?, sum(number, locked)?);
        if counted.0.checked_add(counted.1) == Ok(supply) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(counted)
}

async fn balances(rpc: &RpcClient, accounts: &BTreeSet<PublicKey>) -> Result<Vec<Amount>, RpcError> {
    futures::stream::iter(accounts)
        .map(|key| async move { Ok(rpc.account(*key).await?.account.balance) })
        .buffered(QUESTIONS)
        .try_collect()
        .await
}

async fn locked(rpc: &RpcClient) -> Result<Vec<Amount>, RpcError> {
    let mut amounts = Vec::new();
    let mut after = None;
    loop {
        let page = rpc.locks(None, after).await?;
        amounts.extend(page.items.iter().map(|lock| lock.value.amount));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let page = rpc.payments(None, after).await?;
        amounts.extend(page.items.iter().map(|payment| payment.value.held()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let page = rpc.channels(None, after).await?;
        amounts.extend(page.items.iter().map(|channel| channel.value.price));
        after = page.next;
        if after.is_none() {
            return Ok(amounts);
        }
    }
}

fn sum(number: usize, amounts: Vec<Amount>) -> Result<Amount, AuditError> {
    amounts.into_iter().try_fold(Amount::ZERO, Amount::checked_add).map_err(|_| AuditError::TooMuch(number))
}

fn failed<E: Into<RpcError>>(number: usize) -> impl FnOnce(E) -> AuditError {
    move |source| AuditError::Rpc { number, source: source.into() }
}
