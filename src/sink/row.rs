//! Rows: what views hold, and how sinks see them.

use std::hash::Hash;

use differential_dataflow::ExchangeData;

use crate::aggregate::Bytes;

/// One cell of a row, as sinks see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing, such as the mean of no values.
    Null,
    /// A number without a fraction.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// Text, not always UTF-8.
    Bytes(&'a [u8]),
}

/// Something that stands in one column.
pub trait Cell: ExchangeData + Hash {
    /// How sinks see it.
    fn value(&self) -> Value<'_>;
}

macro_rules! integer_cell {
    ($($t:ty),*) => {$(
        impl Cell for $t {
            fn value(&self) -> Value<'_> {
                Value::Int(*self as i128)
            }
        }
    )*};
}
integer_cell!(u8, u16, u32, u64, usize, i8, i16, i32, i64, i128, isize);

impl Cell for Bytes {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl Cell for String {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self.as_bytes())
    }
}

/// A number with a fraction, in the total order of IEEE 754 (`f64` has no order that rows could use).
///
/// ```
/// use thalweg::sink::{Cell, Real, Value};
/// assert_eq!(Real::from(0.5).value(), Value::Float(0.5));
/// assert!(Real::from(-2.0) < Real::from(-1.0) && Real::from(-1.0) < Real::from(0.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Real(i64);

impl From<f64> for Real {
    fn from(value: f64) -> Self {
        Real(ordered(value.to_bits() as i64))
    }
}

impl Cell for Real {
    fn value(&self) -> Value<'_> {
        Value::Float(f64::from_bits(ordered(self.0) as u64))
    }
}

/// Bits of a number as an integer of the same order, and back: as `f64::total_cmp` does it.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl<C: Cell> Cell for Option<C> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Cell::value)
    }
}

/// A row of a view: a tuple of cells. The order of rows is the order in which a view shows them, unless it names another.
pub trait Row: ExchangeData + Hash {
    /// How many columns it has.
    const COLUMNS: usize;
    /// Its cells, in order.
    fn values(&self) -> Vec<Value<'_>>;
}

macro_rules! tuple_row {
    ($count:literal, $($t:ident $i:tt),*) => {
        impl<$($t: Cell),*> Row for ($($t,)*) {
            const COLUMNS: usize = $count;
            fn values(&self) -> Vec<Value<'_>> {
                vec![$(self.$i.value()),*]
            }
        }
    };
}
tuple_row!(1, A 0);
tuple_row!(2, A 0, B 1);
tuple_row!(3, A 0, B 1, C 2);
tuple_row!(4, A 0, B 1, C 2, D 3);
tuple_row!(5, A 0, B 1, C 2, D 3, E 4);
tuple_row!(6, A 0, B 1, C 2, D 3, E 4, F 5);
tuple_row!(7, A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_row!(8, A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

/// Rows `(key, count)` by count descending, then key ascending.
///
/// ```
/// let mut rows = vec![("b", 1), ("c", 2), ("a", 1)];
/// rows.sort_by(thalweg::sink::by_count);
/// assert_eq!(rows, [("c", 2), ("a", 1), ("b", 1)]);
/// ```
pub fn by_count<K: Ord, C: Ord>(a: &(K, C), b: &(K, C)) -> std::cmp::Ordering {
    b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}
