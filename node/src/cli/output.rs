use std::io::{ErrorKind, Write};

use serde::Serialize;

/// Prints a value as JSON.
///
/// # Errors
/// Where stdout is gone.
pub fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print_text(&serde_json::to_string_pretty(value)?)
}

/// Prints a text and a line's end.
///
/// # Errors
/// Where stdout is gone.
pub(super) fn print_text(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Whoever reads, such as `head`, has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Names and values below each other, the values aligned.
pub(super) fn aligned(rows: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    let width = rows.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, value)| format!("{:width$}  {}", name.as_ref(), value.as_ref()));
    lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Columns with their names above.
pub(super) fn table(names: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(names.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(line(names)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}
