//! Goal: a data file is read exactly or refused with the place that is wrong.
//! Method: tables of small files with one property each, and the built-in scenario as it is.

use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Span, Timestamp};
use evchain_protocol::session::PaymentKind;

use super::request::parse_requests;
use super::station::parse_stations;
use super::{ConsumerKind, PriceSource, ProducerKind, salzburg};

const STATIONS: &str =
    "station,operator_id,region_id,lat,lon,points,point_kw_max,dc,price_eur_per_kwh,price_source\n";
const REQUESTS: &str =
    "site,station_id,arrival_utc,declared_departure_utc,departure_utc,requested_wh,delivered_wh,claimed\n";

#[test]
fn station_is_read_exactly() {
    let rows = parse_stations("s.csv", &format!("{STATIONS}7,1,244,47.8712345,-12.5,2,3.7,0,0.49,imputed\n"));
    let rows = rows.unwrap();
    let station = &rows[0];
    assert_eq!((station.line, station.station, station.name.as_str()), (2, 7, "station 7"));
    assert_eq!(station.region, Some(RegionId::new(244)));
    assert_eq!(station.position, Position { latitude_e7: 478_712_345, longitude_e7: -125_000_000 });
    assert_eq!((station.connectors, station.power_w), (2, 3_700));
    assert_eq!(station.price_per_kwh, Amount::new(4_900));
    assert_eq!(station.price_source, PriceSource::Imputed);
    assert_eq!(station.kind, ProducerKind::Station);
}

#[test]
fn region_zero_is_nowhere() {
    let rows = parse_stations("s.csv", &format!("{STATIONS}7,1,0,47.8,12.5,2,22.0,0,0.49,posted\n")).unwrap();
    assert_eq!(rows[0].region, None);
}

#[test]
fn request_is_read_exactly() {
    let row = "caltech,CA-305,2019-05-01T08:18:45Z,2019-05-01T16:20:45Z,2019-05-01T22:52:36Z,60000,44069,1\n";
    let rows = parse_requests("r.csv", &format!("{REQUESTS}{row}")).unwrap();
    assert_eq!(rows[0].arrival, Timestamp::new(1_556_698_725_000));
    assert_eq!(rows[0].window(), Span::new((8 * 60 + 2) * 60_000));
    assert_eq!(rows[0].requested, Energy::new(60_000));
    assert_eq!((rows[0].kind, rows[0].payment, rows[0].region), (ConsumerKind::Vehicle, None, None));
}

#[test]
fn window_that_ends_before_it_begins_has_no_length() {
    let row = "x,y,2019-05-01T08:00:00Z,2019-05-01T07:00:00Z,,1,,1\n";
    assert_eq!(parse_requests("r.csv", &format!("{REQUESTS}{row}")).unwrap()[0].window(), Span::ZERO);
}

#[test]
fn bad_stations_are_refused_with_their_place() {
    let cases = [
        ("x,1,1,47.8,12.5,2,22.0,0,0.49,posted", "s.csv, line 2, column station: 'x' is not a whole number"),
        ("7,1,70000,47.8,12.5,2,22.0,0,0.49,posted", "column region_id: '70000'"),
        ("7,1,1,90.1,12.5,2,22.0,0,0.49,posted", "column lat: '90.1' is not a number from -90 to 90"),
        ("7,1,1,47.8,180.1,2,22.0,0,0.49,posted", "column lon: '180.1'"),
        ("7,1,1,47.8,12.5,0,22.0,0,0.49,posted", "column points: '0'"),
        ("7,1,1,47.8,12.5,2,0,0,0.49,posted", "column point_kw_max: '0'"),
        ("7,1,1,47.8,12.5,2,NaN,0,0.49,posted", "column point_kw_max: 'NaN'"),
        ("7,1,1,47.8,12.5,2,22.0,0,0.49001,posted", "column price_eur_per_kwh: '0.49001'"),
        ("7,1,1,47.8,12.5,2,22.0,0,-0.49,posted", "column price_eur_per_kwh: '-0.49'"),
        ("7,1,1,47.8,12.5,2,22.0,0,0.49,guessed", "'guessed' is none of posted, imputed, invented"),
        ("7,1,1,47.8", "line 2: it has 4 fields, but the header has 10"),
    ];
    for (row, expected) in cases {
        let error = parse_stations("s.csv", &format!("{STATIONS}{row}\n")).unwrap_err().to_string();
        assert!(error.contains(expected), "{row}: {error}");
    }
}

#[test]
fn bad_requests_are_refused_with_their_place() {
    let cases = [
        ("x,y,today,2019-05-01T16:20:45Z,,1,,1", "r.csv, line 3, column arrival_utc: 'today' is not a time"),
        ("x,y,1969-01-01T00:00:00Z,2019-05-01T16:20:45Z,,1,,1", "column arrival_utc: '1969"),
        ("x,y,2019-05-01T08:00:00Z,,,1,,1", "column declared_departure_utc: '' is not a time"),
        ("x,y,2019-05-01T08:00:00Z,2019-05-01T16:20:45Z,,-1,,1", "column requested_wh: '-1'"),
    ];
    let good = "x,y,2019-05-01T08:00:00Z,2019-05-01T16:20:45Z,,1,,1";
    for (row, expected) in cases {
        let error = parse_requests("r.csv", &format!("{REQUESTS}{good}\n{row}\n")).unwrap_err().to_string();
        assert!(error.contains(expected), "{row}: {error}");
    }
}

#[test]
fn missing_column_is_named() {
    let error = parse_requests("r.csv", "arrival_utc,requested_wh\n").unwrap_err().to_string();
    assert!(error.contains("the column declared_departure_utc is missing"), "{error}");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let parse = |_: &super::table::Row| Ok(());
    let error = super::table::read("b.csv", &b"a\n\xff\xfe\n"[..], &["a"], parse).unwrap_err().to_string();
    assert_eq!(error, "b.csv, line 2: it is not UTF-8");
}

#[test]
fn built_in_scenario_has_every_direction_and_way_to_pay() {
    let (stations, requests) = (salzburg::stations().unwrap(), salzburg::requests().unwrap());
    assert!(stations.len() >= 12 && requests.len() >= 18);
    assert!(stations.iter().all(|station| station.price_source == PriceSource::Invented));
    for kind in [PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel] {
        assert!(requests.iter().filter(|request| request.payment == Some(kind)).count() >= 4);
    }
    let sells = |region, kind| stations.iter().any(|row| row.region == region && row.kind == kind);
    for request in &requests {
        assert!(request.name.is_some() && request.position.is_some());
        // The grid buys from vehicles only, so no station may bid for what it asks.
        let grid = request.kind == ConsumerKind::Grid;
        assert!(sells(request.region, ProducerKind::Vehicle) || !grid);
        assert!(!(grid && sells(request.region, ProducerKind::Station)));
    }
    let vehicles = |row: &&super::RequestRow| sells(row.region, ProducerKind::Vehicle);
    let v2v = requests.iter().filter(vehicles).filter(|row| row.kind == ConsumerKind::Vehicle).count();
    assert!(v2v >= 3);
}
