//! Goal: whoever pays this producer is expected, and nobody else for nothing.
//! Method: the chain's events by hand; real strangers are in `tests/node/agents_strangers.rs`.

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Height, Timestamp, TxRef};

use super::{Book, Listed, MAX_BY_LOCKS, MAX_FORMER, MAX_LOCKS};

fn key(seed: u16) -> PublicKey {
    let mut secret = [0; 32];
    secret[..2].copy_from_slice(&seed.to_le_bytes());
    KeyPair::from_secret(&secret).public_key()
}

fn name(number: u64) -> TxRef {
    TxRef::new(Height::new(number), 0).expect("a name")
}

const OWN: u16 = 1;

fn book() -> Book {
    Book::new(key(OWN))
}

fn paid(number: u64, consumer: u16, producer: u16) -> Event {
    Event::PaymentLocked {
        payment: name(number),
        request: name(0),
        consumer: key(consumer),
        producer: key(producer),
        price: Amount::new(100),
        installments: InstallmentCount::new(5).expect("a number"),
    }
}

fn opened(number: u64, consumer: u16, producer: u16) -> Event {
    Event::ChannelOpened {
        channel: name(number),
        request: name(0),
        consumer: key(consumer),
        producer: key(producer),
        price: Amount::new(100),
        installments: InstallmentCount::new(5).expect("a number"),
        deadline: Timestamp::new(9),
    }
}

fn locked(number: u64, consumer: PublicKey, producer: u16, amount: u64) -> Event {
    let (lock, amount, deadline) = (name(number), Amount::new(amount), Timestamp::new(9));
    Event::Locked { lock, payer: consumer, payee: key(producer), amount, deadline }
}

#[test]
fn who_pays_this_producer_is_expected() {
    let mut book = book();
    for event in [paid(1, 10, OWN), opened(2, 11, OWN), locked(3, key(12), OWN, 1)] {
        book.take(&event);
    }
    for event in [paid(4, 20, 2), opened(5, 21, 2), locked(6, key(22), 2, 1)] {
        book.take(&event);
    }
    assert_eq!(book.keys(), [key(10), key(11), key(12)].into());
}

#[test]
fn whose_payment_has_ended_may_come_back_for_the_last_word() {
    let mut book = book();
    book.take(&paid(1, 10, OWN));
    book.take(&Event::PaymentEnded { payment: name(1) });
    book.take(&Event::PaymentEnded { payment: name(2) });
    assert_eq!(book.keys(), [key(10)].into());
    // Missed news: who is not listed any more has paid, too.
    book.take(&opened(3, 11, OWN));
    book.replace(Listed { payments: [(name(4), key(12))].into(), ..Listed::default() });
    assert_eq!(book.keys(), [key(10), key(11), key(12)].into());
    // The oldest of them are forgotten.
    for seed in 0..MAX_FORMER {
        book.remember(key(1_000 + u16::try_from(seed).expect("few")));
    }
    assert!(!book.keys().contains(&key(10)) && book.keys().contains(&key(12)));
}

#[test]
fn many_small_locks_displace_no_large_one() {
    let mut book = book();
    book.take(&locked(1, key(10), OWN, 1_000));
    for number in 2..=u64::try_from(MAX_LOCKS).expect("few") + 100 {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        book.take(&locked(number, PublicKey::from_bytes(bytes), OWN, 1));
    }
    assert_eq!((book.open.locks.len(), book.keys().len()), (MAX_LOCKS, MAX_BY_LOCKS));
    assert!(book.keys().contains(&key(10)));
}
