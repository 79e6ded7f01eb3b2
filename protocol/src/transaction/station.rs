//! Station: a producer's public record (W1, W2).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::{Position, RegionId};
use crate::state::auction::Station;
use crate::state::key::StateKey;
use crate::state::value::StateValue;

/// Writes the sender's station record, in place of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct RecordStation {
    /// The record.
    pub station: Station,
}

/// Why a station's record breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum StationReason {
    /// W1
    #[error("{sender} is not a producer, and only those have stations")]
    NotProducer { sender: PublicKey },
    /// W2
    #[error("a station needs a region: they are numbered from 1")]
    NoRegion,
    /// W2
    #[error("a station needs a power above zero")]
    NoPower,
    /// W2
    #[error("a station needs at least one connector")]
    NoConnectors,
    /// W2
    #[error(
        "there is no place at latitude {} and longitude {} (in 1e-7 degrees)",
        position.latitude_e7, position.longitude_e7
    )]
    OffTheGlobe { position: Position },
}

impl RecordStation {
    pub(super) fn check(&self) -> Result<(), StationReason> {
        // W2; that the contact is short and printable is in its type.
        if self.station.region == RegionId::ZERO {
            return Err(StationReason::NoRegion);
        }
        if self.station.power_w == 0 {
            return Err(StationReason::NoPower);
        }
        if self.station.connectors == 0 {
            return Err(StationReason::NoConnectors);
        }
        let position = self.station.position;
        if !position.is_on_globe() {
            return Err(StationReason::OffTheGlobe { position });
        }
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let producer = sender.key;
        // W1
        if !ledger.existing_account(&producer)?.standing.is_producer() {
            return Err(StationReason::NotProducer { sender: producer }.into());
        }
        ledger.state.put(StateKey::Station(producer), StateValue::Station(self.station.clone()));
        ledger.emit(Event::StationRecorded { producer, region: self.station.region });
        Ok(())
    }
}
