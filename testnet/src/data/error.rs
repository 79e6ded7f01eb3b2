use std::io;

/// Why a data file cannot be used. Lines count from 1, the header's.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be opened or read.
    #[error("{file}: cannot be read: {source}")]
    Io {
        /// The file's name as it was given.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is no CSV, or has more or fewer fields than the header.
    #[error("{file}, line {line}: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A column that the layout needs.
    #[error("{file}, line 1: the column {column} is missing; there are: {found}")]
    MissingColumn {
        /// The file.
        file: String,
        /// Which one.
        column: &'static str,
        /// The header's columns.
        found: String,
    },
    /// A value that its column does not allow.
    #[error("{file}, line {line}, column {column}: '{value}' {rule}")]
    BadValue {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// What stands there.
        value: String,
        /// What should, in words.
        rule: String,
    },
    /// More rows than are read.
    #[error("{file} has more than {max} rows, which is the most that is read")]
    TooLong {
        /// The file.
        file: String,
        /// The most rows.
        max: usize,
    },
}
