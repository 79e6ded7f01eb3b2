//! What people and programs write: numbers, keys and names as text, and files of JSON.

use std::fmt::Display;
use std::str::FromStr;

use evchain_protocol::crypto::{ChainId, Hash, Preimage, PublicKey, Signature};
use evchain_protocol::genesis::Genesis;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Epoch, Height, TxRef};
use evchain_protocol::sealed::SealedPlace;
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::PaymentKinds;
use evchain_protocol::transaction::SignedTransaction;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte says what the rest is taken for.
pub fn fuzz_text(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 16 {
        0 => parse::<Amount>(text),
        1 => parse::<TxRef>(text),
        2 => parse::<PublicKey>(text),
        3 => parse::<Hash>(text),
        4 => parse::<Signature>(text),
        5 => parse::<Preimage>(text),
        6 => parse::<SealedPlace>(text),
        7 => parse::<Roles>(text),
        8 => parse::<PaymentKinds>(text),
        9 => parse::<Height>(text),
        10 => parse::<Epoch>(text),
        11 => json::<ChainId>(text),
        12 => json::<Params>(text),
        13 => json::<SignedTransaction>(text),
        _ => {
            json::<Genesis>(text);
            if let Ok(genesis) = serde_json::from_str::<Genesis>(text) {
                let _ = genesis.build();
            }
        }
    }
}

/// What is read is what is written.
fn parse<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string().parse::<T>();
        assert!(again.is_ok_and(|again| again == value), "{value} is written as it is read");
    }
}

fn json<T: Serialize + DeserializeOwned + PartialEq>(text: &str) {
    if let Ok(value) = serde_json::from_str::<T>(text) {
        let written = serde_json::to_string(&value).expect("it can be written");
        let again = serde_json::from_str::<T>(&written);
        assert!(again.is_ok_and(|again| again == value), "{written}");
    }
}
