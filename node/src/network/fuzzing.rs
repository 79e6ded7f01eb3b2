//! What a peer's bytes meet first, as entries for the fuzz targets of `fuzz/`: the rest of the crate does not use it.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::primitives::Timestamp;
use futures::io::Cursor;
use tokio::runtime::{Builder, Runtime};

use super::announcement::{Announcements, announce};
use super::frame::{FrameError, FrameReader};
use super::gossip::{decode_batch, encode_batch};
use super::protocols::Topic;

const CHAIN: ChainId = ChainId(Hash::ZERO);
const MAX_BYTES: usize = 64 * 1024;

/// For the reader's deadlines.
static CLOCK: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// A gossip message: what is taken for a batch is the one encoding of it.
pub fn gossip(topic: Topic, bytes: &[u8]) {
    if let Ok(items) = decode_batch(topic, bytes, MAX_BYTES) {
        assert!(!items.is_empty(), "an empty batch says nothing");
        assert_eq!(encode_batch(items).as_deref(), Some(bytes), "a batch has one encoding");
    }
}

/// An authority's address record: none is taken that the authority did not sign.
pub fn announcement(bytes: &[u8], now: Timestamp) {
    let key = KeyPair::from_secret(&[1; 32]);
    let authorities = BTreeSet::from([key.public_key()]);
    let taken = Announcements::new(CHAIN).take(bytes, now, &authorities);
    if let Ok((authority, addresses)) = taken {
        assert_eq!(authority, key.public_key());
        assert!(addresses.len() <= super::announcement::MAX_ANNOUNCED);
    }
}

/// The record that this authority would send, to begin with.
pub fn an_announcement(now: Timestamp) -> Vec<u8> {
    let address = "/ip4/10.0.0.1/tcp/9000".parse().unwrap_or_else(|_| super::Multiaddr::empty());
    announce(&KeyPair::from_secret(&[1; 32]), CHAIN, now, &[address])
}

/// A stream of frames: no length makes the reader give more than was sent.
pub fn frames(bytes: &[u8], max: usize) {
    let mut reader = FrameReader::new(Cursor::new(bytes), max, Duration::from_hours(1));
    let read = async {
        let mut total = 0;
        loop {
            match reader.next().await {
                Ok(Some(frame)) => {
                    total += frame.len();
                    assert!(frame.len() <= max && total <= bytes.len(), "more than was sent");
                }
                Ok(None) | Err(FrameError::CutOff | FrameError::TooLarge { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
    };
    CLOCK.block_on(read);
}
