//! The ground floor of data: keys, totals, sketches, and the cells of rows.
//!
//! Keys are borrowed while records are read and owned once they leave their chunk ([`Key`], [`Bytes`]); totals add up
//! with overflow noticed ([`Total`]); sketches are totals that stay small ([`Distinct`], [`Quantiles`]); rows are tuples
//! of cells ([`Row`], [`Cell`]). This module knows no record, no dataflow operator, no sink and no clock.

mod byte_size;
mod escape;
mod grouped;
mod key;
mod key_enum;
mod row;
mod sketch;
mod total;

pub use byte_size::{ByteSize, ByteSizeError};
pub use escape::{escape_json, escape_terminal, escape_text};
pub(crate) use grouped::grouped;
pub use key::{Bytes, Key};
pub use key_enum::UnknownName;
pub use row::{Cell, Real, Row, Time, Value, by_count};
pub use sketch::{Distinct, Quantiles};
pub use total::{InputCounts, Overflow, Stats, Total};
