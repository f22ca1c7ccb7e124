//! `Stored` for structs of one's own.

/// Implements [`Stored`](crate::data::Stored) for a struct, a column or more for each of its
/// fields; or, after the word `opaque`, for any type of serde as one column of opaque bytes.
///
/// Fields are named with their types, all of them and in the order in which their columns are to
/// stand. Columns are named after fields: a field that is renamed, added or moved is another form
/// of state, and older snapshots are refused, with what differs.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use thalweg::data::{Bytes, Stored};
///
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
/// struct Visit {
///     page: Bytes,
///     bytes: i64,
///     referrer: Option<Bytes>,
/// }
/// thalweg::impl_stored!(Visit { page: Bytes, bytes: i64, referrer: Option<Bytes> });
///
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
/// enum Light {
///     Off,
///     On { since: i64 },
/// }
/// thalweg::impl_stored!(opaque Light);
///
/// let columns = <(Visit, Light)>::columns("state");
/// let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
/// assert_eq!(
///     columns,
///     ["state.0.page: bytes", "state.0.bytes: i64", "state.0.referrer: bytes?", "state.1: opaque"]
/// );
/// ```
#[macro_export]
macro_rules! impl_stored {
    (opaque $type:ty) => {
        impl $crate::data::Stored for $type {
            const WIDTH: usize = 1;
            const FIRST_IS_NEVER_NULL: bool = true;

            fn columns(name: &str) -> ::std::vec::Vec<$crate::data::Field> {
                <$crate::data::Opaque<$type> as $crate::data::Stored>::columns(name)
            }

            fn put(&self, row: &mut $crate::data::RowWriter<'_>) {
                $crate::data::put_opaque(self, row);
            }

            fn take(
                row: &mut $crate::data::RowReader<'_>,
            ) -> ::std::result::Result<Self, $crate::data::StoredError> {
                $crate::data::take_opaque(row)
            }
        }
    };
    ($type:ident { $($field:ident : $of:ty),+ $(,)? }) => {
        impl $crate::data::Stored for $type {
            const WIDTH: usize = 0 $(+ <$of as $crate::data::Stored>::WIDTH)+;
            const FIRST_IS_NEVER_NULL: bool = $crate::data::first_is_never_null(&[$((
                <$of as $crate::data::Stored>::WIDTH,
                <$of as $crate::data::Stored>::FIRST_IS_NEVER_NULL,
            )),+]);

            fn columns(name: &str) -> ::std::vec::Vec<$crate::data::Field> {
                let mut columns = ::std::vec::Vec::with_capacity(Self::WIDTH);
                $(columns.extend(<$of as $crate::data::Stored>::columns(
                    &::std::format!("{name}.{}", ::std::stringify!($field)),
                ));)+
                columns
            }

            fn put(&self, row: &mut $crate::data::RowWriter<'_>) {
                // Names all fields, so that none is forgotten.
                let $type { $($field),+ } = self;
                $(<$of as $crate::data::Stored>::put($field, row);)+
            }

            fn take(
                row: &mut $crate::data::RowReader<'_>,
            ) -> ::std::result::Result<Self, $crate::data::StoredError> {
                ::std::result::Result::Ok($type {
                    $($field: <$of as $crate::data::Stored>::take(row)?),+
                })
            }
        }
    };
}
