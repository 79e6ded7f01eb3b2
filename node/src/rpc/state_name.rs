use std::fmt;
use std::str::FromStr;

use evchain_protocol::finality::OffenceKind;
use evchain_protocol::serde_as_text;
use evchain_protocol::state::key::StateKey;

/// The name of an entry of the state, as people write it: `account/evc1...`, `request/1042-3`.
///
/// The queue of what settles by itself has no names here: its entries follow from the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateName(StateKey);

impl StateName {
    /// The key that it names.
    pub const fn key(&self) -> &StateKey {
        &self.0
    }
}

/// Text that names no entry of the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' names no entry of the state: write params, treasury, authorities, account/ADDRESS, \
     station/ADDRESS, request/REF, bid/REF/ADDRESS, lock/REF, payment/REF, channel/REF, proposal/REF, \
     former-authorities, offence/EPOCH/ADDRESS/VIEW/KIND, record/ADDRESS or admissions/ADDRESS"
)]
pub struct ParseStateNameError(String);

impl FromStr for StateName {
    type Err = ParseStateNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let parse = || match *parts.as_slice() {
            ["params"] => Some(StateKey::Params),
            ["treasury"] => Some(StateKey::Treasury),
            ["authorities"] => Some(StateKey::Authorities),
            ["account", address] => Some(StateKey::Account(address.parse().ok()?)),
            ["station", address] => Some(StateKey::Station(address.parse().ok()?)),
            ["request", name] => Some(StateKey::Request(name.parse().ok()?)),
            ["bid", name, address] => Some(StateKey::Bid(name.parse().ok()?, address.parse().ok()?)),
            ["lock", name] => Some(StateKey::Lock(name.parse().ok()?)),
            ["payment", name] => Some(StateKey::Payment(name.parse().ok()?)),
            ["channel", name] => Some(StateKey::Channel(name.parse().ok()?)),
            ["proposal", name] => Some(StateKey::Proposal(name.parse().ok()?)),
            ["former-authorities"] => Some(StateKey::FormerAuthorities),
            ["offence", epoch, address, view, kind] => Some(StateKey::Offence(
                epoch.parse().ok()?,
                address.parse().ok()?,
                view.parse().ok()?,
                OffenceKind::from_name(kind)?,
            )),
            ["record", address] => Some(StateKey::TrackRecord(address.parse().ok()?)),
            ["admissions", address] => Some(StateKey::Admissions(address.parse().ok()?)),
            _ => None,
        };
        parse().map(Self).ok_or_else(|| ParseStateNameError(text.to_owned()))
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            StateKey::Params => f.write_str("params"),
            StateKey::Treasury => f.write_str("treasury"),
            StateKey::Authorities => f.write_str("authorities"),
            StateKey::Account(key) => write!(f, "account/{key}"),
            StateKey::Station(key) => write!(f, "station/{key}"),
            StateKey::Request(name) => write!(f, "request/{name}"),
            StateKey::Bid(name, key) => write!(f, "bid/{name}/{key}"),
            StateKey::Lock(name) => write!(f, "lock/{name}"),
            StateKey::Payment(name) => write!(f, "payment/{name}"),
            StateKey::Channel(name) => write!(f, "channel/{name}"),
            StateKey::Proposal(name) => write!(f, "proposal/{name}"),
            StateKey::FormerAuthorities => f.write_str("former-authorities"),
            StateKey::Offence(epoch, key, view, kind) => {
                write!(f, "offence/{epoch}/{key}/{view}/{}", kind.name())
            }
            StateKey::TrackRecord(key) => write!(f, "record/{key}"),
            StateKey::Admissions(key) => write!(f, "admissions/{key}"),
            // No text parses to one, and there is no other way to make a name.
            StateKey::Due(time, item) => write!(f, "due/{time}/{item:?}"),
        }
    }
}

serde_as_text!(StateName);
