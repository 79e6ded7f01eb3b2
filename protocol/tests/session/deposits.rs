//! Goal: who gets the deposit is what the table of `docs/ledger.md` says, for each kind of payment.
//!
//! Method: the table is read from the document, and each of its rows is played on the ledger, for
//! N in {1, 2, 10, 100}. Who got what is read off the accounts.

use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Span, Timestamp};
use evchain_protocol::session::{Message, PaymentKind, Settlement};

use crate::bank::{Bank, Side};
use crate::deal::{Deal, END, PRICE, START, Shape, T_MAX};
use crate::world::World;

const DOCUMENT: &str = include_str!("../../docs/ledger.md");
const CANCEL_BY: Timestamp = Timestamp::new(START.get() - 100_000);
/// When the producer begins to serve.
const EARLY: Timestamp = Timestamp::new(START.get() - 290_000);

/// The columns: their name, the kinds of payment and the deposit's rule.
const COLUMNS: [(&str, &[PaymentKind], DepositRule); 4] = [
    ("`forfeit`", &[PaymentKind::Hashes, PaymentKind::Chain], DepositRule::Forfeit),
    ("`refund`", &[PaymentKind::Hashes, PaymentKind::Chain], DepositRule::Refund(T_MAX)),
    ("channel", &[PaymentKind::Channel], DepositRule::Forfeit),
    ("single locks", &[PaymentKind::Single], DepositRule::Refund(T_MAX)),
];

/// Plays a row and gives the chain at its end.
type Play = fn(Deal) -> Bank;

const ROWS: [(&str, Play); 5] = [
    ("the consumer does not come", |deal| nobody_acts(Bank::new(&deal))),
    ("the consumer comes, the producer does not", |deal| {
        let mut world = World::new(deal, EARLY);
        world.tamper = Some(Box::new(|_, _| Some(vec![])));
        world.run();
        world.bank
    }),
    ("the consumer cancels before `cancel_by`", |deal| cancel_at(&deal, CANCEL_BY.before(Span::new(1)))),
    ("the consumer cancels at `cancel_by` and does not come", |deal| {
        let bank = cancel_at(&deal, CANCEL_BY);
        assert_eq!(bank.refused.len(), 1, "I8, C11");
        bank
    }),
    ("the consumer releases the deposit and goes", |deal| {
        let mut world = World::new(deal, EARLY);
        let is_paid = |message: &Message, kind| match kind {
            PaymentKind::Channel => matches!(message, Message::Accept(_)),
            _ => matches!(message, Message::Release(_)),
        };
        let kind = world.deal.terms.kind;
        world.run_until(|world| world.messages.iter().any(|(_, message)| is_paid(message, kind)));
        world.disconnect(u64::from(u32::MAX));
        world.run();
        world.bank
    }),
];

/// Lets all deadlines pass.
fn nobody_acts(mut bank: Bank) -> Bank {
    for time in [T_MAX, START, END, END.after(Span::new(4 * 3_600_000)).unwrap()] {
        assert_eq!(bank.block(time, vec![]), []);
    }
    bank
}

fn cancel_at(deal: &Deal, time: Timestamp) -> Bank {
    let mut bank = Bank::new(deal);
    assert_eq!(bank.block(time, vec![(Side::Consumer, Settlement::Cancel)]), []);
    nobody_acts(bank)
}

/// The cells of the document's table, row by row.
fn table() -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split("## Who gets the deposit").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn deposits_go_where_the_document_says() {
    let table = table();
    let (header, rows) = table.split_first().unwrap();
    assert_eq!(header[1..], COLUMNS.map(|(name, ..)| name));
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ROWS.map(|(name, _)| name));
    for (row, (name, play)) in rows.iter().zip(ROWS) {
        for (said, (column, kinds, deposit)) in row[1..].iter().zip(COLUMNS) {
            for (kind, count) in kinds.iter().flat_map(|kind| [1, 2, 10, 100].map(|count| (*kind, count))) {
                let shape = Shape { deposit, cancel_by: CANCEL_BY, ..Shape::new(kind, count) };
                let deal = Deal::new(shape);
                let first = deal.terms.plan.amount(0).get();
                let bank = play(deal);
                let got = (bank.producer_money().get(), bank.consumer_money().get());
                let expected = match *said {
                    "producer" => (first, PRICE.get() - first),
                    "consumer" => (0, PRICE.get()),
                    other => panic!("{other:?} is nobody"),
                };
                assert_eq!(got, expected, "{name}, {column}: {kind:?}, N = {count}");
            }
        }
    }
}
