//! What authorities say to each other and keep in their log.

use evchain_consensus::block::Block;
use evchain_consensus::message::{MAX_MESSAGE_BYTES, Message};
use evchain_consensus::wal::LogRecord;
use evchain_protocol::codec::{self, Decode, Encode};

/// The first byte says what the rest is taken for.
pub fn fuzz_messages(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 4 {
        0 => drop(round_trip::<LogRecord>(bytes).map(|record| record.place())),
        1 => drop(round_trip::<Block>(bytes).map(|block| block.size_hint())),
        _ => drop(round_trip::<Message>(bytes).map(|message| message.epoch())),
    }
}

fn round_trip<T: Encode + Decode<()>>(bytes: &[u8]) -> Option<T> {
    let value = codec::decode::<T>(bytes, MAX_MESSAGE_BYTES).ok()?;
    assert_eq!(codec::encode(&value), bytes, "a value has one encoding");
    Some(value)
}
