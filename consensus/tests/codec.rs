//! Goal: every message and log record has one encoding, and no bytes make decoding panic.
//! Method: proptest over all kinds of messages: decoding gives the value back, encoding it again the
//! same bytes; cut off, extended or damaged bytes are refused or decode to something with the same
//! property.

use std::sync::Arc;

use evchain_consensus::block::{Block, MAX_PAYLOAD_BYTES, Payload};
use evchain_consensus::message::{
    Blocks, Certificates, Finalized, GetBlocks, GetCertificates, GetFinalized, MAX_MESSAGE_BYTES, Message,
    Proposal, Status,
};
use evchain_consensus::wal::LogRecord;
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::block::Header;
use evchain_protocol::codec::{List, decode, encode};
use evchain_protocol::crypto::{ChainId, Hash, PublicKey, Signature};
use evchain_protocol::finality::{Certificate, Justification, ParentProof, Signers, Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(r, s)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&r);
        bytes[32..].copy_from_slice(&s);
        Signature::from_bytes(bytes)
    })
}

fn subject() -> impl Strategy<Value = Subject> {
    (0..3, any::<u64>(), any::<u64>(), hash()).prop_map(|(kind, epoch, view, block)| {
        let (epoch, view) = (Epoch::new(epoch), View::new(view));
        match kind {
            0 => Subject::notarize(epoch, view, block),
            1 => Subject::nullify(epoch, view),
            _ => Subject::finalize(epoch, view, block),
        }
    })
}

fn certificate() -> impl Strategy<Value = Arc<Certificate>> {
    (subject(), vec(any::<u8>(), 0..5), vec(signature(), 0..5)).prop_map(|(subject, signers, signatures)| {
        let signers: Signers = signers.into_iter().map(AuthorityIndex::new).collect();
        Arc::new(Certificate { subject, signers, signatures: List::new(signatures).unwrap() })
    })
}

fn vote() -> impl Strategy<Value = Vote> {
    (subject(), any::<u8>(), signature()).prop_map(|(subject, signer, signature)| Vote {
        subject,
        signer: AuthorityIndex::new(signer),
        signature,
    })
}

fn block() -> impl Strategy<Value = Arc<Block>> {
    let parent = prop_oneof![Just(ParentProof::Root), certificate().prop_map(ParentProof::Certificate)];
    (parent, vec(certificate(), 0..3), vec(any::<u8>(), 0..200), hash(), any::<[u64; 5]>()).prop_map(
        |(parent, skips, payload, hash, [epoch, height, view, parent_view, time_ms])| {
            let just = Justification { parent, skips: List::new(skips).unwrap() };
            let header = Header {
                chain: ChainId(hash),
                epoch: Epoch::new(epoch),
                height: Height::new(height),
                view: View::new(view),
                parent_hash: hash,
                parent_view: View::new(parent_view),
                proposer: PublicKey::from_bytes(*hash.as_bytes()),
                time_ms: Timestamp::new(time_ms),
                tx_root: hash,
                event_root: hash,
                state_root: hash,
                just_root: just.root(),
                authority_root: hash,
                next_authority_root: hash,
            };
            Arc::new(Block::new(header, just, Payload::new(payload).unwrap()).unwrap())
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let range = (any::<u64>(), any::<u64>(), any::<u64>());
    prop_oneof![
        (block(), vote(), proptest::option::of(block())).prop_map(|(block, vote, other)| {
            let again = other.map(|other| other.just().clone());
            Message::Proposal(Proposal { block, again, vote })
        }),
        vote().prop_map(Message::Vote),
        certificate().prop_map(Message::Certificate),
        (range, proptest::option::of(certificate())).prop_map(|((epoch, view, height), finalization)| {
            let (epoch, view, height) = (Epoch::new(epoch), View::new(view), Height::new(height));
            Message::Status(Status { epoch, view, height, finalization })
        }),
        range.prop_map(|(epoch, lo, hi)| {
            let epoch = Epoch::new(epoch);
            Message::GetCertificates(GetCertificates { epoch, lo: View::new(lo), hi: View::new(hi) })
        }),
        vec(certificate(), 0..4).prop_map(|list| Message::Certificates(Certificates::gather(list))),
        (hash(), any::<u64>()).prop_map(|(newest, above)| {
            Message::GetBlocks(GetBlocks { newest, above: Height::new(above) })
        }),
        vec(block(), 0..4).prop_map(|list| Message::Blocks(Blocks::gather(list))),
        any::<u64>().prop_map(|above| Message::GetFinalized(GetFinalized { above: Height::new(above) })),
        (vec(block(), 0..4), certificate()).prop_map(|(blocks, finalization)| {
            Message::Finalized(Finalized { blocks: List::new(blocks).unwrap(), finalization })
        }),
    ]
}

proptest! {
    #[test]
    fn messages_round_trip(message in message()) {
        let bytes = encode(&message);
        prop_assert_eq!(&decode::<Message>(&bytes, MAX_MESSAGE_BYTES).unwrap(), &message);
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert!(decode::<Message>(&longer, MAX_MESSAGE_BYTES).is_err());
        prop_assert!(decode::<Message>(&bytes[..bytes.len() - 1], MAX_MESSAGE_BYTES).is_err());
    }

    #[test]
    fn damaged_messages_decode_to_what_they_encode_or_not_at_all(
        message in message(), place in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = encode(&message);
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(other) = decode::<Message>(&bytes, MAX_MESSAGE_BYTES) {
            prop_assert_eq!(encode(&other), bytes);
            prop_assert_ne!(other, message);
        }
    }

    #[test]
    fn log_records_round_trip(vote in vote(), certificate in certificate(), block in block()) {
        for record in [LogRecord::Vote(vote), LogRecord::Certificate(certificate), LogRecord::Block(block)] {
            prop_assert_eq!(&decode::<LogRecord>(&encode(&record), MAX_MESSAGE_BYTES).unwrap(), &record);
        }
    }

    #[test]
    fn size_hints_are_not_below_the_size(certificate in certificate(), block in block()) {
        prop_assert!(certificate.size_hint() >= encode(&*certificate).len());
        prop_assert!(block.size_hint() >= encode(&*block).len());
    }
}

#[test]
fn a_payload_has_a_largest_size() {
    assert!(Payload::new(vec![0; MAX_PAYLOAD_BYTES]).is_ok());
    assert!(Payload::new(vec![0; MAX_PAYLOAD_BYTES + 1]).is_err());
    let mut bytes = u32::try_from(MAX_PAYLOAD_BYTES + 1).unwrap().to_le_bytes().to_vec();
    bytes.resize(MAX_PAYLOAD_BYTES + 5, 0);
    assert!(decode::<Payload>(&bytes, MAX_MESSAGE_BYTES).is_err());
}

#[test]
fn a_block_with_another_justification_does_not_decode() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let block = block().new_tree(&mut runner).unwrap().current();
    let mut header = block.header().clone();
    header.just_root = Hash::ZERO;
    let bytes = [encode(&header), encode(block.just()), encode(block.payload())].concat();
    assert!(decode::<Block>(&bytes, MAX_MESSAGE_BYTES).is_err());
    assert!(decode::<Block>(&encode(&*block), MAX_MESSAGE_BYTES).is_ok());
}

#[test]
fn the_largest_body_of_a_legal_chain_is_a_payload() {
    // A parameter that let leaders pack more would stop the chain that has it.
    let largest = evchain_protocol::params::Params {
        max_block_bytes: evchain_protocol::params::MAX_BLOCK_BYTES,
        ..evchain_protocol::params::Params::default()
    };
    assert_eq!(largest.validate(), Ok(()));
    assert!(Payload::new(vec![0; evchain_protocol::params::MAX_BODY_BYTES]).is_ok());
    let more = evchain_protocol::params::Params { max_block_bytes: largest.max_block_bytes + 1, ..largest };
    assert!(more.validate().is_err());
}
