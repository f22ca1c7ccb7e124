//! The ground floor of data: keys, totals, sketches, and the cells of rows.
//!
//! Keys are borrowed while records are read and owned once they leave their chunk ([`Key`], [`Bytes`]); totals add up
//! with overflow noticed ([`Total`]); sketches are totals that stay small ([`Distinct`], [`Quantiles`]); rows are tuples
//! of cells ([`Row`], [`Cell`]), of which each has a type ([`CellType`]). This module knows no record, no dataflow operator, no sink and no clock.

mod column;
mod escape;
mod grouped;
mod key;
mod key_enum;
mod row;
mod sketch;
mod total;

pub use column::{CellType, Kind};
pub use escape::{escape_json, escape_terminal, escape_text};
pub(crate) use grouped::grouped;
pub use key::{Bytes, Key};
pub use key_enum::UnknownName;
pub use row::{Cell, Real, Row, Time, Value, by_count};
pub use sketch::{Distinct, Quantiles};
pub use total::{InputCounts, Overflow, Stats, Total};
