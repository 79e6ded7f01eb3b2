//! JSON as people read it. A field's name tells its unit, here and nowhere else.

use evchain_protocol::primitives::{Amount, Energy, Span, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use super::output::{aligned, table};
use super::values::{show_degrees, show_energy, show_moment, show_span};

/// A value as text: an object as aligned lines, a list of objects as a table.
///
/// # Errors
/// Where the value has no JSON form.
pub(super) fn show<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(match serde_json::to_value(value)? {
        Value::Object(object) => aligned(&fields(&object, false)),
        Value::Array(items) => list(&items),
        value => scalar("", &value, false),
    })
}

/// What a reader looks for first, where an object has it; the rest follows by name.
const FIRST: [&str; 10] =
    ["ref", "request", "id", "transaction", "kind", "name", "address", "height", "block", "time"];

fn list(items: &[Value]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    let rows: Vec<Vec<(String, String)>> = items
        .iter()
        .map(|item| match item {
            Value::Object(object) => fields(object, true),
            item => vec![("value".to_owned(), scalar("", item, false))],
        })
        .collect();
    let mut names: Vec<String> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let cell = |row: &[(String, String)], name: &String| {
        row.iter().find(|(field, _)| field == name).map(|(_, cell)| cell.clone()).unwrap_or_default()
    };
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| names.iter().map(|name| cell(row, name)).collect()).collect();
    table(&names, &cells)
}

/// An object's fields, those of objects within it too, each with its text.
fn fields(object: &Map<String, Value>, short: bool) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    let mut ordered: Vec<(&String, &Value)> = object.iter().collect();
    ordered.sort_by_key(|(name, _)| rank(name));
    for (name, value) in ordered {
        let text = match value {
            Value::Object(inner) if name == "position" && inner.contains_key("latitude_e7") => {
                position(inner)
            }
            Value::Object(inner) if name == "window" => window(inner),
            Value::Object(inner) if name == "record" && short => record(inner),
            Value::Object(inner) => {
                rows.extend(
                    fields(inner, short).into_iter().map(|(field, text)| (format!("{name}.{field}"), text)),
                );
                continue;
            }
            Value::Array(items) if items.iter().any(Value::is_object) && !short => {
                rows.push((name.clone(), format!("{}:", items.len())));
                rows.extend(list(items).lines().map(|line| (String::new(), line.to_owned())));
                continue;
            }
            Value::Array(items) if short && !fits_a_cell(items) => items.len().to_string(),
            Value::Array(items) => {
                items.iter().map(|item| scalar(name, item, short)).collect::<Vec<_>>().join(", ")
            }
            value => scalar(name, value, short),
        };
        rows.push((name.clone(), text));
    }
    rows
}

/// Whether a table shows the items themselves and not how many there are.
fn fits_a_cell(items: &[Value]) -> bool {
    items.len() <= 3 && !items.iter().any(|item| item.is_object() || item.is_array())
}

fn scalar(name: &str, value: &Value, short: bool) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => {
            number.as_u64().map_or_else(|| number.to_string(), |number| quantity(name, number))
        }
        Value::String(text) => shortened(text, short),
        other => other.to_string(),
    }
}

fn quantity(name: &str, number: u64) -> String {
    match name {
        "balance" | "price" | "amount" | "fee" | "fee_flat" | "fee_per_byte" | "to_producer"
        | "to_consumer" | "supply" => {
            format!("{} EUR", Amount::new(number))
        }
        "cancel_by" if number == 0 => "never".to_owned(),
        "time" | "time_ms" | "start" | "end" | "bid_deadline" | "deadline" | "cancel_by" | "until"
        | "genesis_time" | "refund" => show_moment(Timestamp::new(number)),
        "energy" => show_energy(Energy::new(number)),
        "doubt" | "shortfall" => format!("{number} per mille"),
        "power_w" => format!("{number} W"),
        "tip_age_ms" | "latency_ms" | "claim_margin" | "min_challenge" | "max_challenge" | "challenge"
        | "max_window" | "max_lead" | "max_skew" | "hop_bound" | "idle_interval" | "min_block_interval" => {
            show_span(Span::new(number))
        }
        "bytes" | "waiting_bytes" | "max_block_bytes" => format!("{number} B"),
        _ => number.to_string(),
    }
}

fn position(object: &Map<String, Value>) -> String {
    let degrees =
        |field: &str| object.get(field).and_then(Value::as_i64).map_or_else(String::new, show_degrees);
    format!("{}, {}", degrees("latitude_e7"), degrees("longitude_e7"))
}

fn window(object: &Map<String, Value>) -> String {
    let moment =
        |field: &str| object.get(field).and_then(Value::as_u64).map(Timestamp::new).unwrap_or_default();
    let (start, end) = (moment("start"), moment("end"));
    format!("{}, {} long", show_moment(start), show_span(end.since(start)))
}

/// A track record in a table's cell.
fn record(object: &Map<String, Value>) -> String {
    let number = |field: &str| object.get(field).and_then(Value::as_u64).unwrap_or_default();
    let (completed, sessions) = (number("completed"), number("completed") + number("broken_off"));
    format!("{completed} of {sessions} completed, doubt {} per mille", number("doubt"))
}

/// In tables, the ends of keys and hashes have to do.
fn shortened(text: &str, short: bool) -> String {
    const LONG: usize = 48;
    if !short || text.len() < LONG || !text.is_ascii() {
        return text.to_owned();
    }
    format!("{}...{}", &text[..10], &text[text.len() - 6..])
}
