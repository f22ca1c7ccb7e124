//! Rows: what views hold, and how sinks see them.

use std::hash::Hash;

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::data::{Bytes, CellType, Distinct, InputCounts, Kind, Maximum, Minimum, Quantiles, Stats, Stored};
use crate::time::{Span, Time};

/// One cell of a row, as sinks see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing, such as the mean of no values.
    Null,
    /// A number without a fraction.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A moment in event time, in milliseconds since 1970 UTC; [`Time`] says how it is shown.
    Time(i64),
    /// Text, not always UTF-8.
    Bytes(&'a [u8]),
}

/// Something that stands in one column.
///
/// Implemented for [`Bytes`] and `String`; integers up to `i128`, `bool`, [`Real`] and [`Time`];
/// and what [`key_enum!`](crate::key_enum) declares.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a column of a view",
    label = "not a cell",
    note = "cells are `Bytes`, `String`, integers up to `i128`, `bool`, `Real` (of an `f64`), `Time` (of milliseconds), \
            and enums of `key_enum!`",
    note = "map the collection first: `counts.map(|(key, count)| (key.to_string(), count))`"
)]
pub trait Cell: ExchangeData + Hash + Sync + Stored {
    /// What kind of value it is, and whether there may be none.
    const TYPE: CellType;
    /// How sinks see it.
    fn value(&self) -> Value<'_>;
}

macro_rules! integer_cell {
    ($($t:ty),*) => {$(
        impl Cell for $t {
            const TYPE: CellType =
                CellType::of(Kind::Int { bits: <$t>::BITS, signed: <$t>::MIN != 0 });
            fn value(&self) -> Value<'_> {
                Value::Int(*self as i128)
            }
        }
    )*};
}
integer_cell!(u8, u16, u32, u64, usize, i8, i16, i32, i64, i128, isize);

impl Cell for bool {
    const TYPE: CellType = CellType::of(Kind::Bool);
    fn value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
}

impl Cell for Bytes {
    const TYPE: CellType = CellType::of(Kind::Bytes);
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl Cell for String {
    const TYPE: CellType = CellType::of(Kind::Bytes);
    fn value(&self) -> Value<'_> {
        Value::Bytes(self.as_bytes())
    }
}

/// A number with a fraction, in the total order of IEEE 754 (`f64` has no order that rows could use).
///
/// ```
/// use thalweg::data::{Cell, Real, Value};
/// assert_eq!(Real::from(0.5).value(), Value::Float(0.5));
/// assert!(Real::from(-2.0) < Real::from(-1.0) && Real::from(-1.0) < Real::from(0.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Real(i64);

impl From<f64> for Real {
    fn from(value: f64) -> Self {
        Real(ordered(value.to_bits() as i64))
    }
}

impl Cell for Real {
    const TYPE: CellType = CellType::of(Kind::Float);
    fn value(&self) -> Value<'_> {
        Value::Float(f64::from_bits(ordered(self.0) as u64))
    }
}

/// Bits of a number as an integer of the same order, and back: as `f64::total_cmp` does it.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Cell for Time {
    const TYPE: CellType = CellType::of(Kind::Time);
    fn value(&self) -> Value<'_> {
        Value::Time(self.0)
    }
}

/// The cells of one row, in order; twelve of them need no allocation.
pub type Cells<'a> = SmallVec<[Value<'a>; 12]>;

/// A row of a view, or a part of one: a cell; what stands in several columns, such as [`Stats`](crate::data::Stats) or a
/// [`Span`]; a tuple of up to eight parts, which may be tuples themselves; an `Option` of those; or `()`, which stands in none.
///
/// The order of rows is the order in which a view shows them, unless it names another. Rows leave the workers whole, and the
/// threads of several sinks may read the same ones: so they are `Send` and `Sync`. Those of windows that are final are durable
/// for as long as a view shows them: so they are [`Stored`].
///
/// ```
/// use thalweg::data::{Bytes, Kind, Row, types};
/// use thalweg::time::Time;
/// let kinds = types::<((Time, Bytes), bool)>().into_iter().map(|column| column.kind);
/// assert!(kinds.eq([Kind::Time, Kind::Bytes, Kind::Bool]));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a row of a view",
    label = "not a row",
    note = "a row is a cell or a tuple of up to eight parts, such as `(Bytes, isize)`; parts may be tuples of cells",
    note = "map the table first: `table.map([\"key\", \"count\"], |(key, count)| (key.to_string(), count))`"
)]
pub trait Row: ExchangeData + Hash + Sync + Stored {
    /// Adds what stands in its columns, in order.
    fn types(to: &mut Vec<CellType>);
    /// Adds its cells, in order.
    fn cells<'a>(&'a self, to: &mut Cells<'a>);
    /// Shows its cells, in order, without an allocation for as many as most rows have.
    fn show(&self, to: &mut dyn FnMut(&[Value<'_>])) {
        let mut cells = Cells::new();
        self.cells(&mut cells);
        to(&cells);
    }
    /// What its columns are called where nobody says otherwise: of parts that stand in several. Empty if they have no names.
    fn names() -> &'static [&'static str] {
        &[]
    }
}

/// What stands in the columns of rows `R`, in order.
pub fn types<R: Row>() -> Vec<CellType> {
    let mut types = Vec::new();
    R::types(&mut types);
    types
}

/// Which column of rows `R` says how old they are: the first that holds a time.
pub(crate) fn time_column<R: Row>() -> Option<usize> {
    types::<R>().iter().position(|column| column.kind == Kind::Time)
}

/// The time that stands in `column` of `row`.
pub(crate) fn time_of<R: Row>(row: &R, column: Option<usize>) -> Option<i64> {
    let mut cells = Cells::new();
    row.cells(&mut cells);
    match cells.get(column?) {
        Some(Value::Time(millis)) => Some(*millis),
        _ => None,
    }
}

impl<C: Cell> Row for C {
    fn types(to: &mut Vec<CellType>) {
        to.push(C::TYPE);
    }
    fn cells<'a>(&'a self, to: &mut Cells<'a>) {
        to.push(self.value());
    }
}

impl<R: Row> Row for Option<R> {
    fn types(to: &mut Vec<CellType>) {
        to.extend(types::<R>().into_iter().map(CellType::or_null));
    }
    fn cells<'a>(&'a self, to: &mut Cells<'a>) {
        match self {
            Some(row) => row.cells(to),
            None => to.extend(types::<R>().iter().map(|_| Value::Null)),
        }
    }
    fn names() -> &'static [&'static str] {
        R::names()
    }
}

macro_rules! tuple_row {
    ($($t:ident $i:tt),*) => {
        impl<$($t: Row),*> Row for ($($t,)*) {
            #[allow(unused_variables, reason = "there is nothing in `()`")]
            fn types(to: &mut Vec<CellType>) {
                $($t::types(to);)*
            }
            #[allow(unused_variables, reason = "there is nothing in `()`")]
            fn cells<'a>(&'a self, to: &mut Cells<'a>) {
                $(self.$i.cells(to);)*
            }
        }
    };
}
tuple_row!();
tuple_row!(A 0);
tuple_row!(A 0, B 1);
tuple_row!(A 0, B 1, C 2);
tuple_row!(A 0, B 1, C 2, D 3);
tuple_row!(A 0, B 1, C 2, D 3, E 4);
tuple_row!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_row!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_row!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

impl Row for Span {
    fn types(to: &mut Vec<CellType>) {
        to.extend([Time::TYPE, Time::TYPE]);
    }
    fn cells<'a>(&'a self, to: &mut Cells<'a>) {
        to.extend([Value::Time(self.start.0), Value::Time(self.end.0)]);
    }
    fn names() -> &'static [&'static str] {
        &["start", "end"]
    }
}

impl Row for Stats {
    fn types(to: &mut Vec<CellType>) {
        to.extend([i64::TYPE, i128::TYPE, i128::TYPE.or_null(), i128::TYPE.or_null(), Real::TYPE.or_null()]);
    }
    fn cells<'a>(&'a self, to: &mut Cells<'a>) {
        let number = |value: Option<i128>| value.map_or(Value::Null, Value::Int);
        to.extend([Value::Int(self.count.into()), Value::Int(self.sum), number(self.min), number(self.max)]);
        to.push(self.mean().map_or(Value::Null, Value::Float));
    }
    fn names() -> &'static [&'static str] {
        &["count", "sum", "min", "max", "mean"]
    }
}

macro_rules! extreme_row {
    ($($t:ty),*) => {$(
        impl Row for $t {
            fn types(to: &mut Vec<CellType>) {
                <Option<i128>>::types(to);
            }
            fn cells<'a>(&'a self, to: &mut Cells<'a>) {
                self.0.cells(to);
            }
        }
    )*};
}
extreme_row!(Minimum, Maximum);

impl Row for InputCounts {
    fn types(to: &mut Vec<CellType>) {
        to.extend([i64::TYPE; 8]);
    }
    fn cells<'a>(&'a self, to: &mut Cells<'a>) {
        // How many records the refusals are of is for who sums a run up.
        let InputCounts { lines, parsed, malformed, oversize, bytes, untimed, ahead, late, late_records: _ } =
            *self;
        let all = [lines, parsed, malformed, oversize, bytes, untimed, ahead, late];
        to.extend(all.map(|count| Value::Int(count.into())));
    }
    fn names() -> &'static [&'static str] {
        &["lines", "parsed", "malformed", "oversize", "bytes", "untimed", "ahead", "late"]
    }
}

// What is shown is the estimate; the sketch itself is for adding up.
impl Cell for Distinct {
    const TYPE: CellType = u64::TYPE;
    fn value(&self) -> Value<'_> {
        Value::Int(self.estimate().into())
    }
}

// The quantiles that people ask for most; `Quantiles::quantile` says any other.
impl Row for Quantiles {
    fn types(to: &mut Vec<CellType>) {
        to.push(u64::TYPE);
        to.extend([u64::TYPE.or_null(); 3]);
    }
    fn cells<'a>(&'a self, to: &mut Cells<'a>) {
        to.push(Value::Int(self.count().into()));
        let quantile = |q| self.quantile(q).map_or(Value::Null, |value| Value::Int(value.into()));
        to.extend([0.5, 0.95, 0.99].map(quantile));
    }
    fn names() -> &'static [&'static str] {
        &["count", "p50", "p95", "p99"]
    }
}

/// Rows `(key, count)` by count descending, then key ascending.
///
/// ```
/// let mut rows = vec![("b", 1), ("c", 2), ("a", 1)];
/// rows.sort_by(thalweg::data::by_count);
/// assert_eq!(rows, [("c", 2), ("a", 1), ("b", 1)]);
/// ```
pub fn by_count<K: Ord, C: Ord>(a: &(K, C), b: &(K, C)) -> std::cmp::Ordering {
    b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}
