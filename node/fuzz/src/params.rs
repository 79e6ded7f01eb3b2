//! The parameters of the RPC's calls, each kind of them.

use std::fmt::Display;
use std::str::FromStr;

use evchain_node::rpc::{BlockKey, HexBytes, RequestFilter, StateName, TransactionKey};
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Epoch, Height, RegionId, TxRef};
use evchain_protocol::transaction::SignedTransaction;
use serde::de::DeserializeOwned;

/// The first byte says what the rest is taken for.
pub fn fuzz_params(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 12 {
        0 => submitted(text),
        1 => text_and_json::<TransactionKey>(text),
        2 => text_and_json::<BlockKey>(text),
        3 => text_and_json::<StateName>(text),
        4 => json::<RequestFilter>(text),
        5 => json::<Option<TxRef>>(text),
        6 => json::<Option<PublicKey>>(text),
        7 => json::<(Hash, u64)>(text),
        8 => json::<(Height, Epoch)>(text),
        9 => json::<HexBytes>(text),
        10 => json::<(RegionId, Option<PublicKey>)>(text),
        _ => json::<serde_json::Value>(text),
    }
}

/// What `submit` does with its text before anything is verified.
fn submitted(text: &str) {
    let Ok(bytes) = hex::decode(text) else { return };
    if let Ok(signed) = SignedTransaction::from_bytes(&bytes) {
        assert_eq!(signed.to_bytes(), bytes, "a transaction has one encoding");
    }
}

fn text_and_json<T: FromStr + Display + DeserializeOwned>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string();
        assert_eq!(
            again.parse::<T>().ok().map(|it| it.to_string()),
            Some(again),
            "it is written as it is read"
        );
    }
    json::<T>(text);
}

fn json<T: DeserializeOwned>(text: &str) {
    let _ = serde_json::from_str::<T>(text);
}
