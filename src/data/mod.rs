//! The ground floor of data: keys, totals, sketches, and the cells of rows.
//!
//! Keys are borrowed while records are read and owned once they leave their chunk ([`Key`],
//! [`Bytes`]); totals add up with overflow noticed ([`Total`]); sketches are totals that stay small
//! ([`Distinct`], [`Quantiles`]); rows are tuples of cells ([`Row`], [`Cell`]), each of which has a
//! type ([`CellType`]). What is durable stands in typed columns ([`Stored`]). This module knows no
//! record, no dataflow operator, no sink and no clock.

mod byte_size;
mod column;
mod escape;
mod grouped;
mod hint;
mod key;
mod key_enum;
mod row;
mod sketch;
mod stored;
mod total;

pub use byte_size::{ByteSize, ByteSizeError};
pub use column::{CellType, Kind};
pub use escape::{escape_json, escape_sql, escape_terminal, escape_text};
pub(crate) use grouped::grouped;
pub(crate) use hint::disk_hint;
pub use key::{Bytes, Key};
pub use key_enum::UnknownName;
pub use row::{Cell, Cells, Real, Row, Value, by_count, types};
pub(crate) use row::{time_column, time_of};
pub use sketch::{Distinct, Quantiles};
pub use stored::{Column, ColumnType, Field, Opaque, RowReader, RowWriter, Stored, StoredError};
pub(crate) use stored::{Data, put_option};
#[doc(hidden)]
pub use stored::{first_is_never_null, put_opaque, take_opaque};
pub use total::{InputCounts, Maximum, Members, Minimum, Overflow, Stats, Total};
