//! Goal: a tariff file says how requests are priced, and a wrong one is told where.
//! Method: the example file, with its parts exchanged.

use evchain_protocol::primitives::Amount;
use evchain_protocol::session::pricing::{Band, Pricing, Tariff, TimeOfUse};

use super::{ProducerTariff, Reservation};

/// The example with another way to price.
fn with_price(price: &str) -> Result<ProducerTariff, String> {
    let example = ProducerTariff::EXAMPLE;
    let top = example.split("[price]").next().expect("text");
    ProducerTariff::from_toml(&format!("{top}\n[price]\n{price}")).map_err(|error| error.to_string())
}

fn tariff(per_kwh: u64, flat: u64) -> Tariff {
    Tariff { price_per_kwh: Amount::new(per_kwh), flat: Amount::new(flat) }
}

#[test]
fn the_example_is_a_tariff_in_each_of_its_parts() {
    let example = ProducerTariff::from_toml(ProducerTariff::EXAMPLE).expect("a tariff");
    assert_eq!(example.pricing, Pricing::Fixed(tariff(4_900, 5_000)));
    assert_eq!((example.reservation, example.max_updates), (Reservation::Exclusive, 0));
    // The others stand in it as comments.
    let comments: String = ProducerTariff::EXAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix("# ").filter(|rest| rest.contains('=') || *rest == "]").unwrap_or_default()
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let commented = |kind: &str| {
        let (_, rest) = comments.split_once(&format!("kind = \"{kind}\"")).expect("a comment");
        let end = rest.find("kind =").unwrap_or(rest.len());
        with_price(&format!("kind = \"{kind}\"{}", &rest[..end])).expect("a tariff")
    };
    let undercut = commented("undercut");
    let pricing =
        Pricing::Undercut { posted: tariff(4_900, 5_000), floor: tariff(3_900, 0), step: Amount::new(1_000) };
    assert_eq!((undercut.pricing, undercut.max_updates), (pricing, 20));
    let band = |from_minute, per_kwh| Band { from_minute, price_per_kwh: Amount::new(per_kwh) };
    let bands = vec![band(0, 2_900), band(360, 4_900), band(1_050, 5_900), band(1_320, 2_900)];
    let times = TimeOfUse::new(bands, 60, Amount::new(5_000)).expect("a day");
    assert_eq!(commented("time_of_use").pricing, Pricing::TimeOfUse(times));
}

#[test]
fn wrong_prices_are_named() {
    let undercut = |posted: &str, floor: &str, step: &str| {
        format!(
            "kind = \"undercut\"\nposted = {{ per_kwh = \"{posted}\" }}\nfloor = {{ per_kwh = \"{floor}\" }}\nstep = \"{step}\""
        )
    };
    let times = |bands: &str| format!("kind = \"time_of_use\"\nbands = [{bands}]");
    for (price, message) in [
        ("kind = \"fixed\"\nper_kwh = \"0,49\"".to_owned(), "price.per_kwh: '0,49' is not an amount"),
        ("kind = \"fixed\"\nper_kwh = \"0\"".to_owned(), "price.per_kwh and flat is 0"),
        ("kind = \"fixed\"\nper_kwh = \"1\"\nfloor = \"1\"".to_owned(), "unknown field `floor`"),
        ("kind = \"auction\"".to_owned(), "unknown variant `auction`"),
        (
            undercut("0.4", "0.5", "0.1"),
            "price.floor is 0.5000 per kWh and 0.0000, and it must be nowhere above",
        ),
        (undercut("0.4", "0.3", "0"), "price.step is 0"),
        (undercut("0.4", "0", "0.1"), "price.floor is 0"),
        (times(""), "price.bands: the first band must begin at midnight"),
        (times("{ from = \"6:00\", per_kwh = \"1\" }"), "price.bands.from is '6:00'"),
        (times("{ from = \"24:00\", per_kwh = \"1\" }"), "price.bands.from is '24:00'"),
        (times("{ from = \"00:00\", per_kwh = \"0\" }"), "price.bands and flat is 0"),
    ] {
        let error = with_price(&price).expect_err(&price);
        assert!(error.contains(message), "{price}: {error}");
    }
}
