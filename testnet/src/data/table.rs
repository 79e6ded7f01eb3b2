use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::{Reader, ReaderBuilder, StringRecord};

use super::error::DataError;

/// The most rows of a file; the real ones have some 30,000.
const MAX_ROWS: usize = 1_000_000;
/// The longest part of a value that an error repeats, in characters.
const SHOWN_VALUE: usize = 40;

/// Reads the rows of a file, one by one, with `parse`.
pub(super) fn read_file<T>(
    path: &Path,
    required: &[&'static str],
    parse: impl Fn(&Row) -> Result<T, DataError>,
) -> Result<Vec<T>, DataError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| DataError::Io { file: name.clone(), source })?;
    read(&name, file, required, parse)
}

/// Reads rows from anything that is readable; `name` stands for it in errors.
pub(super) fn read<T>(
    name: &str,
    source: impl Read,
    required: &[&'static str],
    parse: impl Fn(&Row) -> Result<T, DataError>,
) -> Result<Vec<T>, DataError> {
    let mut reader = ReaderBuilder::new().from_reader(source);
    let columns = header(name, &mut reader, required)?;
    let mut rows = Vec::new();
    for (index, record) in reader.into_records().enumerate() {
        if index == MAX_ROWS {
            return Err(DataError::TooLong { file: name.to_owned(), max: MAX_ROWS });
        }
        let record = record.map_err(|error| unreadable(name, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push(parse(&Row { file: name, line, columns: &columns, record: &record })?);
    }
    Ok(rows)
}

fn header(
    name: &str,
    reader: &mut Reader<impl Read>,
    required: &[&'static str],
) -> Result<BTreeMap<String, usize>, DataError> {
    let header = reader.headers().map_err(|error| unreadable(name, error))?;
    let columns: BTreeMap<String, usize> =
        header.iter().enumerate().map(|(index, column)| (column.trim().to_owned(), index)).collect();
    match required.iter().find(|column| !columns.contains_key(**column)) {
        None => Ok(columns),
        Some(column) => {
            let found = header.iter().collect::<Vec<_>>().join(", ");
            Err(DataError::MissingColumn { file: name.to_owned(), column, found })
        }
    }
}

fn unreadable(name: &str, error: csv::Error) -> DataError {
    let line = error.position().map_or(1, csv::Position::line);
    let reason = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::Io { file: name.to_owned(), source },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => DataError::Malformed {
            file: name.to_owned(),
            line,
            reason: format!("it has {len} fields, but the header has {expected_len}"),
        },
        csv::ErrorKind::Utf8 { .. } => {
            DataError::Malformed { file: name.to_owned(), line, reason: "it is not UTF-8".to_owned() }
        }
        _ => DataError::Malformed { file: name.to_owned(), line, reason },
    }
}

/// A row of a file.
pub(super) struct Row<'a> {
    file: &'a str,
    line: u64,
    columns: &'a BTreeMap<String, usize>,
    record: &'a StringRecord,
}

impl Row<'_> {
    /// The row's line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The text of a column; none if the file has no such column or nothing stands there.
    pub(super) fn optional(&self, column: &str) -> Option<&str> {
        let index = *self.columns.get(column)?;
        self.record.get(index).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The value of a column, by a function that says what is expected where the text is no value.
    pub(super) fn value<T>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, DataError> {
        let text = self.optional(column).unwrap_or_default();
        parse(text).map_err(|rule| self.bad(column, text, rule))
    }

    /// As [`Row::value`], where the value may be missing.
    pub(super) fn optional_value<T>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, DataError> {
        self.optional(column).map(|text| parse(text).map_err(|rule| self.bad(column, text, rule))).transpose()
    }

    fn bad(&self, column: &'static str, text: &str, rule: String) -> DataError {
        let value = text.chars().take(SHOWN_VALUE).collect();
        DataError::BadValue { file: self.file.to_owned(), line: self.line, column, value, rule }
    }
}

/// A whole number within bounds.
pub(super) fn whole(low: u64, high: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let number = text.parse().ok().filter(|number| (low..=high).contains(number));
        number.ok_or_else(|| format!("is not a whole number from {low} to {high}"))
    }
}

/// A decimal number with at most `digits` decimals, as a multiple of the last of them: with 4 digits,
/// `0.49` is 4900. Exact, unlike by way of a float.
pub(super) fn decimal(digits: usize, low: i64, high: i64) -> impl Fn(&str) -> Result<i64, String> {
    move |text| {
        scaled(text, digits).filter(|number| (low..=high).contains(number)).ok_or_else(|| {
            let unit = 10_i64.pow(u32::try_from(digits).unwrap_or(0));
            format!("is not a number from {} to {} with at most {digits} decimals", low / unit, high / unit)
        })
    }
}

fn scaled(text: &str, digits: usize) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || decimals.len() > digits || !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let number: i64 = format!("{whole}{decimals:0<digits$}").parse().ok()?;
    Some(if negative { -number } else { number })
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            format!("is none of {words}")
        })
    }
}
