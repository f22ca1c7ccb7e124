//! How keys, totals, sketches and states stand in typed columns.
//!
//! What a door keeps durable is rows, and rows are stored by column: a [`Stored`] type says which
//! columns it has ([`Stored::columns`]), writes itself into them ([`Stored::put`]) and reads itself
//! back ([`Stored::take`]). What crosses the exchange between workers is another form (serde), so
//! an operator may change what it sends without making old snapshots unreadable.
//!
//! # Columns
//!
//! A column has a name, a [`ColumnType`], and may be nullable. Each type stands for one of Arrow
//! and Parquet:
//!
//! | [`ColumnType`] | Arrow | Parquet |
//! |---|---|---|
//! | `U64` | `UInt64` | `INT64`, `UINT_64` |
//! | `I64` | `Int64` | `INT64` |
//! | `Time` | `Timestamp(ms, UTC)` | `INT64`, `TIMESTAMP_MILLIS` |
//! | `I128` | `FixedSizeBinary(16)` | `FIXED_LEN_BYTE_ARRAY(16)` |
//! | `Bool` | `Boolean` | `BOOLEAN` |
//! | `Text` | `LargeUtf8` | `BYTE_ARRAY`, `UTF8` |
//! | `Bytes`, `Opaque` | `LargeBinary` | `BYTE_ARRAY` |
//!
//! A tuple has the columns of its parts, named `name.0`, `name.1` and so on; a struct for which
//! [`impl_stored!`](crate::impl_stored) was called has those of its fields, `name.field`. An
//! [`Option`] makes the columns of its content nullable, and has a column `name.some` of its own
//! only where the content's first column may be null by itself, or where there is none. What has no
//! columns (vectors, maps, enums of one's own) stands in one `Opaque` column, in the form of
//! `postcard`, which is specified and does not change ([`Opaque`]).
//!
//! # Bytes that nobody wrote
//!
//! Whatever a column holds, [`Stored::take`] returns a value or a [`StoredError`], and never
//! panics.

mod column;
mod implementations;
mod macros;
mod opaque;

pub(crate) use column::Data;
pub use column::{Column, ColumnType, Field, RowReader, RowWriter, StoredError};
#[doc(hidden)]
pub use implementations::first_is_never_null;
pub(crate) use implementations::put_option;
pub use opaque::Opaque;
#[doc(hidden)]
pub use opaque::{put as put_opaque, take as take_opaque};

/// Something that stands in typed columns.
///
/// Implemented for every [`Key`](super::Key) and every [`Total`](super::Total) of this crate,
/// integers, text, tuples of up to eight, [`Option`]s, and, as opaque bytes, vectors and ordered
/// maps and sets. [`impl_stored!`](crate::impl_stored) implements it for structs of one's own.
///
/// ```
/// use thalweg::data::{Bytes, Column, RowReader, RowWriter, Stored};
///
/// type Visit = (Bytes, Option<u64>);
/// let fields = Visit::columns("visit");
/// let names: Vec<_> = fields.iter().map(|field| field.to_string()).collect();
/// assert_eq!(names, ["visit.0: bytes", "visit.1: u64?"]);
///
/// let mut columns: Vec<Column> = fields.iter().map(Column::new).collect();
/// let visits = [(Bytes::from("/a"), Some(3)), (Bytes::from("/b"), None)];
/// visits.iter().for_each(|visit| visit.put(&mut RowWriter::new(&mut columns)));
/// assert_eq!(Visit::take(&mut RowReader::new(&columns, 1)).unwrap(), visits[1]);
/// // A row that there is not is an error, not a panic.
/// assert!(Visit::take(&mut RowReader::new(&columns, 2)).is_err());
/// ```
pub trait Stored: Sized + 'static {
    /// How many columns it has: as many as [`Stored::columns`] names.
    const WIDTH: usize;

    /// Whether a null in its first column means that the value is absent, because it never writes a
    /// null there itself. `false` where it has no column.
    const FIRST_IS_NEVER_NULL: bool;

    /// Its columns, for a value that is called `name`.
    fn columns(name: &str) -> Vec<Field>;

    /// Writes it into the next [`Stored::WIDTH`] columns of a row.
    fn put(&self, row: &mut RowWriter<'_>);

    /// Reads it from the next [`Stored::WIDTH`] columns of a row.
    ///
    /// # Errors
    ///
    /// When the columns hold something else, whatever that is.
    fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError>;
}

#[cfg(test)]
mod tests;
