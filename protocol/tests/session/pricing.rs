//! Goal: the producer's prices are what their documentation says, to the unit.
//! Method: tables reckoned by hand, and properties of prices by the time of day over random windows.

use evchain_protocol::primitives::{Amount, Energy, OutOfRange, Timestamp, Window};
use evchain_protocol::session::pricing::{BadBands, Band, MAX_BANDS, Pricing, Tariff, TimeOfUse};
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
/// Some midnight, UTC.
const MIDNIGHT: u64 = 20_000 * 24 * HOUR;

fn tariff(per_kwh: u64, flat: u64) -> Tariff {
    Tariff { price_per_kwh: Amount::new(per_kwh), flat: Amount::new(flat) }
}

/// A window in ms after [`MIDNIGHT`].
fn window(start: u64, end: u64) -> Window {
    Window { start: Timestamp::new(MIDNIGHT + start), end: Timestamp::new(MIDNIGHT + end) }
}

fn price(pricing: &Pricing, wh: u64, lowest: Option<u64>) -> Result<Option<u64>, OutOfRange> {
    let price = pricing.price(window(0, HOUR), Energy::new(wh), lowest.map(Amount::new));
    price.map(|price| price.map(Amount::get))
}

fn times(bands: &[(u16, u64)], offset: i16, flat: u64) -> Result<TimeOfUse, BadBands> {
    let band = |(from_minute, per_kwh): &(u16, u64)| Band {
        from_minute: *from_minute,
        price_per_kwh: Amount::new(*per_kwh),
    };
    TimeOfUse::new(bands.iter().map(band).collect(), offset, Amount::new(flat))
}

#[test]
fn a_fixed_price_is_the_posted_one() {
    let fixed = Pricing::Fixed(tariff(4_900, 500));
    assert_eq!(price(&fixed, 20_000, Some(1)), Ok(Some(98_500)));
    // A part of a unit is rounded up: energy is never cheaper than posted.
    assert_eq!(price(&fixed, 1, None), Ok(Some(505)));
    assert_eq!(price(&fixed, u64::MAX, None), Err(OutOfRange("Amount")));
    assert_eq!(price(&Pricing::Fixed(tariff(0, 0)), 1_000, None), Ok(None));
    assert!(!fixed.heeds_others());
}

#[test]
fn who_undercuts_stays_between_floor_and_posted_price() {
    let undercut =
        Pricing::Undercut { posted: tariff(5_000, 0), floor: tariff(4_000, 0), step: Amount::new(10) };
    assert_eq!(price(&undercut, 1_000, None), Ok(Some(5_000)));
    assert_eq!(price(&undercut, 1_000, Some(9_000)), Ok(Some(5_000)));
    assert_eq!(price(&undercut, 1_000, Some(4_200)), Ok(Some(4_190)));
    assert_eq!(price(&undercut, 1_000, Some(4_010)), Ok(Some(4_000)));
    assert_eq!(price(&undercut, 1_000, Some(4_009)), Ok(Some(4_000)));
    assert_eq!(price(&undercut, 1_000, Some(1)), Ok(Some(4_000)));
    assert!(undercut.heeds_others());
}

#[test]
fn each_part_of_a_window_has_the_price_of_its_hours() {
    // Night 0.20 from 22:00, day 0.40 from 06:00, evening 0.60 from 18:00.
    let at = |offset, start: u64, end: u64, wh| {
        let times = times(&[(0, 2_000), (360, 4_000), (1_080, 6_000), (1_320, 2_000)], offset, 0).unwrap();
        times.price(window(start, end), Energy::new(wh)).map(Amount::get)
    };
    // 10 kWh in one band.
    assert_eq!(at(0, 7 * HOUR, 8 * HOUR, 10_000), Ok(40_000));
    // Half an hour of evening and an hour and a half of night.
    assert_eq!(at(0, 21 * HOUR + HOUR / 2, 23 * HOUR + HOUR / 2, 10_000), Ok(15_000 + 15_000));
    // Over midnight, and by local time: 23:00 UTC is 06:00 at seven hours ahead, 18:00 at five behind.
    assert_eq!(at(0, 23 * HOUR, 25 * HOUR, 10_000), Ok(20_000));
    assert_eq!(at(420, 23 * HOUR, 25 * HOUR, 10_000), Ok(40_000));
    assert_eq!(at(-300, 23 * HOUR, 25 * HOUR, 10_000), Ok(60_000));
    // Two days: 16 h of night, 24 h of day, 8 h of evening.
    let average = (16 * 2_000 + 24 * 4_000 + 8 * 6_000) * 10 / 48;
    assert_eq!(at(0, HOUR, 49 * HOUR, 10_000), Ok(average + 1), "rounded up");
    assert_eq!(at(0, HOUR, HOUR, 10_000), Err(OutOfRange("Window")));
    assert_eq!(at(0, HOUR, 2 * HOUR, u64::MAX), Err(OutOfRange("Amount")));
    let late = Window { start: Timestamp::new(u64::MAX - HOUR), end: Timestamp::MAX };
    let times = times(&[(0, 1)], 0, 0).unwrap();
    assert_eq!(times.price(late, Energy::new(1)), Err(OutOfRange("Timestamp")));
    assert!(times_is_free(&[(0, 0)]) && !times_is_free(&[(0, 0), (60, 1)]));
}

fn times_is_free(bands: &[(u16, u64)]) -> bool {
    times(bands, 0, 0).unwrap().is_free()
}

#[test]
fn bands_that_make_no_day_are_refused() {
    let many: Vec<(u16, u64)> = (0..=u16::try_from(MAX_BANDS).unwrap()).map(|begin| (begin, 1)).collect();
    assert_eq!(times(&[], 0, 0), Err(BadBands::NotFromMidnight));
    assert_eq!(times(&[(1, 1)], 0, 0), Err(BadBands::NotFromMidnight));
    assert_eq!(times(&[(0, 1), (60, 1), (60, 2)], 0, 0), Err(BadBands::NotAscending));
    assert_eq!(times(&[(0, 1), (1_440, 1)], 0, 0), Err(BadBands::NotAscending));
    assert_eq!(times(&many, 0, 0), Err(BadBands::TooMany(MAX_BANDS + 1)));
    assert!(times(&many[..MAX_BANDS], 0, 0).is_ok());
    assert_eq!(times(&[(0, 1)], 841, 0), Err(BadBands::Offset(841)));
    assert_eq!(times(&[(0, 1)], i16::MIN, 0), Err(BadBands::Offset(i16::MIN)));
}

proptest! {
    /// However a day with one price is cut into bands, the price is that of the tariff.
    #[test]
    fn equal_bands_are_a_fixed_price(
        cuts in prop::collection::btree_set(1_u16..1_440, 0..8),
        offset in -840_i16..=840,
        start in 0..1_000 * HOUR,
        length in 1..200 * HOUR,
        wh in 1_u64..100_000,
    ) {
        let bands: Vec<_> = [0].into_iter().chain(cuts).map(|begin| (begin, 4_900)).collect();
        let got = times(&bands, offset, 500).unwrap().price(window(start, start + length), Energy::new(wh));
        prop_assert_eq!(got, tariff(4_900, 500).price(Energy::new(wh)));
    }

    /// Two windows that follow each other cost together what the whole does, up to the rounding of
    /// each: no ms of the day is missed or counted twice.
    #[test]
    fn a_window_costs_what_its_parts_do(
        offset in -840_i16..=840,
        start in 0..1_000 * HOUR,
        first in 1..50 * HOUR,
        second in 1..50 * HOUR,
    ) {
        let times = times(&[(0, 1_000), (405, 3_000), (1_000, 7_000)], offset, 0).unwrap();
        // A Wh for each ms, so that the energy is cut as the window is.
        let price = |from, to| times.price(window(from, to), Energy::new(to - from)).unwrap().get();
        let whole = price(start, start + first + second);
        let parts = price(start, start + first) + price(start + first, start + first + second);
        prop_assert!(whole <= parts && parts <= whole + 1, "{} and {}", whole, parts);
    }
}
