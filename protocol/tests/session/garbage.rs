//! Goal: nothing that the other side sends makes a machine panic, or the producer let energy flow
//! that it can't collect, or the consumer pay twice ahead.
//!
//! Method: proptest feeds each machine random steps (`chaos.rs`), and changes the bytes of messages.

use std::sync::LazyLock;

use crate::chaos::{COUNT, Step, consumer_holds, deals, producer_holds};
use crate::deal::{ALL_KINDS, Deal, Shape};
use evchain_protocol::crypto::Signature;
use evchain_protocol::primitives::Energy;
use evchain_protocol::session::{Delivered, MAX_MESSAGE_BYTES, Message, PaymentKind, Release, StopReason};
use proptest::collection::vec;
use proptest::prelude::*;

static DEALS: LazyLock<Vec<Deal>> = LazyLock::new(deals);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let numbers = (any::<u8>(), 0..COUNT + 2, 0_u64..12_000).prop_map(Step::Numbers);
    let said = vec(any::<u8>(), 0..16).prop_map(Step::Said);
    vec(prop_oneof![30 => numbers, 1 => said], 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_producer_never_delivers_what_it_cannot_collect(kind in 0..ALL_KINDS.len(), steps in steps()) {
        producer_holds(&DEALS[kind], &steps);
    }

    #[test]
    fn the_consumer_never_pays_two_installments_ahead(kind in 0..ALL_KINDS.len(), steps in steps()) {
        consumer_holds(&DEALS[kind], &steps);
    }

    #[test]
    fn random_bytes_are_a_message_only_in_their_one_encoding(bytes in vec(any::<u8>(), 0..MAX_MESSAGE_BYTES + 8)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn changed_messages_keep_one_encoding(place in any::<prop::sample::Index>(), value in any::<u8>(), index in 0..COUNT) {
        let deal = Deal::new(Shape::new(PaymentKind::Chain, COUNT));
        for message in [
            Message::Open(deal.open),
            Message::Release(Release { index, proof: deal.proof(index) }),
            Message::Delivered(Delivered { index, energy: Energy::new(9), cosignature: Some(Signature::from_bytes([1; 64])) }),
            Message::Stop(StopReason::Fault),
        ] {
            let mut bytes = message.encode();
            let place = place.index(bytes.len());
            bytes[place] = value;
            if let Ok(changed) = Message::decode(&bytes) {
                prop_assert_eq!(changed.encode(), bytes);
            }
        }
    }
}
