//! Goal: nobody takes the room of another one for early messages, and every byte is counted (E7).
//! Method: messages of authorities and strangers, honest and heavy ones, in every order that matters.

use std::sync::Arc;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{PublicKey, Signature};
use evchain_protocol::finality::{Certificate, Signers, Subject, Vote};
use evchain_protocol::primitives::{Epoch, View};

use super::{
    AUTHORITIES_BYTES, EarlyMessages, MAX_EARLY_BYTES, MAX_OTHERS, MAX_PER_PEER, OTHERS_BYTES, Room,
};
use crate::message::Message;

fn peer(number: u16) -> PublicKey {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    PublicKey::from_bytes(bytes)
}

fn subject(view: u64) -> Subject {
    Subject::nullify(Epoch::new(1), View::new(view))
}

fn vote(view: u64) -> Message {
    let signature = Signature::from_bytes([1; 64]);
    Message::Vote(Vote { subject: subject(view), signer: AuthorityIndex::new(0), signature })
}

fn certificate(signatures: usize) -> Message {
    let signatures = List::new(vec![Signature::from_bytes([1; 64]); signatures]).expect("few enough");
    Message::Certificate(Arc::new(Certificate {
        subject: subject(1),
        signers: Signers::default(),
        signatures,
    }))
}

fn senders(early: EarlyMessages) -> Vec<PublicKey> {
    let mut early = early;
    early.take().map(|(from, _)| from).collect()
}

#[test]
fn strangers_leave_the_authorities_places() {
    let mut early = EarlyMessages::default();
    for number in 0..2_000 {
        (0..20).for_each(|_| early.keep(peer(number), false, certificate(128)));
    }
    assert!(early.len() <= MAX_OTHERS * MAX_PER_PEER, "{} messages", early.len());
    for number in 3_000..3_128 {
        early.keep(peer(number), true, vote(1));
    }
    let from = senders(early);
    assert!((3_000..3_128).all(|number| from.contains(&peer(number))));
    assert_eq!(from.first(), Some(&peer(3_000)), "what authorities sent comes first");
}

/// The newest strangers keep their places, since some of them may be the next authorities.
#[test]
fn the_first_stranger_gives_way() {
    let mut early = EarlyMessages::default();
    for number in 0..=u16::try_from(MAX_OTHERS).expect("few") {
        early.keep(peer(number), false, vote(1));
    }
    let from = senders(early);
    assert_eq!((from.len(), from.contains(&peer(0))), (MAX_OTHERS, false));
}

#[test]
fn the_first_messages_of_a_peer_are_kept() {
    let mut early = EarlyMessages::default();
    (1..=20).for_each(|view| early.keep(peer(1), true, vote(view)));
    let views: Vec<u64> = early
        .take()
        .filter_map(|(_, message)| match message {
            Message::Vote(vote) => Some(vote.subject.view().get()),
            _ => None,
        })
        .collect();
    assert_eq!(views, (1..=MAX_PER_PEER as u64).collect::<Vec<_>>());
    assert_eq!((early.len(), early.bytes()), (0, 0));
}

#[test]
fn only_what_can_be_of_use_is_kept() {
    let mut early = EarlyMessages::default();
    let request = crate::message::GetFinalized { above: evchain_protocol::primitives::Height::ZERO };
    early.keep(peer(1), true, Message::GetFinalized(request));
    assert_eq!(early.len(), 0);
}

/// Who holds most gives way, and nobody to who would hold more.
#[test]
fn the_heaviest_gives_way() {
    let mut room = Room::new(8, 100);
    room.keep(peer(1), 40, vote(1));
    room.keep(peer(1), 40, vote(2));
    room.keep(peer(2), 20, vote(3));
    room.keep(peer(3), 30, vote(4));
    let held = |room: &Room| room.by_peer.values().map(|kept| kept.bytes).collect::<Vec<_>>();
    assert_eq!(held(&room), [40, 20, 30], "the heaviest lost its last message");
    room.keep(peer(4), 50, vote(5));
    assert_eq!((held(&room), room.bytes), (vec![40, 20, 30], 90), "nobody gives way to a heavier one");
    room.keep(peer(4), 101, vote(5));
    assert_eq!((held(&room), room.bytes), (vec![40, 20, 30], 90));
    room.keep(peer(4), 35, vote(6));
    assert_eq!((held(&room), room.bytes), (vec![20, 30, 35], 85));
    assert_eq!(AUTHORITIES_BYTES + OTHERS_BYTES, MAX_EARLY_BYTES);
}
