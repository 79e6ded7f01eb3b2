//! How people write quantities on the command line.

use std::str::FromStr;

use evchain_protocol::primitives::{Energy, Position, Span, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock;

/// Reads an energy with its unit: `20kWh`, `500Wh`, `1.5 kWh`.
///
/// # Errors
/// What is wrong, for people.
pub fn energy(text: &str) -> Result<Energy, String> {
    let units = [("MWh", 1_000_000), ("kWh", 1_000), ("Wh", 1)];
    scaled(text, &units)
        .map(Energy::new)
        .ok_or_else(|| format!("write an energy with its unit, such as 20kWh or 500Wh, not '{text}'"))
}

/// Reads a power with its unit, in W: `22kW`, `7400W`.
///
/// # Errors
/// What is wrong, for people.
pub fn power_w(text: &str) -> Result<u32, String> {
    let units = [("MW", 1_000_000), ("kW", 1_000), ("W", 1)];
    scaled(text, &units)
        .and_then(|watts| u32::try_from(watts).ok())
        .ok_or_else(|| format!("write a power with its unit, such as 22kW or 7400W, not '{text}'"))
}

/// Reads a length of time with its units: `10m`, `90s`, `1h30m`, `7d`, `500ms`.
///
/// # Errors
/// What is wrong, for people.
pub fn span(text: &str) -> Result<Span, String> {
    let error =
        || format!("write a length of time with its units, such as 90s, 10m, 1h30m or 7d, not '{text}'");
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (count, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(error()),
        };
        let count: u64 = count.parse().map_err(|_| error())?;
        total = count.checked_mul(unit_ms).and_then(|ms| total.checked_add(ms)).ok_or_else(error)?;
        rest = next.trim_start();
    }
    Ok(Span::new(total))
}

/// Reads a moment: `now`, `+2h` from now, or RFC 3339 such as `2026-11-22T14:00:00+01:00`.
///
/// The first two count from the last tenth of a second, so that requests and bids can have them.
///
/// # Errors
/// What is wrong, for people.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let error =
        || format!("write a moment as +2h (from now), now, or 2026-11-22T14:00:00Z (RFC 3339), not '{text}'");
    let now = clock::now().floor_to_tick();
    if text == "now" {
        return Ok(now);
    }
    if let Some(later) = text.strip_prefix('+') {
        return now.after(span(later)?).map_err(|_| error());
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| error())?;
    let ms = moment.unix_timestamp_nanos() / 1_000_000;
    u64::try_from(ms).map(Timestamp::new).map_err(|_| error())
}

/// Reads a position in degrees, latitude first: `47.8095,13.0550`.
///
/// # Errors
/// What is wrong, for people.
pub fn position(text: &str) -> Result<Position, String> {
    let error = || {
        format!("write a position as latitude,longitude in degrees, such as 47.8095,13.0550, not '{text}'")
    };
    let (latitude, longitude) = text.split_once(',').ok_or_else(error)?;
    let degrees_e7 = |text: &str| {
        let (sign, text) = text.trim().strip_prefix('-').map_or((1, text.trim()), |text| (-1, text));
        let e7 = decimal(text, 10_000_000)?;
        i32::try_from(e7).ok().map(|e7| sign * e7)
    };
    let read = || Some(Position { latitude_e7: degrees_e7(latitude)?, longitude_e7: degrees_e7(longitude)? });
    read().filter(Position::is_on_globe).ok_or_else(error)
}

/// A number with one of these units behind it, in the smallest of them.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = units.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))?;
    decimal(number.trim(), unit)
}

/// A decimal number times `unit`, if that is a whole number.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || (text.contains('.') && decimals.is_empty())
    {
        return None;
    }
    let mut value = u64::from_str(whole).ok()?.checked_mul(unit)?;
    let mut place = unit;
    for digit in decimals.bytes() {
        // Zeros behind the last digit that counts are harmless.
        if !place.is_multiple_of(10) {
            if digit == b'0' {
                continue;
            }
            return None;
        }
        place /= 10;
        value = value.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(value)
}

/// A moment as people read it, with how far it is from now.
pub fn show_moment(moment: Timestamp) -> String {
    let nanos = i128::from(moment.get()) * 1_000_000;
    let shown = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|moment| moment.replace_nanosecond(0).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| moment.to_string());
    let now = clock::now();
    let distance = if moment >= now { moment.since(now) } else { now.since(moment) };
    match distance.get() {
        0..1_000 => format!("{shown} (now)"),
        _ if moment > now => format!("{shown} (in {})", show_span(distance)),
        _ => format!("{shown} ({} ago)", show_span(distance)),
    }
}

/// A length of time as people read it, in its two largest units.
pub fn show_span(span: Span) -> String {
    let ms = span.get();
    let (seconds, minutes, hours, days) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{ms} ms"),
        (0, 0, 0, 1..10) if !ms.is_multiple_of(1_000) => format!("{seconds}.{} s", ms % 1_000 / 100),
        (0, 0, 0, _) => format!("{seconds} s"),
        (0, 0, _, _) => two(minutes, "min", seconds % 60, "s"),
        (0, _, _, _) => two(hours, "h", minutes % 60, "min"),
        (_, _, _, _) => two(days, "d", hours % 24, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// An energy as people read it.
pub fn show_energy(energy: Energy) -> String {
    match (energy.get() / 1_000, energy.get() % 1_000) {
        (0, wh) => format!("{wh} Wh"),
        (kwh, 0) => format!("{kwh} kWh"),
        (kwh, wh) => format!("{} kWh", format!("{kwh}.{wh:03}").trim_end_matches('0')),
    }
}

/// A number of 1e-7 degrees as people read it.
pub fn show_degrees(e7: i64) -> String {
    let sign = if e7 < 0 { "-" } else { "" };
    let e7 = e7.unsigned_abs();
    format!("{sign}{}.{:05}", e7 / 10_000_000, e7 % 10_000_000 / 100)
}
