//! One column, and the places from which rows write and read.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColumnType {
    /// Unsigned numbers of 64 bits, and of fewer.
    U64,
    /// Signed numbers of 64 bits, and of fewer.
    I64,
    /// Signed numbers of 128 bits.
    I128,
    /// Moments, in milliseconds UTC since 1970.
    Time,
    /// Yes or no.
    Bool,
    /// Text in UTF-8.
    Text,
    /// Bytes that are data.
    Bytes,
    /// Bytes that only the type that wrote them can read.
    Opaque,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::U64 => "u64",
            ColumnType::I64 => "i64",
            ColumnType::I128 => "i128",
            ColumnType::Time => "time",
            ColumnType::Bool => "bool",
            ColumnType::Text => "text",
            ColumnType::Bytes => "bytes",
            ColumnType::Opaque => "opaque",
        })
    }
}

/// A column's name and type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its name, with dots between the parts.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether rows may have nothing in it.
    pub nullable: bool,
}

impl Field {
    /// A column that is never null.
    pub fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        Field { name: name.into(), kind, nullable: false }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.name, self.kind, if self.nullable { "?" } else { "" })
    }
}

/// Why a value cannot be read from its columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// A row that is not there.
    #[error("there is no row {row}: the column has {rows}")]
    Row {
        /// The row.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// Fewer columns than the type has.
    #[error("row {row} ends before a column of {expected}")]
    Columns {
        /// The row.
        row: usize,
        /// What was to come.
        expected: ColumnType,
    },
    /// Fewer columns than there were to be passed over.
    #[error("row {row} ends {missing} columns early")]
    Short {
        /// The row.
        row: usize,
        /// How many are not there.
        missing: usize,
    },
    /// A column of another type.
    #[error("row {row} has a column of {found} where one of {expected} belongs")]
    Type {
        /// The row.
        row: usize,
        /// What was to be there.
        expected: ColumnType,
        /// What is there.
        found: ColumnType,
    },
    /// Nothing where a value belongs.
    #[error("row {row} has nothing in a column of {expected} that is never empty")]
    Null {
        /// The row.
        row: usize,
        /// What was to be there.
        expected: ColumnType,
    },
    /// A value that its type does not have.
    #[error("row {row} has no {what} in a column of {kind}: {reason}")]
    Value {
        /// The row.
        row: usize,
        /// The column's type.
        kind: ColumnType,
        /// What was to be there.
        what: &'static str,
        /// Why it is none.
        reason: String,
    },
}

/// The values of one column, one a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    kind: ColumnType,
    data: Data,
    /// Which rows have a value; `None` while all have.
    present: Option<Vec<bool>>,
}

/// Values in the form in which they lie in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// `U64`, and `I64` and `Time` by their bits.
    Words(Vec<u64>),
    /// `I128` by its bits.
    Wide(Vec<u128>),
    /// `Bool`.
    Bits(Vec<bool>),
    /// `Text`, `Bytes`, `Opaque`: where each value ends, and all of them one after the other.
    Bytes { ends: Vec<usize>, bytes: Vec<u8> },
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Data::Words(words) => words.len(),
            Data::Wide(wide) => wide.len(),
            Data::Bits(bits) => bits.len(),
            Data::Bytes { ends, .. } => ends.len(),
        }
    }

    /// The value of `row`, if these are bytes and there is such a row.
    fn slice(&self, row: usize) -> Option<&[u8]> {
        let Data::Bytes { ends, bytes } = self else { return None };
        let start = row.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
        bytes.get(start..*ends.get(row)?)
    }
}

impl Column {
    /// An empty column as `field` says.
    pub fn new(field: &Field) -> Self {
        Column::with_capacity(field, 0, 0)
    }

    /// An empty column with room for `rows` values, and `bytes` bytes of them where they are bytes.
    pub(crate) fn with_capacity(field: &Field, rows: usize, bytes: usize) -> Self {
        let data = match field.kind {
            ColumnType::U64 | ColumnType::I64 | ColumnType::Time => Data::Words(Vec::with_capacity(rows)),
            ColumnType::I128 => Data::Wide(Vec::with_capacity(rows)),
            ColumnType::Bool => Data::Bits(Vec::with_capacity(rows)),
            ColumnType::Text | ColumnType::Bytes | ColumnType::Opaque => {
                Data::Bytes { ends: Vec::with_capacity(rows), bytes: Vec::with_capacity(bytes) }
            }
        };
        Column { kind: field.kind, data, present: None }
    }

    /// A column of `data`, as it was read from somewhere; `None` where that is no column of this
    /// type.
    pub(crate) fn of(kind: ColumnType, data: Data, present: Option<Vec<bool>>) -> Option<Self> {
        let fits = match (&data, kind) {
            (Data::Words(_), ColumnType::U64 | ColumnType::I64 | ColumnType::Time) => true,
            (Data::Wide(_), ColumnType::I128) | (Data::Bits(_), ColumnType::Bool) => true,
            (Data::Bytes { ends, bytes }, ColumnType::Text | ColumnType::Bytes | ColumnType::Opaque) => {
                ends.is_sorted() && ends.last().copied().unwrap_or(0) == bytes.len()
            }
            _ => false,
        };
        let complete = present.as_ref().is_none_or(|present| present.len() == data.len());
        (fits && complete).then_some(Column { kind, data, present })
    }

    /// What it holds.
    pub fn kind(&self) -> ColumnType {
        self.kind
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `row` has no value.
    pub fn is_null(&self, row: usize) -> bool {
        self.present.as_ref().is_some_and(|present| present.get(row) == Some(&false))
    }

    pub(crate) fn data(&self) -> &Data {
        &self.data
    }

    pub(crate) fn present(&self) -> Option<&[bool]> {
        self.present.as_deref()
    }

    /// The memory that its values take, in bytes.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match &self.data {
            Data::Words(words) => 8 * words.len(),
            Data::Wide(wide) => 16 * wide.len(),
            Data::Bits(bits) => bits.len(),
            Data::Bytes { ends, bytes } => 8 * ends.len() + bytes.len(),
        }
    }

    /// How many bytes its values have, where they are bytes.
    pub(crate) fn bytes(&self) -> usize {
        if let Data::Bytes { bytes, .. } = &self.data { bytes.len() } else { 0 }
    }

    /// Adds a row without a value.
    fn push_null(&mut self) {
        let rows = self.len();
        match &mut self.data {
            Data::Words(words) => words.push(0),
            Data::Wide(wide) => wide.push(0),
            Data::Bits(bits) => bits.push(false),
            Data::Bytes { ends, bytes } => ends.push(bytes.len()),
        }
        self.present.get_or_insert_with(|| vec![true; rows]).push(false);
    }

    #[inline]
    fn push_present(&mut self) {
        if let Some(present) = &mut self.present {
            present.push(true);
        }
    }

    /// Adds what `other`, a column of the same type, has in `row`.
    pub(crate) fn push_from(&mut self, other: &Column, row: usize) {
        if other.is_null(row) {
            return self.push_null();
        }
        match (&mut self.data, &other.data) {
            (Data::Words(ours), Data::Words(theirs)) => ours.push(theirs[row]),
            (Data::Wide(ours), Data::Wide(theirs)) => ours.push(theirs[row]),
            (Data::Bits(ours), Data::Bits(theirs)) => ours.push(theirs[row]),
            (Data::Bytes { ends, bytes }, theirs @ Data::Bytes { .. }) => {
                bytes.extend_from_slice(theirs.slice(row).expect("the row is there"));
                ends.push(bytes.len());
            }
            _ => panic!("a row of a column of {} cannot go into one of {}", other.kind, self.kind),
        }
        self.push_present();
    }

    /// How the value of `row` compares with what `other`, a column of the same type, has in
    /// `other_row`; null comes first.
    pub(crate) fn compare(&self, row: usize, other: &Column, other_row: usize) -> Ordering {
        match (self.is_null(row), other.is_null(other_row)) {
            (false, false) => {}
            (null, other_null) => return other_null.cmp(&null),
        }
        match (&self.data, &other.data) {
            (Data::Words(ours), Data::Words(theirs)) if self.kind == ColumnType::U64 => {
                ours[row].cmp(&theirs[other_row])
            }
            (Data::Words(ours), Data::Words(theirs)) => (ours[row] as i64).cmp(&(theirs[other_row] as i64)),
            (Data::Wide(ours), Data::Wide(theirs)) => (ours[row] as i128).cmp(&(theirs[other_row] as i128)),
            (Data::Bits(ours), Data::Bits(theirs)) => ours[row].cmp(&theirs[other_row]),
            (ours, theirs) => ours.slice(row).cmp(&theirs.slice(other_row)),
        }
    }

    /// Hashes the value of `row`.
    pub(crate) fn hash_row<H: Hasher>(&self, row: usize, state: &mut H) {
        if self.is_null(row) {
            return state.write_u8(0);
        }
        match &self.data {
            Data::Words(words) => state.write_u64(words[row]),
            Data::Wide(wide) => state.write_u128(wide[row]),
            Data::Bits(bits) => state.write_u8(u8::from(bits[row])),
            data @ Data::Bytes { .. } => data.slice(row).hash(state),
        }
    }

    /// The moment in `row`, if it is a column of times and has one there.
    pub(crate) fn time(&self, row: usize) -> Option<i64> {
        match &self.data {
            Data::Words(words) if self.kind == ColumnType::Time && !self.is_null(row) => {
                words.get(row).map(|word| *word as i64)
            }
            _ => None,
        }
    }
}

/// Where the columns of one row are written, one after the other.
#[derive(Debug)]
pub struct RowWriter<'a> {
    columns: std::slice::IterMut<'a, Column>,
}

impl<'a> RowWriter<'a> {
    /// A row that is added to `columns`.
    #[inline]
    pub fn new(columns: &'a mut [Column]) -> Self {
        RowWriter { columns: columns.iter_mut() }
    }

    #[inline]
    fn next(&mut self) -> &'a mut Column {
        self.columns.next().expect("a value writes as many columns as its type says")
    }

    #[cold]
    fn refuse(column: &Column, wrote: ColumnType) -> ! {
        panic!("a value wrote {wrote} into a column of {}: its `columns` and its `put` differ", column.kind)
    }

    /// Writes into a column of [`ColumnType::U64`].
    ///
    /// # Panics
    ///
    /// As all of these: where the next column is of another type, or there is none. Then the
    /// `columns` and the `put` of a [`Stored`](super::Stored) type are at odds.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        self.word(ColumnType::U64, value);
    }

    /// Writes into a column of [`ColumnType::I64`].
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.word(ColumnType::I64, value as u64);
    }

    /// Writes into a column of [`ColumnType::Time`].
    #[inline]
    pub fn time(&mut self, millis: i64) {
        self.word(ColumnType::Time, millis as u64);
    }

    #[inline]
    fn word(&mut self, kind: ColumnType, value: u64) {
        let column = self.next();
        match &mut column.data {
            Data::Words(words) if column.kind == kind => words.push(value),
            _ => Self::refuse(column, kind),
        }
        column.push_present();
    }

    /// Writes into a column of [`ColumnType::I128`].
    #[inline]
    pub fn i128(&mut self, value: i128) {
        let column = self.next();
        match &mut column.data {
            Data::Wide(wide) => wide.push(value as u128),
            _ => Self::refuse(column, ColumnType::I128),
        }
        column.push_present();
    }

    /// Writes into a column of [`ColumnType::Bool`].
    #[inline]
    pub fn bool(&mut self, value: bool) {
        let column = self.next();
        match &mut column.data {
            Data::Bits(bits) => bits.push(value),
            _ => Self::refuse(column, ColumnType::Bool),
        }
        column.push_present();
    }

    /// Writes into a column of [`ColumnType::Text`].
    #[inline]
    pub fn text(&mut self, value: &str) {
        self.write(ColumnType::Text, |bytes| bytes.extend_from_slice(value.as_bytes()));
    }

    /// Writes into a column of [`ColumnType::Bytes`].
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        self.write(ColumnType::Bytes, |bytes| bytes.extend_from_slice(value));
    }

    /// Writes into a column of [`ColumnType::Opaque`]: `write` appends the value to what it is
    /// given.
    #[inline]
    pub fn opaque(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.write(ColumnType::Opaque, write);
    }

    #[inline]
    fn write(&mut self, kind: ColumnType, write: impl FnOnce(&mut Vec<u8>)) {
        let column = self.next();
        match &mut column.data {
            Data::Bytes { ends, bytes } if column.kind == kind => {
                write(bytes);
                ends.push(bytes.len());
            }
            _ => Self::refuse(column, kind),
        }
        column.push_present();
    }

    /// Leaves the next `count` columns empty.
    pub fn nulls(&mut self, count: usize) {
        (0..count).for_each(|_| self.next().push_null());
    }
}

/// Where the columns of one row are read, one after the other.
#[derive(Clone, Debug)]
pub struct RowReader<'a> {
    columns: std::slice::Iter<'a, Column>,
    row: usize,
}

impl<'a> RowReader<'a> {
    /// Row `row` of `columns`.
    pub fn new(columns: &'a [Column], row: usize) -> Self {
        RowReader { columns: columns.iter(), row }
    }

    /// Which row it is.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Whether the next column has no value.
    pub fn is_null(&self) -> bool {
        self.columns.as_slice().first().is_some_and(|column| column.is_null(self.row))
    }

    /// Passes over `count` columns.
    ///
    /// # Errors
    ///
    /// When there are fewer.
    pub fn skip(&mut self, count: usize) -> Result<(), StoredError> {
        let passed = self.columns.by_ref().take(count).count();
        match count - passed {
            0 => Ok(()),
            missing => Err(StoredError::Short { row: self.row, missing }),
        }
    }

    /// The next column, which is of type `expected` and has a value.
    fn next(&mut self, expected: ColumnType) -> Result<&'a Column, StoredError> {
        let row = self.row;
        let column = self.columns.next().ok_or(StoredError::Columns { row, expected })?;
        if column.kind != expected {
            return Err(StoredError::Type { row, expected, found: column.kind });
        }
        if row >= column.len() {
            return Err(StoredError::Row { row, rows: column.len() });
        }
        if column.is_null(row) {
            return Err(StoredError::Null { row, expected });
        }
        Ok(column)
    }

    /// What is wrong with a `what` that the column just read holds.
    pub fn damaged(&self, kind: ColumnType, what: &'static str, reason: impl fmt::Display) -> StoredError {
        StoredError::Value { row: self.row, kind, what, reason: reason.to_string() }
    }

    /// Reads from a column of [`ColumnType::U64`].
    ///
    /// # Errors
    ///
    /// As all of these: when the next column is of another type, has no such row or no value in it,
    /// or is not there.
    pub fn u64(&mut self) -> Result<u64, StoredError> {
        self.word(ColumnType::U64)
    }

    /// Reads from a column of [`ColumnType::I64`].
    ///
    /// # Errors
    ///
    /// As [`RowReader::u64`].
    pub fn i64(&mut self) -> Result<i64, StoredError> {
        self.word(ColumnType::I64).map(|word| word as i64)
    }

    /// Reads from a column of [`ColumnType::Time`].
    ///
    /// # Errors
    ///
    /// As [`RowReader::u64`].
    pub fn time(&mut self) -> Result<i64, StoredError> {
        self.word(ColumnType::Time).map(|word| word as i64)
    }

    fn word(&mut self, kind: ColumnType) -> Result<u64, StoredError> {
        match &self.next(kind)?.data {
            Data::Words(words) => Ok(words[self.row]),
            _ => Err(self.damaged(kind, "number", "the column holds something else")),
        }
    }

    /// Reads from a column of [`ColumnType::I128`].
    ///
    /// # Errors
    ///
    /// As [`RowReader::u64`].
    pub fn i128(&mut self) -> Result<i128, StoredError> {
        match &self.next(ColumnType::I128)?.data {
            Data::Wide(wide) => Ok(wide[self.row] as i128),
            _ => Err(self.damaged(ColumnType::I128, "number", "the column holds something else")),
        }
    }

    /// Reads from a column of [`ColumnType::Bool`].
    ///
    /// # Errors
    ///
    /// As [`RowReader::u64`].
    pub fn bool(&mut self) -> Result<bool, StoredError> {
        match &self.next(ColumnType::Bool)?.data {
            Data::Bits(bits) => Ok(bits[self.row]),
            _ => Err(self.damaged(ColumnType::Bool, "yes or no", "the column holds something else")),
        }
    }

    /// Reads from a column of [`ColumnType::Text`].
    ///
    /// # Errors
    ///
    /// As [`RowReader::u64`], and when it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, StoredError> {
        let bytes = self.slice(ColumnType::Text)?;
        std::str::from_utf8(bytes).map_err(|error| self.damaged(ColumnType::Text, "text", error))
    }

    /// Reads from a column of [`ColumnType::Bytes`].
    ///
    /// # Errors
    ///
    /// As [`RowReader::u64`].
    pub fn bytes(&mut self) -> Result<&'a [u8], StoredError> {
        self.slice(ColumnType::Bytes)
    }

    /// Reads from a column of [`ColumnType::Opaque`].
    ///
    /// # Errors
    ///
    /// As [`RowReader::u64`].
    pub fn opaque(&mut self) -> Result<&'a [u8], StoredError> {
        self.slice(ColumnType::Opaque)
    }

    fn slice(&mut self, kind: ColumnType) -> Result<&'a [u8], StoredError> {
        let column = self.next(kind)?;
        column
            .data
            .slice(self.row)
            .ok_or_else(|| self.damaged(kind, "bytes", "the column's ends are out of order"))
    }
}
