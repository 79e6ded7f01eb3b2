//! What the state's entries hold.

use serde::Serialize;

use crate::crypto::PublicKey;
use crate::params::Params;
use crate::state::account::Account;
use crate::state::auction::{Bid, Request, Station};
use crate::state::authority::Authorities;
use crate::state::channel::Channel;
use crate::state::governance::{Admissions, Offence, Proposal};
use crate::state::payment::{Lock, Payment};
use crate::state::record::TrackRecord;
use crate::tagged_enum;

/// The longest encoding of an entry, in bytes: a payment with a hash for each installment.
pub const MAX_VALUE_BYTES: usize = 40 * 1024;

/// An entry of the state: for each kind of key its own kind of value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each variant's type says what it is
pub enum StateValue {
    Params(Params),
    Treasury(PublicKey),
    Authorities(Authorities),
    Account(Account),
    Station(Station),
    Request(Request),
    Bid(Bid),
    Lock(Lock),
    Payment(Payment),
    Channel(Channel),
    /// The key says everything.
    Due,
    Proposal(Proposal),
    FormerAuthorities(Authorities),
    Offence(Offence),
    TrackRecord(TrackRecord),
    Admissions(Admissions),
}

tagged_enum!(StateValue {
    0 => Params(Params),
    1 => Treasury(PublicKey),
    2 => Authorities(Authorities),
    3 => Account(Account),
    4 => Station(Station),
    5 => Request(Request),
    6 => Bid(Bid),
    7 => Lock(Lock),
    8 => Payment(Payment),
    9 => Channel(Channel),
    10 => Due,
    11 => Proposal(Proposal),
    12 => FormerAuthorities(Authorities),
    13 => Offence(Offence),
    14 => TrackRecord(TrackRecord),
    15 => Admissions(Admissions),
});
