//! Which types stand in columns, and in which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::stored::{ColumnType, Field, RowReader, RowWriter, Stored, StoredError, opaque};
use crate::data::{Bytes, Distinct, InputCounts, Maximum, Members, Minimum, Quantiles, Real, Stats};
use crate::impl_stored;
use crate::time::Span;
use crate::time::Time;

/// Whether the first column of a row of parts, each with its width and what it says of its own
/// first, is never null.
#[doc(hidden)]
pub const fn first_is_never_null(parts: &[(usize, bool)]) -> bool {
    let mut at = 0;
    while at < parts.len() {
        let (width, never_null) = parts[at];
        if width > 0 {
            return never_null;
        }
        at += 1;
    }
    false
}

macro_rules! number {
    ($column:ident, $kind:ident, $wide:ty: $($t:ty),*) => {$(
        impl Stored for $t {
            const WIDTH: usize = 1;
            const FIRST_IS_NEVER_NULL: bool = true;

            fn columns(name: &str) -> Vec<Field> {
                vec![Field::new(name, ColumnType::$kind)]
            }

            #[inline]
            fn put(&self, row: &mut RowWriter<'_>) {
                row.$column(*self as $wide);
            }

            fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError> {
                let value = row.$column()?;
                <$t>::try_from(value)
                    .map_err(|error| row.damaged(ColumnType::$kind, stringify!($t), error))
            }
        }
    )*};
}
number!(u64, U64, u64: u8, u16, u32, u64, usize);
number!(i64, I64, i64: i8, i16, i32, i64, isize);
number!(i128, I128, i128: i128);

/// A type that is one column.
macro_rules! column {
    ($t:ty, $kind:ident, |$value:ident, $to:ident| $put:expr, |$from:ident| $take:expr) => {
        impl Stored for $t {
            const WIDTH: usize = 1;
            const FIRST_IS_NEVER_NULL: bool = true;

            fn columns(name: &str) -> Vec<Field> {
                vec![Field::new(name, ColumnType::$kind)]
            }

            #[inline]
            fn put(&self, $to: &mut RowWriter<'_>) {
                let $value = self;
                $put
            }

            fn take($from: &mut RowReader<'_>) -> Result<Self, StoredError> {
                $take
            }
        }
    };
}
column!(char, U64, |value, row| row.u64(u64::from(u32::from(*value))), |row| {
    let value = row.u64()?;
    let known = u32::try_from(value).ok().and_then(char::from_u32);
    known.ok_or_else(|| row.damaged(ColumnType::U64, "char", format!("{value} is no character")))
});
// There is no column of unsigned numbers so wide.
column!(u128, Opaque, |value, row| opaque::put(value, row), |row| opaque::take(row));
column!(bool, Bool, |value, row| row.bool(*value), |row| row.bool());
column!(Bytes, Bytes, |value, row| row.bytes(value), |row| row.bytes().map(Bytes::from));
column!(String, Text, |value, row| row.text(value), |row| row.text().map(str::to_owned));
column!(Time, Time, |value, row| row.time(value.0), |row| row.time().map(Time));
// Sketches are opaque: their own form is canonical, and is checked as it is read.
column!(Distinct, Opaque, |value, row| opaque::put(value, row), |row| opaque::take(row));
column!(Quantiles, Opaque, |value, row| opaque::put(value, row), |row| opaque::take(row));
column!(Real, Opaque, |value, row| opaque::put(value, row), |row| opaque::take(row));

impl_stored!(Stats { count: i64, sum: i128, min: Option<i128>, max: Option<i128> });
/// A type that stands as the only thing it holds does.
macro_rules! as_its_own {
    ($($t:ident: $of:ty),*) => {$(
        impl Stored for $t {
            const WIDTH: usize = <$of>::WIDTH;
            const FIRST_IS_NEVER_NULL: bool = <$of>::FIRST_IS_NEVER_NULL;

            fn columns(name: &str) -> Vec<Field> {
                <$of as Stored>::columns(name)
            }

            fn put(&self, row: &mut RowWriter<'_>) {
                self.0.put(row);
            }

            fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError> {
                <$of as Stored>::take(row).map($t)
            }
        }
    )*};
}
as_its_own!(Minimum: Option<i128>, Maximum: Option<i128>);

impl_stored!(InputCounts {
    lines: i64,
    parsed: i64,
    malformed: i64,
    oversize: i64,
    bytes: i64,
    untimed: i64,
    ahead: i64,
    late: i64,
    late_records: i64,
});

impl Stored for Span {
    const WIDTH: usize = 2;
    const FIRST_IS_NEVER_NULL: bool = true;

    fn columns(name: &str) -> Vec<Field> {
        ["start", "end"].map(|part| Field::new(format!("{name}.{part}"), ColumnType::Time)).into()
    }

    fn put(&self, row: &mut RowWriter<'_>) {
        row.time(self.start.0);
        row.time(self.end.0);
    }

    fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError> {
        Ok(Span::new(row.time()?, row.time()?))
    }
}

impl Stored for () {
    const WIDTH: usize = 0;
    const FIRST_IS_NEVER_NULL: bool = false;

    fn columns(_: &str) -> Vec<Field> {
        Vec::new()
    }

    #[inline]
    fn put(&self, _: &mut RowWriter<'_>) {}

    fn take(_: &mut RowReader<'_>) -> Result<Self, StoredError> {
        Ok(())
    }
}

impl<T: Stored> Stored for Option<T> {
    const WIDTH: usize = T::WIDTH + Flag::<T>::WIDTH;
    const FIRST_IS_NEVER_NULL: bool = Flag::<T>::WIDTH > 0;

    fn columns(name: &str) -> Vec<Field> {
        let mut columns = Vec::with_capacity(Self::WIDTH);
        if Flag::<T>::WIDTH > 0 {
            columns.push(Field::new(format!("{name}.some"), ColumnType::Bool));
        }
        columns.extend(T::columns(name).into_iter().map(|field| Field { nullable: true, ..field }));
        columns
    }

    #[inline]
    fn put(&self, row: &mut RowWriter<'_>) {
        put_option(self.as_ref(), row);
    }

    fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError> {
        let some = if Flag::<T>::WIDTH > 0 { row.bool()? } else { !row.is_null() };
        if some {
            return T::take(row).map(Some);
        }
        row.skip(T::WIDTH)?;
        Ok(None)
    }
}

/// Writes what an `Option<T>` writes.
#[inline]
pub(crate) fn put_option<T: Stored>(value: Option<&T>, row: &mut RowWriter<'_>) {
    if Flag::<T>::WIDTH > 0 {
        row.bool(value.is_some());
    }
    match value {
        Some(value) => value.put(row),
        None => row.nulls(T::WIDTH),
    }
}

/// The column that an `Option<T>` has of its own.
struct Flag<T>(std::marker::PhantomData<T>);

impl<T: Stored> Flag<T> {
    const WIDTH: usize = if T::FIRST_IS_NEVER_NULL { 0 } else { 1 };
}

macro_rules! tuple {
    ($($t:ident $i:tt),+) => {
        impl<$($t: Stored),+> Stored for ($($t,)+) {
            const WIDTH: usize = 0 $(+ $t::WIDTH)+;
            const FIRST_IS_NEVER_NULL: bool =
                first_is_never_null(&[$(($t::WIDTH, $t::FIRST_IS_NEVER_NULL)),+]);

            fn columns(name: &str) -> Vec<Field> {
                let mut columns = Vec::with_capacity(Self::WIDTH);
                $(columns.extend($t::columns(&format!("{name}.{}", $i)));)+
                columns
            }

            #[inline]
            fn put(&self, row: &mut RowWriter<'_>) {
                $(self.$i.put(row);)+
            }

            fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError> {
                Ok(($($t::take(row)?,)+))
            }
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

macro_rules! collection {
    ($([$($bounds:tt)*] $t:ty),* $(,)?) => {$(
        impl<$($bounds)*> Stored for $t
        where
            $t: Serialize + DeserializeOwned,
        {
            const WIDTH: usize = 1;
            const FIRST_IS_NEVER_NULL: bool = true;

            fn columns(name: &str) -> Vec<Field> {
                vec![Field::new(name, ColumnType::Opaque)]
            }

            fn put(&self, row: &mut RowWriter<'_>) {
                opaque::put(self, row);
            }

            fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError> {
                opaque::take(row)
            }
        }
    )*};
}
collection!(
    [T: 'static] Vec<T>,
    [T: 'static] VecDeque<T>,
    [T: 'static] BTreeSet<T>,
    [M: Ord + 'static] Members<M>,
    [K: 'static, V: 'static] BTreeMap<K, V>,
);
