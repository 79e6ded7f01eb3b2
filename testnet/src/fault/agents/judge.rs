//! What the chain and the journals say about a case that is over.

use std::collections::BTreeSet;
use std::process::Stdio;

use evchain_node::agents::sessions::{self, SessionEntry, Side};
use evchain_node::rpc::{AccountInfo, CallError, NodeApiClient, RpcClient, RpcError};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Height};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::case::Field;
use super::plan::Case;
use super::run::BALANCE;
use crate::fault::error::FaultError;
use crate::fault::trial::{BOUND, POLL};

/// How a session ended for who wanted energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Every installment was released and paid.
    Charged,
    /// Some were.
    InPart,
    /// The price was locked, and no energy came.
    NotServed,
    /// It was given up before all of the price was locked.
    GivenUp,
}

/// What one side has and spent.
struct Purse {
    /// At its disposal, with all that fees took.
    worth: u128,
    /// Of that, at fresh keys.
    at_fresh_keys: u128,
}

/// Holds both sides to what they promise (S1 to S9, D7): gives how it ended, and what is wrong.
pub(super) async fn judge(field: &Field<'_>, case: &Case) -> Result<(Fate, Vec<String>), FaultError> {
    let mut failures = Vec::new();
    let bought = sessions::list(&field.state_of(case, Side::Buys))?;
    let sold = sessions::list(&field.state_of(case, Side::Sells))?;
    let rpc = &field.clients[case.number % field.clients.len()];
    catch_up(field.clients, rpc).await?;
    for side in [Side::Buys, Side::Sells] {
        let listed = open_sessions(field, case, side).await?;
        if listed != "[]" {
            failures.push(format!("`evchain sessions list` of {} shows {listed}", case.name_of(side)));
        }
    }
    let station = main_key(field, case, Side::Sells)?;
    let vehicle = main_key(field, case, Side::Buys)?;
    let fresh: BTreeSet<PublicKey> = bought.iter().filter_map(|entry| entry.consumer).collect();
    for party in fresh.iter().copied().chain([station, vehicle]) {
        let held = held_for(rpc, party).await?;
        if held > 0 {
            failures.push(format!("{held} payments, channels or locks of {party} are still in the state"));
        }
    }
    let fee = u128::from(field.cluster.files().genesis().params.fee_flat.get());
    let start = u128::from(BALANCE.get());
    let producer = purse(rpc, station, &BTreeSet::new(), fee).await?;
    let consumer = purse(rpc, vehicle, &fresh, fee).await?;
    // Less than a fee cannot be sent back.
    if consumer.at_fresh_keys > fee * fresh.len() as u128 {
        failures.push(format!("{} is left at fresh keys", consumer.at_fresh_keys));
    }
    match (producer.worth.checked_sub(start), start.checked_sub(consumer.worth)) {
        (Some(got), Some(spent)) if got == spent => {
            let got = Amount::new(u64::try_from(got).unwrap_or(u64::MAX));
            failures.extend(loss(&bought, &sold, got));
        }
        (got, spent) => failures.push(format!("the producer got {got:?} and the consumer spent {spent:?}")),
    }
    Ok((fate(&bought), failures))
}

/// Who has lost what it should not, where the producer got so much.
pub(super) fn loss(bought: &[SessionEntry], sold: &[SessionEntry], got: Amount) -> Option<String> {
    let Some(purchase) = bought.iter().find(|entry| entry.payment.is_some()) else {
        let nothing = got == Amount::ZERO && sold.is_empty();
        return (!nothing).then(|| format!("nothing was locked, and the producer got EUR {got}"));
    };
    let (price, count) = terms(purchase)?;
    let most = count.money_released(price, purchase.delivered + 1).min(price);
    if got > most {
        return Some(format!(
            "the consumer has {} of {count} installments of EUR {price}, and paid EUR {got}",
            purchase.delivered
        ));
    }
    // The consumer knows what was delivered, too: a producer that has lost its journal has lost its money.
    for entry in sold.iter().chain([purchase]) {
        // Installments that were skipped as late are neither paid nor delivered (S5).
        let least = count.money_released(price, entry.delivered).min(entry.amount);
        if got < least {
            return Some(format!(
                "the producer has delivered {} of {count} installments of EUR {price}, and got EUR {got}",
                entry.delivered
            ));
        }
    }
    None
}

/// b and N.
fn terms(entry: &SessionEntry) -> Option<(Amount, InstallmentCount)> {
    Some((entry.price?, InstallmentCount::new(entry.installments?).ok()?))
}

fn fate(bought: &[SessionEntry]) -> Fate {
    match bought.iter().find(|entry| entry.payment.is_some()) {
        None => Fate::GivenUp,
        Some(entry) if entry.delivered == 0 => Fate::NotServed,
        Some(entry) if Some(entry.delivered) == entry.installments => Fate::Charged,
        Some(_) => Fate::InPart,
    }
}

/// Waits until a node has every block that another has.
async fn catch_up(all: &[RpcClient], rpc: &RpcClient) -> Result<(), FaultError> {
    let mut newest = Height::ZERO;
    for other in all {
        newest = newest.max(other.status().await.map_err(RpcError::from)?.height);
    }
    let end = Instant::now() + BOUND;
    while rpc.status().await.map_err(RpcError::from)?.height < newest && Instant::now() < end {
        sleep(POLL).await;
    }
    Ok(())
}

/// What `evchain sessions list --json` says of a side.
async fn open_sessions(field: &Field<'_>, case: &Case, side: Side) -> Result<String, FaultError> {
    let program = &field.options.node_bin;
    let listed = Command::new(program)
        .args(["sessions", "list", "--json"])
        .args(field.identity_of(case, side))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(FaultError::io("run", program))?;
    let shown = if listed.status.success() { listed.stdout } else { listed.stderr };
    Ok(String::from_utf8_lossy(&shown).trim().to_owned())
}

fn main_key(field: &Field<'_>, case: &Case, side: Side) -> Result<PublicKey, FaultError> {
    Ok(field.cluster.files().wallet(&case.name_of(side))?.main_key().public_key())
}

/// How many payments, channels and locks with this party the state has.
async fn held_for(rpc: &RpcClient, party: PublicKey) -> Result<usize, RpcError> {
    let mut held = 0;
    let mut after = None;
    loop {
        let page = rpc.locks(Some(party), after).await?;
        held += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let page = rpc.payments(Some(party), after).await?;
        held += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let page = rpc.channels(Some(party), after).await?;
        held += page.items.len();
        after = page.next;
        if after.is_none() {
            return Ok(held);
        }
    }
}

async fn purse(
    rpc: &RpcClient,
    main: PublicKey,
    fresh: &BTreeSet<PublicKey>,
    fee: u128,
) -> Result<Purse, RpcError> {
    let mut purse = Purse { worth: 0, at_fresh_keys: 0 };
    for key in fresh.iter().chain([&main]) {
        let Some(AccountInfo { account, .. }) = account(rpc, *key).await? else { continue };
        let balance = u128::from(account.balance.get());
        // Each transaction took one nonce and one fee.
        purse.worth += balance + u128::from(account.nonce.get()) * fee;
        purse.at_fresh_keys += if *key == main { 0 } else { balance };
    }
    Ok(purse)
}

/// None for a key that never got money.
async fn account(rpc: &RpcClient, key: PublicKey) -> Result<Option<AccountInfo>, RpcError> {
    match rpc.account(key).await.map_err(RpcError::from) {
        Ok(info) => Ok(Some(info)),
        Err(RpcError::Call(CallError::NotFound(_))) => Ok(None),
        Err(error) => Err(error),
    }
}
