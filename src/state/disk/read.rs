//! Parquet to rows of a door, whatever the bytes are.

use std::cmp::Ordering;

use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::schema::misfit;
use super::write::{IDENTITY_KEY, VERSION, VERSION_KEY};
use crate::data::{Column, ColumnType, Data, Field};
use crate::errand::catch;
use crate::state::{Changes, Identity, StateError};

/// So many rows are taken from Parquet at a time.
const BATCH: usize = 1 << 13;

/// What is expected of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// Whose rows these are.
    pub(super) identity: &'a Identity,
    /// Whether it is of a table, without a column that says which rows are puts.
    pub(super) table: bool,
    /// How many rows it has.
    pub(super) rows: usize,
    /// The memory that they take, in bytes.
    pub(super) size: usize,
}

/// Why a file is refused.
fn unreadable(reason: impl Into<String>) -> StateError {
    StateError::Unreadable { reason: reason.into() }
}

fn parquet(error: ParquetError) -> StateError {
    unreadable(error.to_string())
}

/// The rows of a file, in the order of their keys, of which no two are equal.
pub(super) fn read(bytes: Bytes, expected: Expected<'_>) -> Result<Changes, StateError> {
    // The library checks little of what it decodes, and panics of some of that.
    catch(|| read_rows(bytes, expected)).unwrap_or_else(|panic| Err(unreadable(panic)))
}

fn read_rows(bytes: Bytes, expected: Expected<'_>) -> Result<Changes, StateError> {
    let length = bytes.len();
    let file = SerializedFileReader::new(bytes).map_err(parquet)?;
    check_places(file.metadata(), length)?;
    let metadata = file.metadata().file_metadata();
    let value = |key: &str| {
        let all = metadata.key_value_metadata().into_iter().flatten();
        all.filter(|pair| pair.key == key).find_map(|pair| pair.value.as_deref())
    };
    let version: Option<u32> = value(VERSION_KEY).and_then(|version| version.parse().ok());
    match version {
        None => return Err(unreadable("it does not say by which version it was written")),
        Some(VERSION) => {}
        Some(found) => return Err(StateError::Version { found, known: VERSION }),
    }
    let identity = value(IDENTITY_KEY).and_then(|json| serde_json::from_str::<Identity>(json).ok());
    if identity.as_ref() != Some(expected.identity) {
        return Err(unreadable("it is of another door"));
    }
    if let Some(reason) = misfit(expected.identity, expected.table, metadata.schema_descr()) {
        return Err(unreadable(reason));
    }
    let rows = file.metadata().row_groups().iter().map(|group| group.num_rows());
    let rows = rows.fold(0i64, i64::saturating_add);
    if usize::try_from(rows) != Ok(expected.rows) {
        return Err(unreadable(format!("it has {rows} rows where {} belong", expected.rows)));
    }
    let mut columns = Columns { file, next: 0, left: expected.size, rows: expected.rows };
    let puts = if expected.table { vec![true; expected.rows] } else { columns.puts()? };
    let mut of = |fields: &[Field], puts: Option<&[bool]>| -> Result<Vec<Column>, StateError> {
        fields.iter().map(|field| columns.column(field, puts)).collect()
    };
    let key = of(expected.identity.key(), None)?;
    let value = of(expected.identity.value(), (!expected.table).then_some(&puts))?;
    let changes = Changes { puts, key, value };
    match (1..changes.len()).find(|row| changes.compare(row - 1, &changes, *row) != Ordering::Less) {
        None => Ok(changes),
        Some(row) => Err(unreadable(format!("row {row} is not in the order of the keys"))),
    }
}

/// Whether all columns are within the file: the reader takes that for granted.
fn check_places(metadata: &ParquetMetaData, length: usize) -> Result<(), StateError> {
    let place = |number: i64| usize::try_from(number).ok();
    for group in metadata.row_groups() {
        for column in group.columns() {
            let pages = place(column.data_page_offset());
            let begin = column.dictionary_page_offset().map_or(pages, place);
            let end =
                begin.zip(place(column.compressed_size())).and_then(|(begin, size)| begin.checked_add(size));
            let values = place(column.num_values()).is_some() && place(group.num_rows()).is_some();
            if pages.is_none() || !values || end.is_none_or(|end| end > length) {
                return Err(unreadable("a column of it is not within it"));
            }
        }
    }
    Ok(())
}

/// The columns of a file, one after the other.
struct Columns {
    file: SerializedFileReader<Bytes>,
    next: usize,
    /// The bytes that may still be read.
    left: usize,
    rows: usize,
}

/// Values as they come, for all rows or for those that have one.
struct Gathered<'a> {
    field: &'a Field,
    data: Data,
    /// Which rows have a value, if any has none.
    present: Option<Vec<bool>>,
    rows: usize,
}

impl Columns {
    fn puts(&mut self) -> Result<Vec<bool>, StateError> {
        let field = Field::new("put", ColumnType::Bool);
        let column = self.column(&field, None)?;
        match column.data() {
            Data::Bits(bits) => Ok(bits.clone()),
            _ => Err(unreadable("the column of puts is of another type")),
        }
    }

    /// The next column; of rows that are `puts` alone, if these are given.
    fn column(&mut self, field: &Field, puts: Option<&[bool]>) -> Result<Column, StateError> {
        let at = self.next;
        self.next += 1;
        let mut gathered = Gathered::new(field, self.rows);
        let mut row = 0;
        for group in 0..self.file.num_row_groups() {
            let group = self.file.get_row_group(group).map_err(parquet)?;
            let mut reader = group.get_column_reader(at).map_err(parquet)?;
            loop {
                let mut puts = puts.map(|puts| puts[row.min(puts.len())..].iter().copied());
                let mut is_put = || puts.as_mut().is_none_or(|puts| puts.next().unwrap_or(false));
                let before = gathered.size();
                let read = match &mut reader {
                    ColumnReader::Int64ColumnReader(reader) => {
                        gathered.read(reader, &mut is_put, |value| Some(Value::Word(*value as u64)))
                    }
                    ColumnReader::BoolColumnReader(reader) => {
                        gathered.read(reader, &mut is_put, |value| Some(Value::Bit(*value)))
                    }
                    ColumnReader::ByteArrayColumnReader(reader) => {
                        gathered.read(reader, &mut is_put, bytes_of)
                    }
                    ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                        gathered.read(reader, &mut is_put, |value| bytes_of(value))
                    }
                    _ => Err(unreadable(format!("`{field}` is of another type"))),
                }?;
                if read == 0 {
                    break;
                }
                row += read;
                let grown = gathered.size() - before;
                self.left = self
                    .left
                    .checked_sub(grown)
                    .ok_or_else(|| unreadable("it has more bytes than it is to have"))?;
            }
        }
        if row != self.rows {
            return Err(unreadable(format!("`{field}` has {row} rows where {} belong", self.rows)));
        }
        gathered.column()
    }
}

enum Value<'a> {
    Word(u64),
    Bit(bool),
    Bytes(&'a [u8]),
}

fn bytes_of(value: &ByteArray) -> Option<Value<'_>> {
    Some(Value::Bytes(value.data()))
}

impl<'a> Gathered<'a> {
    fn new(field: &'a Field, rows: usize) -> Self {
        // More than that comes only if there is as much.
        let rows = rows.min(1 << 16);
        let data = match field.kind {
            ColumnType::U64 | ColumnType::I64 | ColumnType::Time => Data::Words(Vec::with_capacity(rows)),
            ColumnType::I128 => Data::Wide(Vec::with_capacity(rows)),
            ColumnType::Bool => Data::Bits(Vec::with_capacity(rows)),
            ColumnType::Text | ColumnType::Bytes | ColumnType::Opaque => {
                Data::Bytes { ends: Vec::with_capacity(rows), bytes: Vec::new() }
            }
        };
        Gathered { field, data, present: None, rows: 0 }
    }

    fn size(&self) -> usize {
        match &self.data {
            Data::Words(words) => 8 * words.len(),
            Data::Wide(wide) => 16 * wide.len(),
            Data::Bits(bits) => bits.len(),
            Data::Bytes { ends, bytes } => 8 * ends.len() + bytes.len(),
        }
    }

    /// Reads a batch of rows, and returns how many there were; `is_put` says of each whether it has a place here.
    fn read<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        is_put: &mut dyn FnMut() -> bool,
        of: impl Fn(&T::T) -> Option<Value<'_>>,
    ) -> Result<usize, StateError> {
        let (mut values, mut levels) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let (rows, ..) = reader.read_records(BATCH, Some(&mut levels), None, &mut values).map_err(parquet)?;
        let mut values = values.iter();
        for row in 0..rows {
            // Without levels, every row has a value.
            let has = levels.get(row).is_none_or(|level| *level > 0);
            let value = if has { values.next().and_then(&of) } else { None };
            if has && value.is_none() {
                return Err(unreadable(format!("`{}` lacks a value", self.field)));
            }
            match (is_put(), value) {
                (true, value) => self.push(value)?,
                (false, None) => {}
                (false, Some(_)) => {
                    let reason = format!("`{}` has a value in a row that is taken away", self.field);
                    return Err(unreadable(reason));
                }
            }
        }
        Ok(rows)
    }

    fn push(&mut self, value: Option<Value<'_>>) -> Result<(), StateError> {
        if value.is_none() && !self.field.nullable {
            return Err(unreadable(format!("`{}` has a row without a value", self.field)));
        }
        match (&mut self.present, &value) {
            (None, Some(_)) => {}
            (None, None) => {
                let mut present = vec![true; self.rows];
                present.push(false);
                self.present = Some(present);
            }
            (Some(present), value) => present.push(value.is_some()),
        }
        self.rows += 1;
        match (&mut self.data, value) {
            (Data::Words(words), Some(Value::Word(word))) => words.push(word),
            (Data::Words(words), None) => words.push(0),
            (Data::Wide(wide), Some(Value::Bytes(bytes))) => match bytes.try_into() {
                Ok(bytes) => wide.push(u128::from_be_bytes(bytes)),
                Err(_) => return Err(unreadable(format!("`{}` has a value of another length", self.field))),
            },
            (Data::Wide(wide), None) => wide.push(0),
            (Data::Bits(bits), Some(Value::Bit(bit))) => bits.push(bit),
            (Data::Bits(bits), None) => bits.push(false),
            (Data::Bytes { ends, bytes }, Some(Value::Bytes(value))) => {
                bytes.extend_from_slice(value);
                ends.push(bytes.len());
            }
            (Data::Bytes { ends, bytes }, None) => ends.push(bytes.len()),
            _ => return Err(unreadable(format!("`{}` is of another type", self.field))),
        }
        Ok(())
    }

    fn column(self) -> Result<Column, StateError> {
        let Gathered { field, data, present, .. } = self;
        Column::of(field.kind, data, present)
            .ok_or_else(|| unreadable(format!("`{field}` is of another type")))
    }
}
