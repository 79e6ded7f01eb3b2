use std::time::Duration;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::{Hash, KeyPair, Preimage, PublicKey, Purpose};
use evchain_protocol::primitives::{Amount, Height, Nonce, TxRef};
use evchain_protocol::transaction::claim::{Claim, ClaimHashes, IndexedPreimage};
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, SignedTransaction, Transaction};
use futures::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::attack::Sent;
use super::field::{Field, host};
use super::sockets::post;
use crate::fault::error::FaultError;

/// The nonces that the pool of a node looks at, ahead of an account's next.
const NONCES: u64 = 63;
/// Secrets in a large claim: 37 kB.
const SECRETS: u32 = 1_000;
/// Calls that are under way at the same time.
const WORKERS: u64 = 8;
/// Transactions in one call.
const BATCH: u64 = 8;
/// The pause after a validator has hung up.
const PAUSE: Duration = Duration::from_millis(10);

/// 63 claims of 37 kB of each of four poor accounts, the first nonce missing, over and over with other secrets.
pub(super) async fn gapped_claims(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let make = |number: u64| {
        let (key, nonce, round) = gapped(&field.poor[..4], number);
        sign(field, key, nonce, large_claim(round))
    };
    Ok(submit(field, &make, stop).await)
}

/// 63 transfers of each of many poor accounts, the first nonce missing, over and over with other amounts.
pub(super) async fn gapped_transfers(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let to = field.authority.public_key();
    let make = |number: u64| {
        let (key, nonce, round) = gapped(&field.poor, number);
        sign(field, key, nonce, transfer(to, round + 1))
    };
    Ok(submit(field, &make, stop).await)
}

/// Transfers of one new key after the other, none of which has an account.
pub(super) async fn penniless(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let to = field.authority.public_key();
    let make = |number: u64| {
        let key = KeyPair::from_secret(Hash::of(Purpose::Genesis, &number.to_le_bytes()).as_bytes());
        sign(field, &key, number % NONCES, transfer(to, 1))
    };
    Ok(submit(field, &make, stop).await)
}

/// The sender and the nonce of the transaction with this number, and how often both came before.
fn gapped(keys: &[KeyPair], number: u64) -> (&KeyPair, u64, u64) {
    let senders = keys.len() as u64;
    let key = &keys[usize::try_from(number / NONCES % senders).unwrap_or_default()];
    (key, 1 + number % NONCES, number / (NONCES * senders))
}

/// A claim of 37 kB, of a payment that does not exist.
pub(super) fn large_claim(round: u64) -> Action {
    let secret = *Hash::of(Purpose::Genesis, &round.to_le_bytes()).as_bytes();
    let preimages =
        (0..SECRETS).map(|index| IndexedPreimage { index, preimage: Preimage::from_bytes(secret) });
    let payment = TxRef::new(Height::new(1), 0).unwrap_or_else(|_| unreachable!("block 1 has a place 0"));
    let preimages = List::new(preimages.collect()).unwrap_or_default();
    Action::Claim(Claim::Hashes(ClaimHashes { payment, preimages }))
}

fn transfer(to: PublicKey, amount: u64) -> Action {
    Action::Transfer(Transfer { to, amount: Amount::new(amount) })
}

/// A transaction of this key.
pub(super) fn sign(field: &Field, key: &KeyPair, nonce: u64, action: Action) -> SignedTransaction {
    Transaction { sender: key.public_key(), nonce: Nonce::new(nonce), action }.sign(key, field.chain)
}

/// Makes transactions and sends them to all targets in turn, as fast as these answer.
async fn submit(
    field: &Field,
    make: &(dyn Fn(u64) -> SignedTransaction + Sync),
    stop: &CancellationToken,
) -> Sent {
    let workers = (0..WORKERS).map(|worker| work(field, worker, make, stop));
    join_all(workers).await.into_iter().sum()
}

/// Every [`WORKERS`]th call, from that of this worker on.
async fn work(
    field: &Field,
    worker: u64,
    make: &(dyn Fn(u64) -> SignedTransaction + Sync),
    stop: &CancellationToken,
) -> Sent {
    let mut sent = 0;
    let mut turn = worker;
    while !stop.is_cancelled() {
        let calls = (turn * BATCH..(turn + 1) * BATCH).map(|number| submission(number, &make(number)));
        let body = format!("[{}]", calls.collect::<Vec<_>>().join(","));
        let target = &field.targets[usize::try_from(turn).unwrap_or_default() % field.targets.len()];
        // The validator may refuse it or hang up: that is what it is to do.
        if post(host(1), target.rpc, &body).await.is_err() {
            sleep(PAUSE).await;
        }
        sent += BATCH;
        turn += WORKERS;
    }
    sent
}

/// A JSON-RPC call that submits a transaction.
pub(super) fn submission(id: u64, transaction: &SignedTransaction) -> String {
    call(id, "evchain_submit", &format!("\"{}\"", hex::encode(transaction.to_bytes())))
}

/// A JSON-RPC call with these parameters.
pub(super) fn call(id: u64, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":[{params}]}}"#)
}
