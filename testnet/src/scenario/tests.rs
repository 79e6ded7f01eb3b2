//! Goal: rows become a scenario whose requests can be served, and what is left out is said.
//! Method: small sets of rows with one property each; the built-in scenario as a whole.

use evchain_node::agents::producer::Reservation;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Span, Timestamp};
use evchain_protocol::session::PaymentKind;

use super::{PaymentMix, Plan, PlanError, PlanOptions};
use crate::data::{ConsumerKind, PriceSource, ProducerKind, RequestRow, StationRow, salzburg};

const HOUR_MS: u64 = 3_600_000;

fn station(region: u16, power_w: u32) -> StationRow {
    StationRow {
        line: 2,
        station: 1,
        name: "s".to_owned(),
        region: Some(RegionId::new(region)),
        position: Position { latitude_e7: 1, longitude_e7: 2 },
        connectors: 1,
        power_w,
        price_per_kwh: Amount::new(4_900),
        price_source: PriceSource::Posted,
        kind: ProducerKind::Station,
    }
}

fn request(line: u64, hours: u64, energy_wh: u64) -> RequestRow {
    let arrival = Timestamp::new(1_000_000 * HOUR_MS + line * HOUR_MS);
    RequestRow {
        line,
        name: None,
        arrival,
        declared_departure: arrival.after(Span::new(hours * HOUR_MS)).unwrap(),
        requested: Energy::new(energy_wh),
        region: None,
        position: None,
        kind: ConsumerKind::Vehicle,
        payment: None,
    }
}

fn options() -> PlanOptions {
    PlanOptions {
        region: Some(RegionId::new(5)),
        sessions: 10,
        installments: InstallmentCount::new(10).unwrap(),
        payment: PaymentMix::Mix,
        speed: None,
        reservation: Reservation::Exclusive,
    }
}

#[test]
fn requests_that_nobody_can_serve_are_left_out_with_the_reason() {
    let requests = vec![
        request(2, 1, 0),
        request(3, 0, 1_000),
        request(4, 1, 22_000),
        request(5, 1, 22_001),
        RequestRow { region: Some(RegionId::new(6)), ..request(6, 1, 1_000) },
    ];
    let plan = Plan::new(vec![station(5, 11_000), station(5, 22_000)], requests, &options()).unwrap();
    assert_eq!(plan.consumers.iter().map(|consumer| consumer.line).collect::<Vec<_>>(), [4]);
    let skipped: Vec<_> = plan.skipped.iter().map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(
        skipped,
        [
            (2, "it asks for no energy"),
            (3, "its window has no length"),
            (5, "no station can give 22001 Wh in 60 min: the strongest has 22.0 kW"),
            (6, "no station lies in its region 6"),
        ]
    );
}

#[test]
fn left_out_requests_do_not_count() {
    let requests = (0..20).map(|line| request(line, 1, if line % 2 == 0 { 0 } else { 1_000 })).collect();
    let plan =
        Plan::new(vec![station(5, 22_000)], requests, &PlanOptions { sessions: 4, ..options() }).unwrap();
    assert_eq!((plan.consumers.len(), plan.skipped.len()), (4, 4));
}

#[test]
fn times_are_compressed_and_windows_keep_room_for_what_is_not() {
    let speed = Some("360".parse().unwrap());
    let requests = vec![request(3, 1, 1_000), request(2, 2, 1_000)];
    let plan = Plan::new(vec![station(5, 22_000)], requests, &PlanOptions { speed, ..options() }).unwrap();
    let times: Vec<_> =
        plan.consumers.iter().map(|row| (row.line, row.asks_after.get(), row.window.get())).collect();
    assert_eq!(times, [(2, 0, 20_000 + 5_500), (3, 10_000, 10_000 + 5_500)]);
}

#[test]
fn speed_presses_the_scenario_into_three_minutes() {
    let requests = (0..10).map(|line| request(line, 3, 1_000)).collect();
    let plan = Plan::new(vec![station(5, 22_000)], requests, &options()).unwrap();
    // 12 hours from the first arrival to the last departure.
    assert_eq!(plan.speed.get(), 240);
}

#[test]
fn payments_take_turns_unless_one_is_asked_for() {
    let requests: Vec<_> = (0..4).map(|line| request(line, 3, 1_000)).collect();
    let kinds = |payment| {
        let options = PlanOptions { payment, ..options() };
        let plan = Plan::new(vec![station(5, 22_000)], requests.clone(), &options).unwrap();
        plan.consumers.iter().map(|consumer| consumer.payment).collect::<Vec<_>>()
    };
    assert_eq!(
        kinds(PaymentMix::Mix),
        [PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel, PaymentKind::Hashes]
    );
    assert_eq!(kinds(PaymentMix::Chain), [PaymentKind::Chain; 4]);
    assert_eq!(kinds(PaymentMix::Single), [PaymentKind::Single; 4]);
}

#[test]
fn single_locks_take_longer_before_the_window_the_more_there_are() {
    let lead = |payment, count| {
        let installments = InstallmentCount::new(count).unwrap();
        let options = PlanOptions { installments, payment, ..options() };
        Plan::new(vec![station(5, 22_000)], vec![request(1, 3, 1_000)], &options).unwrap().consumers[0].lead
    };
    assert_eq!(lead(PaymentMix::Chain, 1), lead(PaymentMix::Channel, 100));
    assert!(lead(PaymentMix::Single, 1) > lead(PaymentMix::Chain, 1));
    assert!(lead(PaymentMix::Single, 100) > lead(PaymentMix::Single, 1));
}

#[test]
fn empty_scenarios_are_refused() {
    let plan = |stations, requests| Plan::new(stations, requests, &options()).err();
    assert_eq!(plan(vec![station(4, 1)], vec![]), Some(PlanError::NoStations(RegionId::new(5))));
    assert_eq!(plan(vec![station(5, 1)], vec![]), Some(PlanError::NoRequests(0)));
}

#[test]
fn built_in_scenario_leaves_nobody_out() {
    let options = PlanOptions { region: None, sessions: 100, ..options() };
    let plan = Plan::new(salzburg::stations().unwrap(), salzburg::requests().unwrap(), &options).unwrap();
    assert_eq!((plan.skipped.len(), plan.producers_left_out), (0, 0));
    assert!(plan.consumers.len() >= 18);
}
