//! Why a table cannot be read.

use std::path::PathBuf;

use crate::lookup::LookupLimits;

/// Why a [`Lookup`](super::Lookup) cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The file cannot be read.
    #[error("cannot read the table {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: std::io::Error,
    },
    /// The file is larger than allowed.
    #[error(
        "the table {} has more than {} bytes, and is held in memory whole\n  \
         hint: leave out the rows and columns that are not needed", path.display(), limits.bytes
    )]
    TooManyBytes {
        /// The file.
        path: PathBuf,
        /// What is allowed.
        limits: LookupLimits,
    },
    /// The file has more rows than allowed.
    #[error("the table {} has more than {} rows\n  hint: leave out those that are not needed", path.display(), limits.rows)]
    TooManyRows {
        /// The file.
        path: PathBuf,
        /// What is allowed.
        limits: LookupLimits,
    },
    /// The header has no such column, or is not there at all.
    #[error(
        "the table {} has no column `{column}`; its columns are {columns:?}\n  \
         hint: the first line is the header, and names all columns", path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column of keys that was asked for.
        column: String,
        /// The columns that there are.
        columns: Vec<String>,
    },
    /// The header names a column twice.
    #[error("the table {} has two columns `{column}`", path.display())]
    SameColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A row is not one: it has another number of fields than the header, a line break within a field, or a key that
    /// is no network.
    #[error("line {line} of the table {}: {reason}", path.display())]
    BadRow {
        /// The file.
        path: PathBuf,
        /// The line that the row begins in, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Two rows have the same key.
    #[error("lines {first} and {line} of the table {} have the same key \"{key}\"", path.display())]
    SameKey {
        /// The file.
        path: PathBuf,
        /// The line of the first of the two.
        first: u64,
        /// The line of the second.
        line: u64,
        /// The key, as the second row has it.
        key: String,
    },
    /// No kind of keys has this name.
    #[error("there are no keys `{keys}`\n  hint: keys are `exact` or `networks`")]
    Keys {
        /// The name as given.
        keys: String,
    },
}
