//! What has no columns: opaque bytes in the form of `postcard`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::stored::{ColumnType, Field, RowReader, RowWriter, Stored, StoredError};

/// A value that stands in one column of opaque bytes, for what has no columns of its own.
///
/// No one but the type itself can read these bytes, and they do not say of which type they are: a
/// field that is added or moved makes older snapshots unreadable, or misread. Prefer columns
/// ([`impl_stored!`](crate::impl_stored)) where they are possible. For a type of one's own,
/// `impl_stored!(opaque Type)` is the same without the wrapper.
///
/// ```
/// use thalweg::data::{Column, Opaque, RowReader, RowWriter, Stored};
/// let state = Opaque(vec![("a".to_owned(), 1.5)]);
/// let mut columns: Vec<Column> = Opaque::<Vec<(String, f64)>>::columns("state").iter().map(Column::new).collect();
/// state.put(&mut RowWriter::new(&mut columns));
/// assert_eq!(Opaque::take(&mut RowReader::new(&columns, 0)), Ok(state));
/// // As another type, these bytes are an error.
/// assert!(Opaque::<(bool, bool, String)>::take(&mut RowReader::new(&columns, 0)).is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Opaque<T>(pub T);

impl<T: Serialize + DeserializeOwned + 'static> Stored for Opaque<T> {
    const WIDTH: usize = 1;
    const FIRST_IS_NEVER_NULL: bool = true;

    fn columns(name: &str) -> Vec<Field> {
        vec![Field::new(name, ColumnType::Opaque)]
    }

    fn put(&self, row: &mut RowWriter<'_>) {
        put(&self.0, row);
    }

    fn take(row: &mut RowReader<'_>) -> Result<Self, StoredError> {
        take(row).map(Opaque)
    }
}

/// Writes `value` into a column of opaque bytes.
///
/// # Panics
///
/// If the type's `Serialize` fails: not for what is derived.
pub fn put<T: Serialize>(value: &T, row: &mut RowWriter<'_>) {
    row.opaque(|bytes| {
        let written = postcard::to_extend(value, std::mem::take(bytes));
        *bytes = written.unwrap_or_else(|error| {
            panic!("{} cannot be written as bytes: {error}", std::any::type_name::<T>())
        });
    });
}

/// Reads a value from a column of opaque bytes.
///
/// # Errors
///
/// When they are no value of this type, and nothing else.
pub fn take<T: DeserializeOwned>(row: &mut RowReader<'_>) -> Result<T, StoredError> {
    let what = std::any::type_name::<T>();
    let bytes = row.opaque()?;
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => {
            let reason = format!("{} bytes too many", rest.len());
            Err(row.damaged(ColumnType::Opaque, what, reason))
        }
        Err(error) => Err(row.damaged(ColumnType::Opaque, what, error)),
    }
}
